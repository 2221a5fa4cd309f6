"""DTMF of a call: digits sent one after the other, and digits received once each."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sandbox.phone import protocol
from sandbox.phone.service.worker import Loop

__all__ = ["DIGITS", "DtmfReceiver", "DtmfSender"]

#: RFC 4733 section 3.2.
DIGITS = "0123456789*#ABCD"

_DURATION = re.compile(r"^Duration\s*=\s*(\d+)", re.IGNORECASE | re.MULTILINE)
_END = 2  # PJMEDIA_STREAM_DTMF_IS_END


class DtmfReceiver:
    """Tells each digit once, when its end is known."""

    def __init__(self, tell: Callable[..., None]) -> None:
        self._tell = tell
        self._open: tuple[str, int, int] | None = None
        self._last: tuple[str, int] | None = None
        self._relay_ms = 0

    def event(self, digit: str, timestamp: int, duration: int, flags: int) -> None:
        """A telephone-event packet: `timestamp` names the event, `duration` is so far, in ms."""
        key = (digit, timestamp)
        if key == self._last:
            return  # the end of an event is sent three times
        if self._open is not None and self._open[:2] != key:
            self._close(*self._open)  # its end was lost
        self._open = (digit, timestamp, duration)
        if flags & _END:
            self._close(digit, timestamp, duration)

    def _close(self, digit: str, timestamp: int, duration: int) -> None:
        self._open = None
        self._last = (digit, timestamp)
        self._tell("dtmf.received", digit=digit.upper(), duration_ms=duration, method="rfc4733")

    def relay(self, body: str) -> None:
        """The body of a SIP INFO (application/dtmf-relay); the binding drops its duration."""
        found = _DURATION.search(body)
        self._relay_ms = int(found[1]) if found else 0

    def info(self, digit: str) -> None:
        """PJSIP found a digit in that INFO."""
        self._tell("dtmf.received", digit=digit.upper(), duration_ms=self._relay_ms, method="info")


class DtmfSender:
    """Sends digits with a gap between them, in the order they were asked for."""

    def __init__(self, loop: Loop, send: Callable[[str, protocol.SendDtmf], None]) -> None:
        self._loop = loop
        self._send = send
        self._queue: list[tuple[str, protocol.SendDtmf]] = []
        self._busy = False

    def send(self, request: protocol.SendDtmf) -> float:
        """Queue the digits of a request; returns how long they take, in seconds.

        Raises:
            protocol.BadRequest: a character is no digit.
        """
        wrong = [d for d in request.digits if d.upper() not in DIGITS]
        if wrong:
            raise protocol.BadRequest(f"{wrong[0]!r} is no DTMF digit; there are {DIGITS}")
        self._queue.extend((digit, request) for digit in request.digits)
        if not self._busy:
            self._next()
        return sum((r.duration_ms + r.gap_ms) / 1000 for _, r in self._queue)

    def _next(self) -> None:
        self._busy = bool(self._queue)
        if not self._queue:
            return
        digit, request = self._queue.pop(0)
        self._send(digit, request)
        self._loop.call_later((request.duration_ms + request.gap_ms) / 1000, self._next)

    def pending(self) -> Any:
        """The digits that are still to be sent."""
        return "".join(digit for digit, _ in self._queue)
