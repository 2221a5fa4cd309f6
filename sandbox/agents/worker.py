"""The sandbox's own agent: one process that runs its workers, and one of them in a scenario."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox.agents.jobs import Job, Worker
from sandbox.agents.protocol import Behaviour, decode, encode
from sandbox.agents.running import AgentProcesses
from sandbox.errors import StackError
from sandbox.stack.endpoints import Endpoints
from sandbox.stack.process import Child, Reaper
from sandbox.timeline import Event, Timeline

__all__ = ["Agent", "AgentHost"]


class AgentHost:
    """The process that runs the workers; one for a stack, started at the first agent.

    Attributes:
        processes: the agents under test, which have processes of their own.
    """

    def __init__(self, endpoints: Endpoints, timeline: Timeline) -> None:
        self.processes = AgentProcesses(endpoints, timeline)
        self._endpoints = endpoints
        self._timeline = timeline
        self._child: Child | None = None
        self._reaper: Reaper | None = None
        self._reader: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    @property
    def log(self) -> Path:
        """The log of the host and of livekit-agents."""
        return self._endpoints.run_dir / "agent.log"

    @property
    def _temp(self) -> Path:
        return self._endpoints.run_dir / "agent-tmp"

    @property
    def timeline(self) -> Timeline:
        """Where the jobs are recorded."""
        return self._timeline

    async def start(self) -> None:
        """Start the process, if it is not running, and wait until it takes commands.

        Raises:
            StackError: it ended before it was ready.
        """
        async with self._lock:
            if self._child is not None and self._child.running:
                return
            await self._stop_host()
            self._reaper = Reaper()
            # Each JobContext has a temporary folder, which a killed run would leave behind.
            self._temp.mkdir(exist_ok=True)
            self._reaper.watch_path(self._temp)
            mark = self._timeline.mark()
            self._child = await Child.start(
                "agent",
                [sys.executable, "-m", "sandbox.agents.host"],
                log=self.log,
                reaper=self._reaper,
                env={"TMPDIR": str(self._temp)},
                pipe_stdin=True,
                pipe_stdout=True,
            )
            self._reader = asyncio.create_task(self._read(self._child))
            event = await self._timeline.wait(
                lambda e: e.name in ("host.ready", "host.died"),
                within=30,
                expected="the agent host to start",
                since=mark,
            )
            if event.name == "host.died":
                raise self._child.failure("exited before it was ready")

    async def _read(self, child: Child) -> None:
        assert child.process.stdout is not None
        while line := await child.process.stdout.readline():
            message = decode(line)
            name, at = message.pop("event"), message.pop("at")
            self._timeline.add(Event(source="agent", name=name, at=at, data=message))
        if not child.stopping:
            await child.exited
            self._timeline.record("agent", "host.died", code=child.process.returncode, agent="")

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._child is not None and self._child.running

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one command.

        Raises:
            StackError: the process is gone.
        """
        if self._child is None or not self._child.running:
            raise StackError("the agent host is not running", evidence=str(self.log))
        assert self._child.process.stdin is not None
        self._child.process.stdin.write(encode(message))

    def connection(self) -> dict[str, str]:
        """URL, key and secret that a worker registers with."""
        ends = self._endpoints
        return {"url": ends.livekit_url, "key": ends.api_key, "secret": ends.api_secret}

    async def stop(self) -> None:
        """End the process and every worker in it, and all agents under test."""
        await asyncio.gather(self.processes.stop(), self._stop_host())

    async def _stop_host(self) -> None:
        if self._child is not None:
            await self._child.stop(grace=0.5)
            self._child = None
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
            self._reader = None
        shutil.rmtree(self._temp, ignore_errors=True)
        if self._reaper is not None:
            self._reaper.dismiss()
            self._reaper = None


class Agent(Worker):
    """A worker of the sandbox's own, that answers with a tone; made by `Sandbox.agent`.

    Attributes:
        tone: the frequency of its voice, in Hz.
    """

    def __init__(self, host: AgentHost, name: str, behaviour: Behaviour) -> None:
        super().__init__(name, host.timeline, host.log)
        self.behaviour = behaviour
        self._host = host
        self.running = False

    @property
    def tone(self) -> float:
        """The frequency of its voice, in Hz."""
        return self.behaviour.tone

    async def start(self, *, within: float = 10.0) -> None:
        """Register with livekit-server.

        Raises:
            DeadlineMissed: livekit-server did not list the worker in time.
        """
        await self._host.start()
        self._host.send(
            {
                "op": "start",
                "agent": self._id,
                "name": self.name,
                "behaviour": self.behaviour.to_dict(),
                **self._host.connection(),
            }
        )
        self.running = True
        await self._wait("worker.registered", within, "the worker to be registered")

    async def stop(self, *, within: float = 5.0) -> None:
        """End its jobs and take it off; safe to call twice."""
        if self.running:
            self.running = False
            if not self._host.running:
                # It died, and with it the worker; its jobs have been told of that.
                return
            self._host.send({"op": "stop", "agent": self._id})
            await self._wait("worker.stopped", within, "the worker to stop")

    async def job(self, *, number: int = 1, within: float = 5.0, participant: bool = True) -> Job:
        """As `Worker.job`; it waits for no participant where its behaviour is not to."""
        sees = self.behaviour.waits_for_participant and not self.behaviour.raises
        return await super().job(number=number, within=within, participant=participant and sees)

    async def hears_tone(
        self, hz: float, *, of: str | None = None, within: float = 5.0, tolerance_hz: float = 12.0
    ) -> Event:
        """Wait until the agent hears a tone of `hz`, from anybody or from participant `of`.

        Raises:
            DeadlineMissed: it did not hear it; the error shows what it heard.
        """
        return await self._wait(
            "job.tone",
            within,
            f"the agent to hear {hz:g} Hz",
            lambda e: (
                bool(e.data["on"])
                and (of is None or e.data["identity"] == of)
                and abs(e.data["hz"] - hz) <= tolerance_hz
            ),
        )

    def _ask(self, job: Job | None, do: str, *args: Any) -> None:
        job_id = job.id if job is not None else self.jobs()[-1]
        self._host.send(
            {"op": "job", "agent": self._id, "job": job_id, "do": do, "args": list(args)}
        )

    def send_dtmf(self, digits: str, *, job: Job | None = None) -> None:
        """Let the last job (or `job`) publish DTMF digits into its room."""
        self._ask(job, "dtmf", digits)

    def hang_up(self, *, job: Job | None = None) -> None:
        """Let the last job (or `job`) delete its room, which ends every call in it."""
        self._ask(job, "delete_room")

    def shut_down(self, reason: str = "", *, job: Job | None = None) -> None:
        """Let the last job (or `job`) call JobContext.shutdown, and nothing else."""
        self._ask(job, "shutdown", reason)
