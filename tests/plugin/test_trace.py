"""`--sandbox-trace` as a user's project sees it: whose report is kept, and who is told of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from sandbox.stack.cache import cache_dir
from sandbox.trace.folders import trace_folder

_CACHE = cache_dir()

_TESTS = """
    import pytest

    async def test_talks(sandbox, agent):
        \"\"\"The agent is heard.\"\"\"
        number = await sandbox.inbound(agent=agent.name)
        sandbox.step("call")
        call = await sandbox.phone.dial(number, tone=440)
        await call.answered(within=30)
        await call.hears_tone(agent.tone, within=15)
        with sandbox.fault("nobody listens"):
            await call.send_dtmf("5")
        await call.hang_up()
        assert sandbox.name == "WRONG"

    async def test_passes(sandbox):
        line = await sandbox.phone.line()
        await line.answers(tone=500)
        call = await sandbox.phone.dial(line.uri)
        await call.hears_tone(500)
        await call.hang_up()

    def test_of_something_else():
        pass
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("SANDBOX_CACHE", str(_CACHE))
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    pytester.makepyfile(test_x=_TESTS)
    return pytester


def _run(project: pytest.Pytester, *args: str) -> pytest.RunResult:
    return project.runpytest_subprocess("--sandbox-engine=native", *args, timeout=110)


def _folder(project: pytest.Pytester, name: str) -> Path:
    return trace_folder(project.path / "test-results", f"test_x.py::{name}")


def _trace(project: pytest.Pytester, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((_folder(project, name) / "trace.json").read_text())
    return found


def test_a_failing_test_leaves_its_report_and_the_others_nothing(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = project.path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    result = _run(project, "--junitxml=junit.xml", "-p", "xdist", "-n", "2")
    result.assert_outcomes(passed=2, failed=1)
    page = _folder(project, "test_talks") / "report.html"
    assert page.is_file()
    assert not _folder(project, "test_passes").exists()
    # The path is shown at the failure and at the end, and is in JUnit.
    result.stdout.fnmatch_lines(["*sandbox: report*", str(page), "*sandbox reports*"])
    result.stdout.fnmatch_lines(["failed  test_x.py::test_talks", "*report.html", "index *"])
    cases = {
        case.get("name"): {p.get("name"): p.get("value") for p in case.iter("property")}
        for case in ElementTree.parse(project.path / "junit.xml").iter("testcase")
    }
    assert cases["test_talks"] == {"sandbox.report": str(page)}
    assert cases["test_passes"] == {}
    index = (project.path / "test-results" / "index.html").read_text()
    assert f"{page.parent.name}/report.html" in index
    assert "test_of_something_else" not in index
    text = summary.read_text()
    assert "1 failed, 1 passed, on stand" in text or "1 failed, 1 passed, on livekit" in text
    assert "sequenceDiagram" in text
    # Nothing that was captured is left in the stack's folder.
    assert not list((project.path / "test-results").glob("stack-*/phone/trace-*"))


def test_a_trace_has_every_source_on_one_clock(project: pytest.Pytester) -> None:
    _run(project, "-k", "test_talks").assert_outcomes(failed=1)
    trace = _trace(project, "test_talks")
    assert {e["source"] for e in trace["events"]} >= {"test", "api", "phone", "webhook", "agent"}
    times = [e["at"] for e in trace["events"]]
    assert times == sorted(times)
    (call,) = trace["calls"]
    for key in ("sip_call_id", "scl", "room", "identity", "jobs", "caller", "callee"):
        assert call[key], key
    assert set(call["files"]) == {"pcap", "received", "sent"}
    assert call["quality"]["received"]["total"] > 0
    labels = [s["label"] for s in call["ladder"]]
    for label in ("INVITE", "job offered", "200 OK", "first RTP packet", "BYE", "call"):
        assert label in labels
    assert trace["verdict"]["where"]["text"] == 'assert sandbox.name == "WRONG"'
    assert trace["test"]["doc"] == "The agent is heard."
    assert "sip.callStatus" in {c["key"] for c in trace["attributes"]}
    invite = next(e for e in trace["events"] if e["name"] == "sip.sent")
    assert "X-Sandbox-Test: test_talks\r\n" in invite["data"]["raw"]
    # The lines of both services about the call are rows, told by the call's ids.
    lines = {
        source: [e for e in trace["events"] if e["source"] == source and call["id"] in e["calls"]]
        for source in ("sip", "server")
    }
    assert any(call["scl"] in e["data"]["names"] for e in lines["sip"])
    assert any(call["room"] in e["data"]["names"] for e in lines["server"])
    assert all(e["name"].startswith("log.") for e in (*lines["sip"], *lines["server"]))
    shown = [trace["events"][line["event"]] for line in trace["logs"]["sip"] if "event" in line]
    # The log is in the order in which it was written, the timeline in that of the times.
    of_call = [e for e in shown if call["id"] in e["calls"]]
    assert sorted(of_call, key=lambda e: e["at"]) == lines["sip"]
    names = [e["name"] for e in trace["events"]]
    assert names.index("test.failed") < names.index("test.ended")
    assert {"rtp.first_sent", "rtp.first_received", "rtp.stopped", "dtmf.sent"} <= set(names)
    (begins,) = (e for e in trace["events"] if e["name"] == "fault.begins")
    assert begins["data"]["text"] == "nobody listens"


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed (apt)")
def test_wireshark_reads_the_call(project: pytest.Pytester) -> None:
    _run(project, "-k", "test_talks").assert_outcomes(failed=1)
    (call,) = _trace(project, "test_talks")["calls"]
    path = _folder(project, "test_talks") / call["files"]["pcap"]

    def tshark(*arguments: str) -> list[str]:
        run = subprocess.run(
            ["tshark", "-n", "-r", str(path), *arguments],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        return run.stdout.splitlines()

    assert tshark("-Y", "_ws.malformed") == []
    streams = [line for line in tshark("-q", "-z", "rtp,streams") if "127.0.0.1" in line]
    assert len(streams) == 2
    methods = tshark("-Y", "sip.Method", "-T", "fields", "-e", "sip.Method")
    assert [m for m in methods if m] == ["INVITE", "ACK", "BYE"]


def test_a_scenario_on_a_stack_of_its_own_has_its_report_with_its_faults(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(
        test_x="""
        from sandbox import Stack, StackOptions, Timeline

        async def test_own(sandbox_scenario, sandbox_output):
            options = StackOptions(engine="native", run_dir=sandbox_output / "stack-own")
            async with Stack(options, Timeline()) as stack, sandbox_scenario(stack) as box:
                number = await box.inbound()
                await number.room.join(tone=700)
                call = await box.phone.dial(number)
                await call.answered(within=10)
                await stack.part("sip").stop(grace=20)
                await call.hears_tone(123, within=1)
        """
    )
    result = _run(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*sandbox: SIP ladder of call*", "*fault: sip was stopped*"])
    trace = _trace(project, "test_own")
    (call,) = trace["calls"]
    assert call["scl"]
    faults = [e["data"]["text"] for e in trace["events"] if e["source"] == "fault"]
    assert faults == ["sip was stopped"]
    assert "fault: sip was stopped" in [s["label"] for s in call["ladder"]]
    assert any(e["source"] == "sip" and call["id"] in e["calls"] for e in trace["events"])


def test_on_keeps_everybodys_and_off_nobodys(project: pytest.Pytester) -> None:
    _run(project, "--sandbox-trace=on", "-k", "test_passes").assert_outcomes(passed=1)
    trace = _trace(project, "test_passes")
    assert trace["test"]["outcome"] == "passed"
    # The stack's folder goes with a run that passed, but what the trace wants of it was taken.
    assert not list((project.path / "test-results").glob("stack-*"))
    assert all({"received", "sent", "pcap"} == set(call["files"]) for call in trace["calls"])
    # The next run removes what this one left.
    result = _run(project, "--sandbox-trace=off", "-k", "test_talks")
    assert "Warning" not in result.stderr.str()
    result.assert_outcomes(failed=1)
    assert not _folder(project, "test_talks").exists()
    result.stdout.no_fnmatch_line("*report.html*")


def test_a_run_removes_the_traces_of_those_before_it(project: pytest.Pytester) -> None:
    _run(project, "-k", "test_talks").assert_outcomes(failed=1)
    _run(project, "-k", "test_passes").assert_outcomes(passed=1)
    assert list((project.path / "test-results").iterdir()) == []


def test_a_test_that_is_run_again_keeps_its_first_failing_attempt(
    project: pytest.Pytester,
) -> None:
    project.makeconftest(
        """
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):
            for _ in range(3):
                reports = runtestprotocol(item, nextitem=nextitem, log=False)
            for report in reports:
                item.ihook.pytest_runtest_logreport(report=report)
            return True
        """
    )
    project.makepyfile(
        test_x="""
        attempts = []

        async def test_flaky(sandbox):
            attempts.append(1)
            assert len(attempts) == 3, f"attempt {len(attempts)}"
        """
    )
    _run(project).assert_outcomes(passed=1)
    assert "attempt 1" in _trace(project, "test_flaky")["verdict"]["what"]


def test_a_test_that_fails_in_its_fixture_has_a_report_too(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_x="""
        import pytest

        @pytest.fixture
        def broken(sandbox):
            raise ValueError("no good")

        async def test_it(sandbox, broken):
            pass
        """
    )
    _run(project).assert_outcomes(errors=1)
    verdict = _trace(project, "test_it")["verdict"]
    assert (verdict["what"], verdict["phase"]) == ("ValueError: no good", "setup")
