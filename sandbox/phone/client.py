"""The phone for a test: connecting to it, lines, and dialling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from sandbox.phone import protocol
from sandbox.phone.call import Call
from sandbox.phone.line import Credentials, Line
from sandbox.phone.link import Link
from sandbox.timeline import Event, Timeline

__all__ = ["Credentials", "Line", "Phone"]

CODECS = ("PCMU", "PCMA", "G722")


class Phone:
    """A connection to the phone service; see `connect`.

    Attributes:
        timeline: where its events go, with source `phone`.
        link: the connection underneath.
        capture: whether lines made from now on keep the media of their calls for a trace.
    """

    def __init__(self, link: Link, timeline: Timeline) -> None:
        self.link = link
        self.timeline = timeline
        self._lines: dict[str, Line] = {}
        self._calls: dict[str, Call] = {}
        self._next_number = 1
        self.capture = False

    @classmethod
    async def connect(
        cls,
        url: str,
        token: str,
        timeline: Timeline,
        *,
        log_path: str | Path | None = None,
    ) -> Phone:
        """Connect to a running phone service.

        Args:
            url: its HTTP address.
            token: its bearer token.
            timeline: where its events go.
            log_path: its log, named in errors.

        Raises:
            PhoneError: it does not answer, or the token is wrong.
        """
        path = Path(log_path) if log_path is not None else None
        phone = cls(Link(url, token, log_path=path), timeline)
        phone.link.on_event = phone._event
        await phone.link.open()
        return phone

    async def close(self) -> None:
        """Disconnect. The service goes on; its lines are kept."""
        await self.link.close()

    async def __aenter__(self) -> Phone:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def closed(self) -> bool:
        """Whether the service is gone."""
        return self.link.lost

    # --- events ------------------------------------------------------------------------------

    def _event(self, event: Event) -> None:
        if event.call:
            call = self.call(event.call)
            if event.name == "media.audio":
                # Fifty of these come in three seconds: they are no news for the timeline.
                call.hear(event)
                return
            call.learn(event)
            if event.name == "call.incoming" and call.line is not None:
                call.line.arrived(call)
        self.timeline.add(event)

    def call(self, name: str) -> Call:
        """The call with the phone's id `name`."""
        call = self._calls.get(name)
        if call is None:
            line = self._lines.get(name.partition(".")[0])
            call = self._calls[name] = Call(self, line, name)
        return call

    async def wait(
        self,
        match: Callable[[Event], bool],
        *,
        within: float,
        expected: str,
        since: int = 0,
        about: Callable[[Event], bool] | None = None,
        unless: Callable[[Event], bool] | None = None,
    ) -> Event:
        """As `Timeline.wait`; a crash of the service ends it at once.

        Raises:
            DeadlineMissed: what was waited for did not come.
            PhoneError: the service has crashed.
        """

        def stop(event: Event) -> bool:
            return event.name == "phone.crashed" or (unless is not None and unless(event))

        if self.link.lost:
            raise self.link.crashed()
        try:
            return await self.timeline.wait(
                match, within=within, expected=expected, since=since, about=about, unless=stop
            )
        except Exception:
            if self.link.lost:
                raise self.link.crashed() from None
            raise

    # --- lines and calls ---------------------------------------------------------------------

    async def line(
        self,
        number: str | None = None,
        *,
        codecs: Sequence[str] = CODECS,
        keep_udp: bool = True,
        srtp: protocol.Srtp = "off",
    ) -> Line:
        """A new line, with an address that no line of this run had before.

        Args:
            number: the user part of its URI; a made-up one by default.
            codecs: what it offers and accepts, in order of preference.
            keep_udp: whether a request over 1300 bytes stays on UDP, as carriers' SBCs do;
                False moves it to TCP (RFC 3261 section 18.1.1).
            srtp: whether media is encrypted, with keys in the SDP (RFC 4568).

        Raises:
            PhoneError: the phone refused, or is gone.
        """
        if number is None:
            number = f"+1555010{self._next_number:04d}"
            self._next_number += 1
        answer = await self.link.ask(
            "POST",
            "/lines",
            protocol.OpenLine(
                number=number,
                codecs=list(codecs),
                keep_udp=keep_udp,
                srtp=srtp,
                capture=self.capture,
            ),
        )
        line = Line(self, answer["line"], number, answer["address"])
        self._lines[line.id] = line
        return line

    def forget(self, line: Line) -> None:
        """A line was given back."""
        self._lines.pop(line.id, None)

    async def dial(self, uri: str, *, caller: str | None = None, **options: Any) -> Call:
        """Call `uri` from a line of its own; see `Line.dial` for the options.

        Args:
            uri: where the INVITE goes.
            caller: the caller's number, which is the line's.
            options: as for `Line.dial`; `keep_udp` and `srtp` as for `line`.

        Raises:
            PhoneError: the phone refused, or is gone.
        """
        of_line = {k: options.pop(k) for k in ("keep_udp", "srtp") if k in options}
        line = await self.line(caller, **of_line)
        return await line.dial(uri, **options)

    async def reset(self) -> None:
        """End all calls and give back all lines."""
        if self.link.lost:
            raise self.link.crashed()
        await self.link.ask("POST", "/reset")
        self._lines.clear()

    async def leaks(self) -> Sequence[str]:
        """The ids of the calls that are still up."""
        answer = await self.link.ask("GET", "/leaks")
        return tuple(answer["calls"])
