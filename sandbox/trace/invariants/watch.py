"""Gathers the facts of one test as it ends, giving what is on its way the time to arrive."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import aiohttp

from sandbox.errors import DeadlineMissed
from sandbox.stack.endpoints import Endpoints
from sandbox.stack.readiness import until
from sandbox.timeline import Timeline
from sandbox.trace.invariants import ending
from sandbox.trace.invariants.log_lines import AllowedLine, LogLine, LogTail, allowed_lines
from sandbox.trace.invariants.rule import Facts, Violation
from sandbox.trace.invariants.rules import Allowance, judge

__all__ = ["Watch"]

_ACTIVE = re.compile(r"(?m)^livekit_sip_calls_active\{([^}]*)\} (\S+)$")

#: How long the clean-up waits for calls that nobody has hung up, in seconds: those end with their
#: rooms.
_OVER_WITHIN = 0.5


class Watch:
    """The invariants of one test, from now on."""

    def __init__(
        self, endpoints: Endpoints, timeline: Timeline, calls_left: dict[str, float]
    ) -> None:
        """Begin to watch.

        Args:
            endpoints: of the stack.
            timeline: of the stack.
            calls_left: by direction, what earlier tests left of calls at this stack's SIP service
                (`Stack.calls_left`): the test that left one is told so, those after it are not.
        """
        self._endpoints = endpoints
        self._timeline = timeline
        self._mark = timeline.mark()
        self._own = endpoints.engine != "attach"
        self._logs = LogTail(endpoints.run_dir)
        self._left = calls_left

    def moved(self, endpoints: Endpoints) -> None:
        """Ask the SIP service there from now on."""
        self._endpoints = endpoints

    def _facts(self, **known: Any) -> Facts:
        return Facts(self._timeline.since(self._mark), **known)

    async def _settle(self, missing: Callable[[Facts], Any]) -> None:
        """Wait until nothing is missing any more, or for as long as it may take."""
        if not missing(self._facts()):
            return
        try:
            await self._timeline.wait(
                lambda event: not missing(self._facts()),
                within=ending.GONE_WITHIN,
                expected="the end of what the test made",
                since=self._timeline.mark(),
            )
        except DeadlineMissed:
            # The rule says it, with its evidence.
            return

    async def calls_over(self) -> None:
        """The calls have ended: wait for their participants to leave, each by itself.

        And for the SIP service to have none any more: one that is still on its way into its room
        would make the room anew, once that has been deleted.
        """
        await self._settle(lambda facts: [call for call, _ in ending.lingering(facts) if call])
        await self._gauge(within=_OVER_WITHIN)

    async def judge(
        self,
        allowed: Iterable[Allowance] = (),
        lines: Sequence[AllowedLine] = (),
    ) -> list[Violation]:
        """Everything has been taken down: the rules that are broken.

        Args:
            allowed: what the test breaks on purpose.
            lines: log lines that are allowed besides those of the package's list.
        """
        await self._settle(
            lambda facts: (
                ending.open_rooms(facts) or ending.lingering(facts) or ending.open_jobs(facts)
            )
        )
        active = await self._gauge(within=ending.GONE_WITHIN)
        for direction, count in (active or {}).items():
            self._left[direction] = self._left.get(direction, 0.0) + count
        facts = self._facts(calls_active=active, log_lines=self._log_lines(lines))
        return judge(facts, allowed)

    def _log_lines(self, more: Sequence[AllowedLine]) -> list[LogLine]:
        if not self._own:
            return []
        known = [*allowed_lines(), *more]
        service = "stand-in" if self._endpoints.is_stand_in else "livekit-sip"
        return [
            line
            for line in self._logs.lines()
            if not any(entry.covers(line, service) for entry in known)
        ]

    async def _gauge(self, *, within: float) -> dict[str, float] | None:
        """The calls at the SIP service by direction, once there are none or `within` s are over.

        Returns:
            None where that cannot be known.
        """
        url = self._endpoints.sip_metrics_url
        if not url or not self._own or not self._had_calls():
            return None
        counts: dict[str, float] = {}

        async def back() -> bool:
            async with session.get(url) as answer:
                text = await answer.text()
            counts.clear()
            for labels, value in _ACTIVE.findall(text):
                found = re.search(r'dir="([^"]*)"', labels)
                direction = found[1] if found else "?"
                counts[direction] = counts.get(direction, 0.0) + float(value)
            for direction, left in self._left.items():
                self._left[direction] = min(left, counts.get(direction, 0.0))
                counts[direction] = counts.get(direction, 0.0) - self._left[direction]
            return not any(counts.values())

        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(2)) as session:
                await until(back, within=within)
        except (aiohttp.ClientError, TimeoutError):
            # The service is down, or has no metrics: its end is told elsewhere.
            return None
        return counts

    def _had_calls(self) -> bool:
        return any(
            event.call or event.source == "wire" or event.name == "webhook.participant_joined"
            for event in self._timeline.since(self._mark)
        )
