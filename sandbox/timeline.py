"""One clock and one list of everything that happened in a run, and waits on it.

Every part of the sandbox appends [`Event`][sandbox.timeline.Event]s: the phone its SIP messages
and media, the webhook receiver what livekit-server posted, the room observer attribute changes,
the agent worker its jobs. Every wait of a scenario is a wait on this list, so that a missed
deadline can say what did arrive.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sandbox.errors import DeadlineMissed

__all__ = ["Event", "Fault", "Match", "Timeline", "now"]

Match = Callable[["Event"], bool]


def now() -> float:
    """The run's clock: Unix time in seconds. All processes of a run share the machine's clock."""
    return time.time()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened.

    Attributes:
        source: who saw it: `phone`, `webhook`, `room`, `agent`, `api`, `test`, `stack`, `fault`.
        name: what it was, dotted: `sip.sent`, `call.answered`, `webhook.participant_joined`.
        at: when, in Unix seconds (see `now`).
        call: the phone's id of the call it belongs to, or `""`.
        data: the particulars, JSON-like.
    """

    source: str
    name: str
    at: float = field(default_factory=now)
    call: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        text = " ".join(f"{k}={_short(v)}" for k, v in self.data.items() if v not in ("", None))
        return f"{self.source:<8} {self.name}{' ' + text if text else ''}"


def _short(value: Any, limit: int = 100) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


class Fault:
    """Something that was broken on purpose; as a context manager it tells when it is whole again.

    Attributes:
        event: its `fault.begins`.
    """

    def __init__(self, timeline: Timeline, text: str, facts: Mapping[str, Any]) -> None:
        self._timeline = timeline
        self.event = timeline.record("fault", "fault.begins", text=text, **facts)

    def __enter__(self) -> Fault:
        return self

    def __exit__(self, *_: object) -> None:
        self._timeline.record("fault", "fault.ends", **self.event.data)


class Timeline:
    """The events of a run in the order they were learned of, and waits on them.

    Not thread-safe: events from other threads go through `loop.call_soon_threadsafe`.
    """

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._waiters: list[tuple[Match, asyncio.Future[Event]]] = []
        self._subscribers: list[Callable[[Event], None]] = []
        #: Where the logs of this run are; named in every missed deadline.
        self.evidence: str = ""

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Event]:
        return iter(tuple(self._events))

    def mark(self) -> int:
        """A position: pass it as `since` to look only at what comes after."""
        return len(self._events)

    def since(self, mark: int) -> Sequence[Event]:
        """The events learned of after `mark`."""
        return tuple(self._events[mark:])

    def add(self, event: Event) -> None:
        """Append an event and wake whoever waits for it."""
        self._events.append(event)
        for subscriber in tuple(self._subscribers):
            subscriber(event)
        for waiter in tuple(self._waiters):
            match, future = waiter
            if not future.done() and match(event):
                future.set_result(event)
                self._waiters.remove(waiter)

    def record(self, source: str, name: str, /, *, call: str = "", **data: Any) -> Event:
        """Append an event that happens now; returns it."""
        event = Event(source=source, name=name, call=call, data=data)
        self.add(event)
        return event

    def fault(self, text: str, /, **facts: Any) -> Fault:
        """Say that something is broken on purpose, from now on: a killed process, lost packets.

        Args:
            text: what was done, in words.
            facts: the particulars.
        """
        return Fault(self, text, facts)

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call `callback` with every later event; returns the function that ends it."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    def find(self, match: Match, *, since: int = 0) -> Event | None:
        """The first event after `since` that matches, or None."""
        return next((e for e in self._events[since:] if match(e)), None)

    def find_all(self, match: Match, *, since: int = 0) -> Sequence[Event]:
        """All events after `since` that match."""
        return tuple(e for e in self._events[since:] if match(e))

    async def wait(
        self,
        match: Match,
        *,
        within: float,
        expected: str,
        since: int = 0,
        about: Match | None = None,
        unless: Match | None = None,
    ) -> Event:
        """The first event after `since` that matches, waiting for it if it is not there yet.

        Args:
            match: tells the event that is waited for.
            within: the deadline, in seconds from now.
            expected: what is waited for, in words, for the error.
            since: a `mark()`; 0 looks at everything so far.
            about: tells which events to show when the deadline is missed (default: all).
            unless: an event that makes the wait pointless (the call has ended, say): the wait
                ends at once with an error that shows it.

        Raises:
            DeadlineMissed: nothing matched in time, or `unless` matched; carries the events seen.
        """
        stop = unless or (lambda event: False)

        def either(event: Event) -> bool:
            return match(event) or stop(event)

        found = self.find(either, since=since)
        started = now()
        if found is None:
            future: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
            waiter = (either, future)
            self._waiters.append(waiter)
            try:
                found = await asyncio.wait_for(future, within)
            except TimeoutError:
                found = None
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        if found is not None and match(found):
            return found
        shown = [e for e in self._events[since:] if about is None or about(e)]
        raise DeadlineMissed(
            expected=expected,
            within=within,
            ended_by=str(found) if found is not None else "",
            seen=tuple(f"{e.at - started:+8.3f} s  {e}" for e in shown[-12:]),
            evidence=self.evidence,
        )
