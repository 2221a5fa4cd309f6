"""How the scenarios are spread over the workers of xdist, and what one that dies costs."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("workers", ["1", "2", "3"])
@pytest.mark.parametrize("last", [False, True], ids=["in the middle", "at the end"])
def test_a_run_with_a_worker_that_dies_comes_to_its_end(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: str, last: bool
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    dies = "test_zz" if last else "test_dies"
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("n", range(12))
        def test_alone(n):
            pass
        """
    )
    write(
        pytester,
        "tests/e2e/agents/test_group.py",
        f"""
        import os
        import pytest

        @pytest.mark.parametrize("n", range(3))
        def test_grouped(n):
            pass

        def {dies}():
            os._exit(1)

        @pytest.mark.parametrize("n", range(3))
        def test_of_the_group_too(n):
            pass
        """,
    )
    result = run(pytester, "-n", workers)
    result.assert_outcomes(passed=18, failed=1)


def test_one_conversation_is_held_at_a_time(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    many = """
        import pytest

        @pytest.mark.parametrize("n", range(6))
        def test(n):
            pass
        """
    groups = {
        "conversations": (
            "tests/e2e/agents/test_conversations.py",
            "tests/e2e/speech/test_exactly.py",
        ),
        "agents": ("examples/agents/test_greeter.py", "tests/e2e/agents/test_calls.py"),
    }
    for path in ("tests/e2e/trunks/test_auth.py", *groups["conversations"], *groups["agents"]):
        write(pytester, path, many)
    result = run(pytester, "-n", "3", "-v")
    result.assert_outcomes(passed=30)
    ran = re.findall(r"^\[(gw\d)\].* PASSED (\S+)::", result.stdout.str(), re.MULTILINE)
    for group, paths in groups.items():
        assert len({worker for worker, path in ran if path in paths}) == 1, group


def test_spoken_words_come_last_and_in_their_order(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    spoken, words = "tests/e2e/speech/test_spoken.py", "tests/e2e/speech/test_words.py"
    for path, tests in ((spoken, 1), (words, 4), ("tests/e2e/trunks/test_auth.py", 6)):
        write(pytester, path, "".join(f"def test_{n}():\n    pass\n\n" for n in range(tests)))
    result = run(pytester, "-n", "1", "-v")
    ran = re.findall(r"^\[gw0\].* PASSED (\S+)::", result.stdout.str(), re.MULTILINE)
    assert ran == ["tests/e2e/trunks/test_auth.py"] * 6 + [words] * 4 + [spoken]


def write(pytester: pytest.Pytester, path: str, text: str) -> None:
    file = pytester.path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(textwrap.dedent(text))


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess(
        *("-p", "tests.groups", "--dist", "loadgroup", "-p", "no:sandbox", *arguments), timeout=60
    )
