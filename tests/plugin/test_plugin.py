"""The plugin as a user's project sees it: an inner pytest, on a stack of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from sandbox.stack.cache import cache_dir

_RINGS = """
    async def test_a_call_rings(sandbox):
        number = await sandbox.inbound()
        call = await sandbox.phone.dial(number)
        await call.ringing(within=3)
"""


# pytester gives the inner run a home of its own, and with it an empty cache.
_CACHE = cache_dir()


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A user's project: no configuration at all; the plugin comes with the installed package."""
    monkeypatch.setenv("SANDBOX_CACHE", str(_CACHE))
    return pytester


def _run(project: pytest.Pytester, *args: str) -> pytest.RunResult:
    return project.runpytest_subprocess("--sandbox-engine=native", *args, timeout=60)


def test_a_scenario_of_a_users_project_passes_and_is_named_in_junit(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(_RINGS)
    result = _run(project, "--junitxml=junit.xml")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["sandbox: engine native, livekit-server v*, SIP service: *"])
    properties = {
        p.get("name"): p.get("value")
        for p in ElementTree.parse(project.path / "junit.xml").iter("property")
    }
    assert properties["sandbox.engine"] == "native"
    assert properties["sandbox.sip_service"] is not None
    assert properties["sandbox.sip_service"].startswith(("livekit-sip v", "stand-in (not"))
    # Every test passed: nothing of the stack is kept.
    assert list((project.path / "test-results").iterdir()) == []


def test_a_failing_scenario_shows_its_ladder_and_the_logs(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        async def test_wants_an_answer_that_does_not_come(sandbox):
            number = await sandbox.inbound()
            call = await sandbox.phone.dial(number)
            await call.answered(within=0.5)
        """
    )
    result = _run(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*DeadlineMissed: expected *",
            "*sandbox: SIP ladder of call*",
            "*INVITE*",
            "*180 Ringing*",
            "*sandbox: where to look*",
            "*livekit-server.log*",
        ]
    )
    assert (project.path / "test-results" / "stack-main" / "sip.log").exists()


def test_what_a_scenario_leaves_behind_fails_it_and_not_the_next(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(
        """
        from livekit import api

        async def test_leaves_a_trunk(sandbox):
            ends = sandbox.endpoints
            other = api.LiveKitAPI(ends.livekit_url, ends.api_key, ends.api_secret)
            trunk = api.SIPInboundTrunkInfo(name="left", numbers=["+15550001"])
            await other.sip.create_inbound_trunk(
                api.CreateSIPInboundTrunkRequest(trunk=trunk)
            )
            await other.aclose()

        async def test_is_clean(sandbox):
            trunks = await sandbox.api.sip.list_inbound_trunk(api.ListSIPInboundTrunkRequest())
            assert not trunks.items
        """
    )
    result = _run(project)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*LeakError: test_leaves_a_trunk left something behind*"])


def test_scenarios_for_the_other_sip_service_are_skipped_and_counted(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SANDBOX_LIVEKIT_SIP", raising=False)
    project.makepyfile(
        """
        import pytest

        @pytest.mark.only_livekit_sip(reason="the stand-in has no spoken prompts")
        async def test_real(sandbox):
            assert not sandbox.is_stand_in

        @pytest.mark.only_stand_in(reason="proves a detail of the stand-in")
        async def test_stand_in(sandbox):
            assert sandbox.is_stand_in
        """
    )
    result = _run(project, "-rs")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(
        ["sandbox: 1 scenarios only on livekit-sip, 1 only on the stand-in"]
    )


def test_the_garbage_collector_does_not_look_through_the_tests_again(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(
        """
        import gc, sys

        def test():
            assert not any(one is sys.modules[__name__].test for one in gc.get_objects())
        """
    )
    _run(project).assert_outcomes(passed=1)


def test_a_marker_without_a_reason_is_a_usage_error(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.mark.only_livekit_sip
        @pytest.mark.only_stand_in
        async def test_real(sandbox):
            pass
        """
    )
    result = _run(project)
    assert result.ret != 0
    result.stderr.fnmatch_lines(["*needs a reason*"])


def test_two_xdist_workers_have_a_stack_each(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("n", range(4))
        async def test_a_call_rings(sandbox, n):
            number = await sandbox.inbound()
            call = await sandbox.phone.dial(number)
            await call.ringing(within=3)
            print(sandbox.endpoints.run_dir.name)
        """
    )
    result = _run(project, "-n2", "--junitxml=junit.xml", "--sandbox-keep")
    result.assert_outcomes(passed=4)
    assert {path.name for path in (project.path / "test-results").iterdir()} == {
        "stack-gw0",
        "stack-gw1",
    }
    names = {p.get("name") for p in ElementTree.parse(project.path / "junit.xml").iter("property")}
    assert "sandbox.sip_service" in names


def test_a_crashed_xdist_worker_fails_its_test_and_the_others_go_on(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(
        test_dies="""
        import os

        async def test_dies(sandbox):
            os._exit(1)
        """,
        test_rings=_RINGS,
    )
    result = _run(project, "-n2", "--junitxml=junit.xml")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*worker 'gw*' crashed while running 'test_dies.py::test_dies'*"])
    cases = ElementTree.parse(project.path / "junit.xml").iter("testcase")
    assert sorted(str(case.get("name")) for case in cases) == ["test_a_call_rings", "test_dies"]


def test_a_crashed_phone_fails_its_test_and_the_next_gets_a_new_one(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(
        """
        import os, signal

        async def test_crash(sandbox, sandbox_stack):
            number = await sandbox.inbound()
            call = await sandbox.phone.dial(number)
            await call.ringing(within=3)
            os.kill(sandbox_stack.engine.pids["phone"], signal.SIGKILL)
            await call.answered(within=3)

        async def test_next(sandbox):
            number = await sandbox.inbound()
            call = await sandbox.phone.dial(number)
            await call.ringing(within=3)
        """
    )
    result = _run(project)
    assert result.parseoutcomes().get("passed") == 1
    assert result.parseoutcomes().get("failed") == 1
    result.stdout.fnmatch_lines(["*phone.log*"])


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_kill_9_in_mid_call_leaves_no_process_no_port_and_no_file(
    project: pytest.Pytester, tmp_path: Path
) -> None:
    project.makepyfile(
        """
        import asyncio, json, os
        from pathlib import Path

        async def test_hangs_in_mid_call(sandbox, sandbox_stack, agent):
            number = await sandbox.inbound(agent=agent.name)
            call = await sandbox.phone.dial(number)
            await call.answered(within=10)
            ends = sandbox.endpoints
            ports = [int(ends.livekit_url.rpartition(":")[2]), ends.sip_port]
            print("UP", json.dumps([list(sandbox_stack.engine.pids.values()), ports]), flush=True)
            await asyncio.sleep(60)
        """
    )
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider", "--sandbox-engine=native",
        cwd=project.path,
        env={**os.environ, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    pids: list[int] = []
    ports: list[int] = []
    async with asyncio.timeout(40):
        async for line in process.stdout:
            _, up, text = line.decode().partition("UP ")
            if up:
                pids, ports = json.loads(text)
                break
    children = [int(p) for p in subprocess.run(
        ["ps", "-o", "pid=", "--ppid", ",".join(map(str, [process.pid, *pids]))],
        capture_output=True, text=True, check=False,
    ).stdout.split()]  # fmt: skip
    assert len(pids) == 4
    process.send_signal(signal.SIGKILL)
    await process.wait()
    async with asyncio.timeout(3):
        while any(_alive(pid) for pid in {*pids, *children}):
            await asyncio.sleep(0.02)
    for port in ports:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    assert list(scratch.iterdir()) == []
