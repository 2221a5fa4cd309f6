"""The processes of agents under test: started or forked, kept for the next test, and ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from sandbox.agents.order import Order
from sandbox.agents.protocol import decode
from sandbox.agents.reports import Reports
from sandbox.errors import AgentError, DeadlineMissed
from sandbox.stack.endpoints import Endpoints
from sandbox.stack.process import Child, Reaper, last_lines
from sandbox.timeline import Event, Timeline

__all__ = ["AgentProcesses", "Running"]

_LAUNCHER = Path(__file__).with_name("inside") / "livekit_sandbox_launch.py"


class Running:
    """One process of an agent; it leads a session, so its job processes are in its group.

    Attributes:
        id: what its reports are marked with.
        order: what it runs.
        log: the file with its output.
        pid: of its main process, which is also its group's.
        name: the agent_name that it registered with; set when it has.
        mark: where on the timeline its present user's time begins.
        ended: its exit code, when it has ended.
    """

    def __init__(self, order: Order, log: Path, mark: int) -> None:
        self.id = secrets.token_hex(4)
        self.order = order
        self.log = log
        self.mark = mark
        self.pid = 0
        self.name = order.name or ""
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def alive(self) -> bool:
        """Whether its main process runs."""
        return self.pid != 0 and not self.ended.done()

    def signal(self, number: int, *, group: bool = False) -> None:
        """Send a signal to its main process, or to all its processes."""
        # Before it is known to run its number is 0, which as a group is that of ourselves.
        if self.alive or (group and self.pid):
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(self.pid, number)

    async def stop(self, *, grace: float = 3.0) -> None:
        """End it in order, and what is left of it after `grace` seconds by force."""
        if self.pid == 0:
            return
        self.signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self.ended), grace)
        self.signal(signal.SIGKILL, group=True)
        await self.ended


class AgentProcesses:
    """All agents under test of a stack. Nothing is started before the first is asked for."""

    def __init__(self, endpoints: Endpoints, timeline: Timeline) -> None:
        self._endpoints = endpoints
        self._timeline = timeline
        self._reports = Reports(timeline)
        self._reaper: Reaper | None = None
        self._kept: dict[Order, Running] = {}
        self._used: set[str] = set()
        self._all: list[Running] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._zygote: Child | None = None
        self._zygote_lock = asyncio.Lock()

    @property
    def timeline(self) -> Timeline:
        """Where the agents' reports go."""
        return self._timeline

    async def take(
        self,
        order: Order,
        *,
        reuse: bool = True,
        within: float = 60.0,
        on_output: Callable[[bytes], None] | None = None,
    ) -> Running:
        """A registered worker for `order`: one kept by `give_back`, or a new one.

        Raises:
            AgentError: it ended before livekit-server had registered it, or did not register
                within `within` seconds; the error shows the end of its log.
        """
        kept = self._kept.get(order) if reuse else None
        if kept is not None and kept.alive and kept.id not in self._used:
            self._used.add(kept.id)
            kept.mark = self._timeline.mark()
            await self._alone(kept)
            return kept
        count = sum(1 for other in self._all if other.order.label == order.label)
        log = self._endpoints.run_dir / f"agent-{order.label}-{count + 1}.log"
        running = Running(order, log, self._timeline.mark())
        self._all.append(running)
        self._used.add(running.id)
        await (self._fork(running) if order.fast else self._start(running, on_output))
        await self._registered(running, within)
        await self._alone(running)
        return running

    async def _alone(self, running: Running) -> None:
        """End the kept workers of the same name: livekit-server would share the calls with them."""
        rivals = [
            other
            for other in self._kept.values()
            if other.name == running.name and other.id not in self._used and other.alive
        ]
        await asyncio.gather(*(other.stop(grace=1.0) for other in rivals))

    async def give_back(self, running: Running, *, keep: bool) -> None:
        """A scenario is done with it: it waits for the next with the same order, or ends.

        A worker without a name is never kept: it would take the rooms of every other test.
        """
        self._used.discard(running.id)
        if keep and running.alive and running.name:
            other = self._kept.setdefault(running.order, running)
            if other is running:
                return
            if not other.alive:
                self._kept[running.order] = running
                return
        await running.stop()

    async def _environment(self, running: Running) -> dict[str, str]:
        # Each JobContext has a temporary folder, which a killed run would leave behind.
        temp = self._endpoints.run_dir / "agents-tmp"
        temp.mkdir(exist_ok=True)
        self._reaping().watch_path(temp)
        order, ends = running.order, self._endpoints
        return {
            **os.environ,
            "TMPDIR": str(temp),
            "PYTHONUNBUFFERED": "1",
            "LIVEKIT_URL": ends.livekit_url,
            "LIVEKIT_API_KEY": ends.api_key,
            "LIVEKIT_API_SECRET": ends.api_secret,
            **order.naming,
            "SANDBOX_AGENT_REPORTS": await self._reports.address(running.id),
            "SANDBOX_AGENT_LOAD_LIMIT": "1" if order.load_limit else "",
            "SANDBOX_AGENT_EXECUTOR": order.executor,
            **dict(order.env),
        }

    async def _start(self, running: Running, on_output: Callable[[bytes], None] | None) -> None:
        order, env = running.order, await self._environment(running)
        child = await Child.start(
            f"agent {order.label}",
            [order.python, _LAUNCHER, order.target, *order.arguments],
            log=running.log,
            reaper=self._reaping(),
            env=env,
            cwd=Path(order.cwd),
            pipe_output=on_output is not None,
        )
        running.pid = child.process.pid
        if on_output is not None:
            self._spawn(_copy(child, running.log, on_output))
        self._spawn(self._await_end(running, child))

    def _reaping(self) -> Reaper:
        if self._reaper is None:
            self._reaper = Reaper()
        return self._reaper

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _await_end(self, running: Running, child: Child) -> None:
        self._over(running, await asyncio.shield(child.exited))

    def _over(self, running: Running, code: int) -> None:
        if not running.ended.done():
            running.ended.set_result(code)
            self._timeline.record(
                "agent", "worker.exited", agent=running.id, code=code, log=running.log.name
            )
            # Job processes outlive a main process that was killed; no agent does its test.
            running.signal(signal.SIGKILL, group=True)
            if self._reaper is not None:
                self._reaper.forget_group(running.pid)

    # --- forked ones -----------------------------------------------------------------------

    async def prepare(self) -> None:
        """Import livekit-agents once for all agents that are forked; the first one does it else.

        It takes about a second.

        Raises:
            StackError: it could not be imported; its log says why.
        """
        async with self._zygote_lock:
            if self._zygote is None or not self._zygote.running:
                await self._start_zygote()

    async def _fork(self, running: Running) -> None:
        order, env = running.order, await self._environment(running)
        await self.prepare()
        assert self._zygote is not None
        assert self._zygote.process.stdin is not None
        mark = self._timeline.mark()
        line = {
            "agent": running.id,
            "target": order.target,
            "arguments": list(order.arguments),
            "env": env,
            "cwd": order.cwd,
            "log": str(running.log),
            "sys_path": [entry for entry in sys.path if entry],
        }
        self._zygote.process.stdin.write(json.dumps(line).encode() + b"\n")
        event = await self._timeline.wait(
            lambda e: (
                e.name == "zygote.ended"
                or (e.name == "zygote.started" and e.data["agent"] == running.id)
            ),
            within=10,
            expected=f"the process of agent {order.label} to be forked",
            since=mark,
        )
        if event.name == "zygote.ended":
            raise self._zygote.failure("ended")

    async def _start_zygote(self) -> None:
        mark = self._timeline.mark()
        self._zygote = await Child.start(
            "agents",
            [sys.executable, "-m", "sandbox.agents.zygote"],
            log=self._endpoints.run_dir / "agents.log",
            reaper=self._reaping(),
            pipe_stdin=True,
            pipe_stdout=True,
        )
        self._spawn(self._read_zygote(self._zygote))
        event = await self._timeline.wait(
            lambda e: e.name in ("zygote.ready", "zygote.ended"),
            within=60,
            expected="livekit-agents to be imported",
            since=mark,
        )
        if event.name == "zygote.ended":
            raise self._zygote.failure("ended before it was ready")

    async def _read_zygote(self, zygote: Child) -> None:
        assert zygote.process.stdout is not None
        while line := await zygote.process.stdout.readline():
            message = decode(line)
            name = message.pop("event")
            running = next((one for one in self._all if one.id == message.get("agent")), None)
            if running is not None and name == "started":
                # Here, and not by who waits for it: its end may be the next line.
                running.pid = message["pid"]
                self._reaping().watch_group(running.pid)
            if running is not None and name == "ended":
                self._over(running, message["code"])
            else:
                self._timeline.record("stack", f"zygote.{name}", **message)
        await zygote.exited
        self._timeline.record("stack", "zygote.ended", code=zygote.process.returncode)
        for running in self._all:
            if running.order.fast and running.pid and not running.ended.done():
                self._over(running, -signal.SIGKILL)

    # --- readiness and end -----------------------------------------------------------------

    async def _registered(self, running: Running, within: float) -> None:
        def mine(name: str) -> Callable[[Event], bool]:
            return lambda e: e.name == name and e.data.get("agent") == running.id

        try:
            event = await self._timeline.wait(
                mine("worker.registered"),
                within=within,
                expected=f"agent {running.order.label} to be registered",
                unless=mine("worker.exited"),
            )
        except DeadlineMissed as missed:
            ended = running.ended.done()
            code = f", code {running.ended.result()}" if ended else ""
            await running.stop(grace=0)
            raise _not_registered(running, within, ended, code) from missed
        running.name = event.data["name"]

    async def stop(self) -> None:
        """End all of them and take no more reports."""
        await asyncio.gather(*(running.stop() for running in self._all if running.alive))
        if self._zygote is not None:
            assert self._zygote.process.stdin is not None
            self._zygote.process.stdin.close()
            await self._zygote.stop(grace=0.5)
            self._zygote = None
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._reports.close()
        shutil.rmtree(self._endpoints.run_dir / "agents-tmp", ignore_errors=True)
        if self._reaper is not None:
            self._reaper.dismiss()
            self._reaper = None
        self._kept.clear()
        self._all.clear()


def _not_registered(running: Running, within: float, ended: bool, code: str) -> AgentError:
    lines = last_lines(running.log)
    text = "\n".join(lines)
    cause = ""
    if "ModuleNotFoundError" in text or "ImportError" in text:
        cause = f"something it imports is not installed for {running.order.python}"
    elif not ended:
        cause = "it hangs in its imports or its prewarm, or speaks to another LIVEKIT_URL"
    return AgentError(
        f"agent {running.order.label} "
        + (
            f"ended before it was registered{code}"
            if ended
            else f"was not registered in {within:g} s"
        ),
        seen=lines or ["its log is empty"],
        cause=cause,
        remedy="run it alone to see: "
        + " ".join(
            [Path(running.order.python).name, running.order.target, *running.order.arguments]
        ),
        evidence=str(running.log),
    )


async def _copy(child: Child, log: Path, on_output: Callable[[bytes], None]) -> None:
    """Write what the child prints to its log, and show it as it comes."""
    assert child.process.stdout is not None
    with log.open("ab", buffering=0) as file:
        while data := await child.process.stdout.read(1 << 16):
            file.write(data)
            on_output(data)
