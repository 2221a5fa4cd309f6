"""What a call hears, as waits on the timeline: tones and silence, there or not there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox.errors import DeadlineMissed, PhoneError
from sandbox.timeline import Event, now

if TYPE_CHECKING:
    from sandbox.phone.client import Phone

__all__ = ["Hearing", "crashed"]

Match = Callable[[Event], bool]


def crashed(crash: Event, expected: str) -> PhoneError:
    """The error for a line whose process has crashed while something was waited for."""
    return PhoneError(
        f"line {crash.data['line']} crashed (code {crash.data['code']}) "
        f"while waiting for {expected}",
        seen=crash.data["log"].splitlines(),
        cause="PJSIP aborts its process on a failed assertion",
        evidence=crash.data["log_path"],
    )


class Hearing:
    """The waits of a call; `Call` adds what it does."""

    def __init__(self, phone: Phone, name: str) -> None:
        self.phone = phone
        self.id = name
        self._mark = phone.timeline.mark()
        self._heard_until = self._mark

    def mine(self, event: Event) -> bool:
        """Whether an event is of this call."""
        return event.call == self.id and event.source == "phone"

    async def wait(
        self,
        match: Match,
        *,
        within: float,
        expected: str,
        since: int | None = None,
        unless: Match | None = None,
        about: Match | None = None,
        also_after_end: bool = False,
    ) -> Event:
        """Wait for an event of this call; its end makes the wait pointless.

        Args:
            match: tells the event.
            within: in seconds.
            expected: what is waited for, in words.
            since: a mark of the timeline; the whole call by default.
            unless: further events that end the wait.
            about: which events of the call an error shows; all by default.
            also_after_end: go on when the call has ended.

        Raises:
            DeadlineMissed: it did not come, or the call ended.
            PhoneError: the line or the phone crashed.
        """
        line = self.id.partition(".")[0]

        def gone(event: Event) -> bool:
            return event.name == "line.crashed" and event.data.get("line") == line

        def stop(event: Event) -> bool:
            if gone(event):
                return True
            if not self.mine(event):
                return False
            ended = event.name == "call.ended" and not also_after_end
            return ended or (unless is not None and unless(event))

        try:
            return await self.phone.wait(
                match,
                within=within,
                expected=f"{expected} on call {self.id}",
                since=self._mark if since is None else since,
                about=lambda e: self.mine(e) and (about is None or about(e)),
                unless=stop,
            )
        except DeadlineMissed:
            crash = self.phone.timeline.find(gone, since=self._mark)
            if crash is None:
                raise
            raise crashed(crash, expected) from None

    # --- tones -------------------------------------------------------------------------------

    def _is_tone(self, event: Event, hz: float | None, tolerance_hz: float, *, on: bool) -> bool:
        return (
            self.mine(event)
            and event.name == "media.tone"
            and bool(event.data["on"]) is on
            and (hz is None or abs(event.data["hz"] - hz) <= tolerance_hz)
        )

    def tones(self) -> tuple[float, ...]:
        """The tones that are heard now, in Hz."""
        return tuple(event.data["hz"] for event in self._tones_on())

    def _tones_on(self) -> list[Event]:
        on: dict[float, Event] = {}
        for event in self.phone.timeline.since(self._mark):
            if self.mine(event) and event.name == "media.tone":
                if event.data["on"]:
                    on[event.data["hz"]] = event
                else:
                    on.pop(event.data["hz"], None)
        return list(on.values())

    async def hears_tone(
        self,
        hz: float,
        *,
        within: float = 5.0,
        at_least: float = 0.0,
        tolerance_hz: float = 12.0,
        since: int | None = None,
    ) -> Event:
        """Wait until a tone of `hz` is heard.

        A tone that is on already counts, and one that came after the last such wait of this call.

        Args:
            hz: its frequency, in Hz.
            within: in seconds.
            at_least: how long it must last without a break, in seconds.
            tolerance_hz: how far off it may be, in Hz.
            since: a mark of the timeline, to look further back.

        Raises:
            DeadlineMissed: it was not heard; the error shows what was.
        """
        deadline = now() + within
        begin = self._heard_until if since is None else since
        seen: set[int] = set()
        while True:

            def match(event: Event) -> bool:
                return id(event) not in seen and self._is_tone(event, hz, tolerance_hz, on=True)

            lasting = [e for e in self._tones_on() if self._is_tone(e, hz, tolerance_hz, on=True)]
            event = (
                lasting[-1]
                if lasting
                else await self.wait(
                    match,
                    within=max(0.0, deadline - now()),
                    expected=f"to hear {hz:g} Hz" + (f" for {at_least:g} s" if at_least else ""),
                    since=begin,
                    about=lambda e: e.name.startswith(("media.", "call.")),
                )
            )
            seen.add(id(event))
            if at_least <= 0 or await self._lasts(event, hz, tolerance_hz, at_least):
                self._heard_until = self.phone.timeline.mark()
                return event

    async def _lasts(self, on: Event, hz: float, tolerance_hz: float, at_least: float) -> bool:
        position = next(i for i, e in enumerate(self.phone.timeline.since(self._mark)) if e is on)

        def off(event: Event) -> bool:
            return self._is_tone(event, hz, tolerance_hz, on=False)

        began = on.at - on.data.get("lasted", 0.0)
        try:
            end = await self.wait(
                off,
                within=max(0.0, began + at_least - now()),
                expected="a tone to end",
                since=self._mark + position,
                also_after_end=True,
            )
        except DeadlineMissed:
            return True
        return bool(end.at - began >= at_least)

    async def hears_no_tone(
        self,
        hz: float | None = None,
        *,
        for_: float = 1.0,
        within: float = 0.5,
        tolerance_hz: float = 12.0,
    ) -> None:
        """Wait until a tone has been absent for a while.

        Args:
            hz: its frequency, in Hz; no tone at all by default.
            for_: how long it must be absent, in seconds.
            within: how long one that is on now may last still, in seconds.
            tolerance_hz: how far off it may be, in Hz.

        Raises:
            DeadlineMissed: it was heard.
        """
        what = "no tone" if hz is None else f"no {hz:g} Hz"
        for event in self._tones_on():
            if self._is_tone(event, hz, tolerance_hz, on=True):
                await self.wait(
                    lambda e: self._is_tone(e, hz, tolerance_hz, on=False),
                    within=within,
                    expected=f"to hear {what}",
                    since=self.phone.timeline.mark(),
                    about=lambda e: e.name.startswith("media."),
                )
        mark = self.phone.timeline.mark()
        heard = await self._within(
            lambda e: self._is_tone(e, hz, tolerance_hz, on=True), for_, since=mark
        )
        if heard is not None:
            raise DeadlineMissed(
                expected=f"to hear {what} for {for_:g} s on call {self.id}",
                within=for_,
                ended_by=str(heard),
            )
        self._heard_until = self.phone.timeline.mark()

    async def hears_silence(self, *, for_: float = 0.5, within: float = 5.0) -> None:
        """Wait until nothing above -60 dBov has been heard for a while.

        Args:
            for_: how long, in seconds; 0.2 at least is always asked for.
            within: until it must have begun, in seconds.

        Raises:
            DeadlineMissed: it did not become quiet, or not for that long.
        """
        deadline = now() + within
        while True:
            event = self._last_silence()
            if event is None or not event.data["on"]:
                event = await self.wait(
                    lambda e: self.mine(e) and e.name == "media.silence" and bool(e.data["on"]),
                    within=max(0.0, deadline - now()),
                    expected=f"{for_:g} s of silence",
                    since=self.phone.timeline.mark(),
                    about=lambda e: e.name.startswith("media."),
                )
            mark = self.phone.timeline.mark()
            left = max(0.0, event.at - 0.2 + for_ - now())
            broken = await self._within(
                lambda e: self.mine(e) and e.name == "media.silence" and not e.data["on"],
                left,
                since=mark,
            )
            if broken is None:
                self._heard_until = self.phone.timeline.mark()
                return

    async def hears_sound(self, *, within: float = 5.0) -> Event:
        """Wait for a sound above -60 dBov, of more than a click of 40 ms; one that lasts counts.

        Args:
            within: until it must have begun, in seconds.

        Returns:
            The event `media.silence` that says that it is no longer silent.

        Raises:
            DeadlineMissed: it stayed silent.
        """
        last = self._last_silence()
        if last is not None and not last.data["on"]:
            return last
        return await self.wait(
            lambda e: self.mine(e) and e.name == "media.silence" and not e.data["on"],
            within=within,
            expected="a sound",
            since=self.phone.timeline.mark(),
            about=lambda e: e.name.startswith("media."),
        )

    def _last_silence(self) -> Event | None:
        events = [
            e
            for e in self.phone.timeline.since(self._mark)
            if self.mine(e) and e.name == "media.silence"
        ]
        return events[-1] if events else None

    async def _within(self, match: Match, seconds: float, *, since: int) -> Event | None:
        """The first event that matches in the next `seconds`, or None."""
        try:
            return await self.wait(
                match, within=seconds, expected="", since=since, also_after_end=True
            )
        except DeadlineMissed:
            return None
