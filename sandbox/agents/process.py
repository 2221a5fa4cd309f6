"""An agent under test in a process of its own: what it says, hears and calls, and how it ends."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from typing import Any

from sandbox.agents.jobs import Worker
from sandbox.agents.running import AgentProcesses, Running
from sandbox.timeline import Event

__all__ = ["AgentProcess"]


class AgentProcess(Worker):
    """A worker made by `Sandbox.agent(file)`, as one scenario sees it.

    The process may have served an earlier scenario; only the jobs of this one are shown.
    """

    def __init__(self, processes: AgentProcesses, running: Running, *, reuse: bool) -> None:
        super().__init__(running.name, processes.timeline, running.log)
        self._processes = processes
        self._running = running
        self._reuse = reuse
        self._spoilt = False
        self._id = running.id
        self._mark = running.mark
        self._others = frozenset(
            event.data["job"]
            for event in list(processes.timeline)[: running.mark]
            if event.source == "agent"
            and event.data.get("agent") == running.id
            and event.data.get("job")
        )

    @property
    def pid(self) -> int:
        """The process id of the worker; its jobs may have processes of their own."""
        return self._running.pid

    @property
    def running(self) -> bool:
        """Whether the worker's process is alive."""
        return self._running.alive

    # --- what its AgentSession tells -------------------------------------------------------

    @property
    def transcript(self) -> Sequence[tuple[str, str]]:
        """The conversation so far as the agent has it: (`user` or `assistant`, text)."""
        return [(e.data["role"], e.data["text"]) for e in self._events("session.message")]

    async def said(self, text: str, *, within: float = 5.0) -> Event:
        """Wait until the agent has said `text` (a part of a message, letter case ignored).

        It is the text of the conversation's history: what the agent meant to say, cut where it
        was interrupted. What the caller really heard, the phone tells.

        Raises:
            AgentError: the worker ended before.
            DeadlineMissed: it did not say it.
        """
        return await self._message("assistant", text, within, f"the agent to say {text!r}")

    async def heard(self, text: str, *, within: float = 5.0) -> Event:
        """Wait until the agent has taken `text` (a part of a turn) as said by the caller.

        Raises:
            AgentError: the worker ended before.
            DeadlineMissed: it did not hear it.
        """
        return await self._message("user", text, within, f"the agent to hear {text!r}")

    async def _message(self, role: str, text: str, within: float, expected: str) -> Event:
        return await self._wait(
            "session.message",
            within,
            expected,
            lambda e: e.data["role"] == role and text.casefold() in e.data["text"].casefold(),
        )

    async def called_tool(self, tool: str, *, within: float = 5.0, **arguments: Any) -> Any:
        """Wait until the agent has called a function tool; returns its output.

        Args:
            tool: its name.
            within: seconds.
            arguments: what the call's arguments must have.

        Raises:
            AgentError: the worker ended before.
            DeadlineMissed: it did not call it so.
        """

        def fits(event: Event) -> bool:
            given = json.loads(event.data["arguments"] or "{}")
            return event.data["tool"] == tool and all(
                given.get(key) == value for key, value in arguments.items()
            )

        event = await self._wait(
            "session.tool", within, f"the tool {tool} to be called {arguments or ''}".strip(), fits
        )
        return event.data["output"]

    # --- how it ends -----------------------------------------------------------------------

    def drain(self) -> None:
        """SIGTERM, as a deployment sends: running jobs finish, new ones are refused, then it ends.

        `await agent.event("worker.draining")` sees it begin, `exited` its end.
        """
        self._spoilt = True
        self._inflict("is told to drain (SIGTERM)")
        self._running.signal(signal.SIGTERM)

    def kill(self, *, jobs: bool = True) -> None:
        """SIGKILL to all its processes, as a machine that is gone; or to the worker alone.

        Args:
            jobs: its job processes too. They notice a dead worker by themselves, later.
        """
        self._spoilt = True
        self._inflict(f"is killed{' with its jobs' if jobs else ''} (SIGKILL)")
        self._running.signal(signal.SIGKILL, group=jobs)

    def _inflict(self, what: str) -> None:
        name = self._running.name or self._running.order.label
        self._processes.timeline.fault(f"the worker of {name} {what}", agent=self._running.id)

    async def exited(self, *, within: float = 5.0) -> int:
        """Wait until the worker's process has ended; returns its exit code, or minus its signal.

        Raises:
            DeadlineMissed: it still runs.
        """
        event = await self._wait("worker.exited", within, "the worker's process to end")
        return int(event.data["code"])

    async def stop(self) -> None:
        """The scenario is done with it: keep the process for the next, or end it."""
        await self._processes.give_back(self._running, keep=self._reuse and not self._spoilt)
