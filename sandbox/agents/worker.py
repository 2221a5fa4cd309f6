"""An agent worker under test, as a scenario sees it: its jobs, what they saw, how they ended."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.agents.protocol import Behaviour, decode, encode
from sandbox.errors import StackError
from sandbox.stack.endpoints import Endpoints
from sandbox.stack.process import Child, Reaper
from sandbox.timeline import Event, Timeline

__all__ = ["Agent", "AgentHost", "Caller", "Job"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A participant as the agent saw it in its JobContext."""

    identity: str
    name: str
    kind: str
    metadata: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as the agent saw it.

    Attributes:
        id: `AJ_…`.
        room: the room's name.
        metadata: of the dispatch (RoomAgentDispatch.metadata, or CreateDispatch's).
        agent_name: the name it was dispatched by, "" for automatic dispatch.
        room_metadata: of the room, when the job was made.
        participant: the first participant the entrypoint saw; None if it did not wait for one.
    """

    id: str
    room: str
    metadata: str
    agent_name: str
    room_metadata: str
    participant: Caller | None = None
    raw: Mapping[str, Any] = field(default_factory=dict)


class AgentHost:
    """The process that runs the workers; one for a stack, started at the first agent."""

    def __init__(self, endpoints: Endpoints, timeline: Timeline) -> None:
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
            await self.stop()
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
        """End the process and every worker in it."""
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


class Agent:
    """A registered worker; made by `Sandbox.agent`.

    Attributes:
        name: the agent_name it registered with; "" takes automatic dispatches.
        tone: the frequency of its voice, in Hz.
    """

    def __init__(self, host: AgentHost, name: str, behaviour: Behaviour) -> None:
        self.name = name
        self.behaviour = behaviour
        self._id = secrets.token_hex(4)
        self._host = host
        self._timeline = host.timeline
        self._mark = self._timeline.mark()
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
            self._host.send({"op": "stop", "agent": self._id})
            await self._wait("worker.stopped", within, "the worker to stop")

    def _mine(self, event: Event) -> bool:
        return event.source == "agent" and event.data.get("agent") in (self._id, "")

    async def _wait(
        self,
        name: str,
        within: float,
        expected: str,
        match: Callable[[Event], bool] | None = None,
    ) -> Event:
        return await self._timeline.wait(
            lambda e: self._mine(e) and e.name == name and (match is None or match(e)),
            within=within,
            expected=f"{expected} (agent {self.name or 'without a name'})",
            since=self._mark,
            about=self._mine,
            unless=lambda e: (
                e.name == "host.died"
                or (self._mine(e) and e.name in ("host.error", "worker.stopped") and e.name != name)
            ),
        )

    def jobs(self) -> list[str]:
        """The ids of the jobs entered so far, in order."""
        return [
            event.data["job"]
            for event in self._timeline.since(self._mark)
            if self._mine(event) and event.name == "job.entered"
        ]

    async def job(self, *, number: int = 1, within: float = 5.0) -> Job:
        """Wait for a job and for the participant that its entrypoint saw.

        Args:
            number: which job, counted from 1 in the order of their start.
            within: seconds.

        Raises:
            DeadlineMissed: no job came, or it saw no participant.
        """

        def nth(event: Event) -> bool:
            jobs = self.jobs()
            return len(jobs) >= number and jobs[number - 1] == event.data["job"]

        entered = await self._wait("job.entered", within, f"job number {number}", nth)
        job_id = entered.data["job"]
        caller = None
        if self.behaviour.waits_for_participant and not self.behaviour.raises:
            seen = await self._wait(
                "job.participant",
                within,
                f"job {job_id} to see a participant",
                lambda e: e.data["job"] == job_id,
            )
            caller = Caller(
                **{k: seen.data[k] for k in ("identity", "name", "kind", "metadata", "attributes")}
            )
        return Job(
            id=job_id,
            room=entered.data["room"],
            metadata=entered.data["metadata"],
            agent_name=entered.data["agent_name"],
            room_metadata=entered.data["room_metadata"],
            participant=caller,
            raw=entered.data,
        )

    async def job_ended(self, *, reason: str | None = None, within: float = 5.0) -> str:
        """Wait until a job has ended; returns why.

        Args:
            reason: expect exactly this: the disconnect reason of the participant that left
                (`CLIENT_INITIATED`, `ROOM_DELETED`, …), or what the shutdown was called with.
            within: seconds.

        Raises:
            DeadlineMissed: no job ended, or none for this reason.
        """
        event = await self._wait(
            "job.ended",
            within,
            "a job to end" + (f" with {reason}" if reason is not None else ""),
            lambda e: reason is None or e.data["reason"] == reason,
        )
        return str(event.data["reason"])

    async def event(self, name: str, *, within: float = 5.0, **data: Any) -> Event:
        """Wait for a `job.…` event whose data has the given values.

        Raises:
            DeadlineMissed: it did not come.
        """
        return await self._wait(
            name,
            within,
            f"{name} {data or ''}".strip(),
            lambda e: all(e.data.get(k) == v for k, v in data.items()),
        )

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

    def digits(self) -> str:
        """The DTMF digits received so far, by all jobs."""
        return "".join(
            event.data["digit"]
            for event in self._timeline.since(self._mark)
            if self._mine(event) and event.name == "job.dtmf"
        )

    async def dtmf(self, digits: str, *, within: float = 5.0) -> None:
        """Wait until exactly `digits` have been received.

        Raises:
            DeadlineMissed: others came, or fewer.
        """
        await self._wait(
            "job.dtmf",
            within,
            f"the DTMF digits {digits!r}",
            lambda e: self.digits() == digits,
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
