"""Invariants and golden ladders as a user's project meets them: an inner pytest."""

from __future__ import annotations

import pytest

from sandbox.stack.cache import cache_dir

_CACHE = cache_dir()


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A user's project; pytester gives it a home of its own, and with it an empty cache."""
    monkeypatch.setenv("SANDBOX_CACHE", str(_CACHE))
    return pytester


def _run(project: pytest.Pytester, *args: str) -> pytest.RunResult:
    return project.runpytest_subprocess("--sandbox-engine=native", *args, timeout=60)


def test_a_broken_rule_fails_its_test_unless_it_is_meant(project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        import re
        import pytest
        from sandbox.trace.invariants.log_lines import AllowedLine

        @pytest.fixture(scope="session")
        def sandbox_allowed_log_lines():
            return [AllowedLine("livekit-server", re.compile("^known"), "of our own plugin")]
        """
    )
    project.makepyfile(
        """
        import json
        import pytest

        def complain(sandbox, text):
            with (sandbox.endpoints.run_dir / "livekit-server.log").open("a") as log:
                log.write(json.dumps({"level": "error", "msg": text}) + "\\n")

        async def test_complains(sandbox):
            complain(sandbox, "out of tune")

        async def test_is_not_to_blame(sandbox):
            pass

        @pytest.mark.sandbox_allow("log-line", match="tune", reason="it is what the test does")
        async def test_means_it(sandbox):
            complain(sandbox, "out of tune")

        @pytest.mark.sandbox_allow("log-line", match="other", reason="it is what the test does")
        async def test_means_another(sandbox):
            complain(sandbox, "out of tune")

        async def test_is_known(sandbox):
            complain(sandbox, "known of old")
        """
    )
    result = _run(project)
    result.assert_outcomes(passed=5, errors=2)
    result.stdout.fnmatch_lines(
        [
            "*InvariantBroken: test_complains broke log-line*",
            "*[[]log-line[]] livekit-server ERROR: out of tune",
            "*in */livekit-server.log",
            "*fix *",
            '*@pytest.mark.sandbox_allow("log-line", reason=*',
        ]
    )
    result.stdout.fnmatch_lines(["*InvariantBroken: test_means_another broke log-line*"])


@pytest.mark.parametrize(
    ("mark", "why"),
    [
        ('"one-way-audio"', 'sandbox_allow("one-way-audio") needs a reason'),
        ('"one-way", reason="it is so"', "there is no rule 'one-way'"),
        ('"ack", because="it is so"', "unexpected keyword argument 'because'"),
    ],
)
def test_a_mark_that_says_too_little_is_a_usage_error(
    project: pytest.Pytester, mark: str, why: str
) -> None:
    project.makepyfile(
        f"""
        import pytest

        @pytest.mark.sandbox_allow({mark})
        async def test_it(sandbox):
            pass
        """
    )
    result = _run(project, "--collect-only")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert why in result.stderr.str()


def test_a_ladder_is_written_then_compared(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        async def test_a_call(sandbox, assert_ladder):
            call = await sandbox.phone.dial(await sandbox.inbound())
            await sandbox.joined(call)
            await call.cancel()
            await assert_ladder(call, "cancelled")
        """
    )
    _run(project, "--sandbox-update-golden").assert_outcomes(passed=1)
    golden = project.path / "ladders" / "cancelled.txt"
    text = golden.read_text()
    assert "-> CANCEL" in text
    _run(project).assert_outcomes(passed=1)
    golden.write_text(text.replace("-> CANCEL", "-> BYE"))
    result = _run(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*GoldenMismatch: the call is not as in cancelled.txt", "*-> BYE*", "*-> CANCEL*"]
    )
    golden.unlink()
    result = _run(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*no golden ladder cancelled.txt yet*"])
