"""When a trace is kept, and where: what the pytest plugin hooks in for `--sandbox-trace`.

`retain-on-failure` (the default) keeps the trace of a failing test: its first failing attempt,
where something runs it again. Until a test fails it costs the sizes of the logs at its start, and
the phone's memory of the call's packets and audio.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sandbox.errors import DeadlineMissed
from sandbox.stack.endpoints import Endpoints
from sandbox.stack.registry import is_alive, start_time
from sandbox.timeline import Event, Timeline, now
from sandbox.trace.folders import trace_folder
from sandbox.trace.logs import log_lines, log_sizes

__all__ = ["MODES", "Artifacts"]

MODES = ("on", "off", "retain-on-failure")

_SETTLE = 1.0  # seconds for the last captures to be told
_OWNER = ".run"


@dataclass(frozen=True)
class _Failure:
    """How and when a test failed, and after how many events: clean-up is no part of the cause."""

    phase: str
    error: pytest.ExceptionInfo[BaseException] | None
    text: str
    events: int
    at: float = 0.0


@dataclass
class _Traced:
    """What is known of a test that uses the sandbox."""

    timeline: Timeline
    endpoints: Endpoints
    mark: int
    sizes: dict[str, int]
    started: float = field(default_factory=now)
    failed: _Failure | None = None
    folder: Path | None = None
    logs: dict[str, Any] = field(default_factory=dict)

    @property
    def events(self) -> tuple[Event, ...]:
        return tuple(self.timeline.since(self.mark))


_TRACED = pytest.StashKey[_Traced]()
_KEPT = pytest.StashKey[bool]()


class Artifacts:
    """The hooks and the state of one process of a run."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._mode = str(config.getoption("--sandbox-trace"))
        self._output = Path(config.getoption("--sandbox-output")).absolute()
        self._is_worker = hasattr(config, "workerinput")
        #: What each test that used the sandbox came to, by node id; in the controller.
        self.results: dict[str, dict[str, Any]] = {}

    @property
    def captures(self) -> bool:
        """Whether the phone keeps the media of its calls."""
        return self._mode != "off"

    # --- one test ----------------------------------------------------------------------------

    def begin(self, item: pytest.Item, timeline: Timeline, endpoints: Endpoints) -> None:
        """A test begins to use the sandbox."""
        if self.captures:
            sizes = log_sizes(endpoints.run_dir)
            item.stash[_TRACED] = _Traced(timeline, endpoints, timeline.mark(), sizes)

    async def settle(self, item: pytest.Item, *, failed: bool) -> None:
        """Everything of a test is taken down: if its trace is kept, wait for its last captures."""
        traced = item.stash.get(_TRACED, None)
        if traced is None or item.stash.get(_KEPT, False):
            return
        if not (failed or traced.failed or self._mode == "on"):
            return
        for call in dict.fromkeys(e.call for e in traced.events if e.name == "media.started"):
            crashed = any(e.name in ("line.crashed", "phone.crashed") for e in traced.events)
            with contextlib.suppress(DeadlineMissed):
                await traced.timeline.wait(
                    lambda e, call=call: e.name == "media.captured" and e.call == call,  # type: ignore[misc]
                    within=0 if crashed else _SETTLE,
                    expected=f"the phone to hand over the media of call {call}",
                    since=traced.mark,
                )
        # Now, for the last test of a run takes the stack's folder down with it.
        self._gather(item, traced)

    def _gather(self, item: pytest.Item, traced: _Traced) -> Path:
        """Make the folder of a trace, with what lies in the stack's own; once."""
        if traced.folder is None:
            from sandbox.trace.record import MEDIA, names_of

            traced.folder = folder = trace_folder(self._output, item.nodeid)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            pid = os.getpid()
            (folder / _OWNER).write_text(f"{pid} {start_time(pid)}")
            events, logs = traced.events, traced.endpoints.run_dir
            service = "stand-in" if traced.endpoints.is_stand_in else "livekit-sip"
            traced.logs = log_lines(logs, traced.sizes, names_of(events), service=service)
            for event in events:
                for name in MEDIA if event.name == "media.captured" else ():
                    with contextlib.suppress(OSError):
                        shutil.move(event.data.get(name, ""), folder)
        return traced.folder

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        """Keep what failed; at a test's end write its trace, or forget it."""
        report: pytest.TestReport = yield
        traced = item.stash.get(_TRACED, None)
        if traced is None:
            return report
        if report.failed and traced.failed is None:
            traced.failed = _Failure(
                report.when or "", call.excinfo, report.longreprtext, len(traced.events), call.stop
            )
            if not item.stash.get(_KEPT, False):
                page = trace_folder(self._output, item.nodeid) / "report.html"
                report.sections.append(("sandbox: report", str(page)))
        if report.when == "teardown":
            try:
                self._finish(item, report, traced)
            finally:
                del item.stash[_TRACED]
        return report

    def _finish(self, item: pytest.Item, report: pytest.TestReport, traced: _Traced) -> None:
        events = traced.events
        facts: dict[str, Any] = {
            "outcome": "failed" if traced.failed else "passed",
            "seconds": round(now() - traced.started, 3),
            "sip_service": traced.endpoints.sip_service,
            "engine": traced.endpoints.engine,
        }
        wanted = traced.failed or self._mode == "on"
        if wanted and not (item.stash.get(_KEPT, False)):
            # A test that is run again keeps its first failing attempt.
            item.stash[_KEPT] = bool(traced.failed)
            folder = self._write(item, traced, events, facts)
            facts["folder"] = str(folder)
            report.user_properties.append(("sandbox.report", str(folder / "report.html")))
        for event in events:
            if event.name == "media.captured":
                for name in ("packets", "received", "sent"):
                    if event.data.get(name):
                        Path(event.data[name]).unlink(missing_ok=True)
        # xdist carries the attributes of a report to the controller.
        vars(report)["sandbox_trace"] = facts

    def _write(
        self, item: pytest.Item, traced: _Traced, events: tuple[Event, ...], facts: dict[str, Any]
    ) -> Path:
        # Imported when needed: a run without a failure does not pay for it.
        from sandbox.trace.page import write_page
        from sandbox.trace.record import write_trace
        from sandbox.trace.verdict import verdict

        failure = traced.failed or _Failure("", None, "", 0)
        folder = self._gather(item, traced)
        path, line, _ = item.reportinfo()
        doc = getattr(getattr(item, "function", None), "__doc__", "") or ""
        found = verdict(
            failure.error,
            path=Path(item.path),
            phase=failure.phase,
            text=failure.text,
            events=events[: failure.events],
            version=traced.endpoints.server_version,
        )
        test = {
            "name": item.name,
            "nodeid": item.nodeid,
            "doc": " ".join(doc.split("\n\n", 1)[0].split()),
            "file": str(path),
            "line": (line or 0) + 1,
            "started": traced.started,
            "outcome": facts["outcome"],
            "seconds": facts["seconds"],
        }
        write_trace(
            folder,
            test=test,
            verdict=found,
            events=[*events, *_failing(failure, found)],
            endpoints=traced.endpoints,
            logs=traced.logs,
        )
        write_page(folder)
        facts["what"] = found.get("what", "")
        facts["cause"] = found.get("cause", "")
        return folder

    # --- the run -----------------------------------------------------------------------------

    @pytest.hookimpl
    def pytest_sessionstart(self) -> None:
        """Remove what runs that are over have left."""
        if self._is_worker or not self.captures:
            return
        for owner in self._output.glob(f"*/{_OWNER}"):
            pid, _, started = owner.read_text().partition(" ")
            if not (pid.isdigit() and is_alive(int(pid), started)):
                shutil.rmtree(owner.parent, ignore_errors=True)
        (self._output / "index.html").unlink(missing_ok=True)

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """In the controller: take what a test came to."""
        facts = getattr(report, "sandbox_trace", None)
        if facts is not None:
            before = self.results.get(report.nodeid, {})
            self.results[report.nodeid] = {**before, **facts}

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write the index and CI's summary, and print where the pages are."""
        if self._is_worker or not self.results:
            return
        from sandbox.trace.summary import write_index, write_step_summary

        summary = os.environ.get("GITHUB_STEP_SUMMARY")
        if summary:
            with contextlib.suppress(OSError):
                write_step_summary(Path(summary), self.results)
        kept = {name: facts for name, facts in self.results.items() if facts.get("folder")}
        if not kept:
            return
        index = write_index(self._output, self.results)
        terminalreporter.section("sandbox reports")
        for name, facts in kept.items():
            terminalreporter.write_line(f"{facts['outcome']:<7} {name}")
            terminalreporter.write_line(f"        {_shown(Path(facts['folder']) / 'report.html')}")
        terminalreporter.write_line(f"index   {_shown(index)}")
        terminalreporter.write_line("        (sandbox show-trace opens it)")


def _failing(failure: _Failure, verdict: Mapping[str, Any]) -> list[Event]:
    """The failure as a row of the timeline: what came before it and after it is what matters."""
    if failure.error is None:
        return []
    where = verdict.get("where") or {}
    data = {"text": str(verdict.get("what", "")).split("\n", 1)[0], "phase": failure.phase}
    if where:
        data |= {"file": where["file"], "line": where["line"]}
    return [Event(source="test", name="test.failed", at=failure.at, data=data)]


def _shown(path: Path) -> str:
    """Relative where that is shorter to type."""
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)
