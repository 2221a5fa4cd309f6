"""A registered worker as a scenario sees it: its jobs, what they saw, and how they ended."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sandbox.errors import AgentError, DeadlineMissed
from sandbox.stack.process import last_lines
from sandbox.timeline import Event, Timeline

__all__ = ["Caller", "Job", "Worker"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A participant as the agent saw it in its room."""

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
        participant: the first participant that the job saw; None if it was not waited for.
        attributes: of the dispatch.
        raw: all that was reported when the entrypoint was entered.
    """

    id: str
    room: str
    metadata: str
    agent_name: str
    room_metadata: str
    participant: Caller | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict)


class Worker:
    """A livekit-agents worker, registered with the stack's livekit-server.

    Attributes:
        name: the agent_name it registered with; "" takes automatic dispatches.
        log: the file with its output.
    """

    def __init__(self, name: str, timeline: Timeline, log: Path) -> None:
        self.name = name
        self.log = log
        self._id = secrets.token_hex(4)
        self._timeline = timeline
        self._mark = timeline.mark()
        # Jobs of an earlier test, which end while this one runs.
        self._others: frozenset[str] = frozenset()

    def _mine(self, event: Event) -> bool:
        return (
            event.source == "agent"
            and event.data.get("agent") in (self._id, "")
            and event.data.get("job") not in self._others
        )

    def _fatal(self, event: Event) -> bool:
        """Whether nothing can come after `event`."""
        return event.name in ("host.died", "host.error", "worker.stopped", "worker.exited")

    async def _wait(
        self,
        name: str,
        within: float,
        expected: str,
        match: Callable[[Event], bool] | None = None,
        unless: Callable[[Event], bool] | None = None,
    ) -> Event:
        fatal: list[Event] = []

        def ends(event: Event) -> bool:
            over = self._mine(event) and event.name != name
            over = over and (
                self._fatal(event)
                or (event.name == "job.failed" and name.startswith("session."))
                or (unless is not None and unless(event))
            )
            if over:
                fatal.append(event)
            return over

        expected = f"{expected} (agent {self.name or 'without a name'})"
        try:
            return await self._timeline.wait(
                lambda e: self._mine(e) and e.name == name and (match is None or match(e)),
                within=within,
                expected=expected,
                since=self._mark,
                about=self._mine,
                unless=ends,
            )
        except DeadlineMissed as missed:
            if fatal:
                raise self._failure(fatal[0], expected) from None
            missed.cause, missed.remedy = self._why_nothing_came()
            missed.evidence = missed.evidence or str(self.log)
            raise

    def _failure(self, event: Event, expected: str) -> AgentError:
        """What ended the wait, as an error with the last lines that tell of it."""
        told = event.data.get("traceback") or last_lines(self.log)
        what = str(event.data.get("error") or event)
        where = {
            "job.failed": "its entrypoint raised",
            "worker.exited": "its process ended, code {code}",
            "worker.failed": "it could not run",
        }.get(event.name, event.name)
        return AgentError(
            f"agent {self.name or 'without a name'}: {where.format_map(dict(event.data))}"
            + (f": {what}" if event.data.get("error") else ""),
            seen=[f"expected {expected}", *told],
            evidence=str(self.log),
        )

    def _why_nothing_came(self) -> tuple[str, str]:
        """The likely cause of a missed deadline, and what to do, by what the worker reported."""
        events = [e for e in self._timeline.since(self._mark) if self._mine(e)]
        names = [event.name for event in events]
        for event in reversed(events):
            if event.name == "job.rejected":
                return _REFUSALS.get(event.data.get("why", ""), ("", ""))
        if "job.offered" not in names and "worker.registered" in names:
            return (
                f"livekit-server offered the worker {self.name!r} no job",
                "name it in the rule, inbound(agent=agent.name); a room that exists takes no agent",
            )
        return "", ""

    def _events(self, name: str) -> list[Event]:
        return [e for e in self._timeline.since(self._mark) if self._mine(e) and e.name == name]

    def jobs(self) -> list[str]:
        """The ids of the jobs entered so far, in order."""
        return [event.data["job"] for event in self._events("job.entered")]

    async def job(self, *, number: int = 1, within: float = 5.0, participant: bool = True) -> Job:
        """Wait for a job and for the first participant that it sees.

        Args:
            number: which job, counted from 1 in the order of their start.
            within: seconds.
            participant: whether to wait for a participant.

        Raises:
            AgentError: the entrypoint raised, or the worker is gone; the error says how.
            DeadlineMissed: no job came, or it saw no participant.
        """

        def nth(event: Event) -> bool:
            jobs = self.jobs()
            return len(jobs) >= number and jobs[number - 1] == event.data["job"]

        entered = await self._wait("job.entered", within, f"job number {number}", nth)
        data = entered.data
        job = Job(
            id=data["job"],
            room=data["room"],
            metadata=data["metadata"],
            agent_name=data["agent_name"],
            room_metadata=data["room_metadata"],
            attributes=data.get("attributes", {}),
            raw=data,
        )
        if not participant:
            return job
        seen = await self._wait(
            "job.participant",
            within,
            f"job {job.id} to see a participant",
            lambda e: e.data["job"] == job.id,
            lambda e: e.name in ("job.failed", "job.ended") and e.data["job"] == job.id,
        )
        fields = ("identity", "name", "kind", "metadata", "attributes")
        return replace(job, participant=Caller(**{k: seen.data[k] for k in fields}))

    async def job_ended(self, *, reason: str | None = None, within: float = 5.0) -> str:
        """Wait until a job has ended; returns why.

        Args:
            reason: expect exactly this: what JobContext.shutdown was called with, or what
                livekit-agents says for itself (`room disconnected`, …); of the sandbox's own agent
                the disconnect reason of the participant that left (`CLIENT_INITIATED`, …).
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

    async def job_failed(self, *, within: float = 5.0) -> str:
        """Wait until an entrypoint raises; returns the exception as `Type: text`.

        Raises:
            DeadlineMissed: none did.
        """
        return str((await self._wait("job.failed", within, "an entrypoint to raise")).data["error"])

    async def refused(self, *, why: str | None = None, within: float = 5.0) -> str:
        """Wait until the worker refuses a job that livekit-server offered; returns why.

        Args:
            why: expect exactly this: `rejected` (JobRequest.reject), `ignored` (the request
                function answered nothing, or raised), `full` (its load) or `draining`.
            within: seconds.

        Raises:
            DeadlineMissed: it refused none, or none for this reason.
        """
        event = await self._wait(
            "job.rejected",
            within,
            f"a job to be refused{f' as {why}' if why else ''}",
            lambda e: why is None or e.data.get("why") == why,
        )
        return str(event.data.get("why", ""))

    async def event(self, name: str, *, within: float = 5.0, **data: Any) -> Event:
        """Wait for an event of this worker whose data has the given values.

        Args:
            name: `job.connected`, `job.participant_disconnected`, `session.closed`, `worker.full`,
                …: docs/agents.md lists them.
            within: seconds.
            data: what its data must have.

        Raises:
            AgentError: the worker ended before.
            DeadlineMissed: it did not come.
        """
        return await self._wait(
            name,
            within,
            f"{name} {data or ''}".strip(),
            lambda e: all(e.data.get(k) == v for k, v in data.items()),
        )

    def digits(self) -> str:
        """The DTMF digits received so far, by all jobs."""
        return "".join(event.data["digit"] for event in self._events("job.dtmf"))

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


_REFUSALS = {
    "rejected": ("the agent's request function rejected the job (JobRequest.reject)", ""),
    "ignored": (
        "the agent's request function neither accepted nor rejected the job",
        "await request.accept() in it; what it raised is in the log",
    ),
    "full": (
        "the worker refused the job: its load was over its load_threshold",
        "start it without load_limit=True, or see its load_fnc",
    ),
    "draining": ("the worker refused the job: it is draining", "start another"),
}
