"""One line: a process with one PJSIP endpoint, driven by commands, telling events."""

from __future__ import annotations

import heapq
import itertools
import json
import os
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sandbox.phone.protocol import BadRequest
from sandbox.phone.service import pjsua_c

__all__ = ["Loop", "Refused", "Wire"]

#: How long the loop sleeps when nothing is due, in milliseconds; sockets wake it at once.
_IDLE_MS = 5000

#: The audio clock makes up for a delay up to this long, in seconds; PJMEDIA's own does too.
_CATCH_UP = 0.5

#: How early a timer may fire, in seconds: sockets are waited for in whole milliseconds.
_EARLY = 0.0006


class Refused(Exception):
    """Raised when a command cannot be done in the state that the line or call is in.

    Attributes:
        status: the HTTP status for it.
    """

    def __init__(self, what: str, status: int = 409) -> None:
        self.status = status
        super().__init__(what)


class Loop:
    """The owner thread's loop: PJSIP's sockets and timers, the audio clocks, our own timers."""

    def __init__(self) -> None:
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._later: list[Callable[[], None]] = []
        self._running = True
        #: Called after each round of events.
        self.after: Callable[[], None] = lambda: None

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        """Call `function` in `seconds`, from the loop."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._count), function))

    def call_soon(self, function: Callable[[], None]) -> None:
        """Call `function` once PJSIP is not on the stack."""
        self._later.append(function)

    def every(self, seconds: float, function: Callable[[], None]) -> Callable[[], None]:
        """Call `function` every `seconds`, first now; returns what ends it.

        A delay is made up for, up to half a second, as PJMEDIA's own clock does.
        """
        due = time.monotonic()
        going = True

        def tick() -> None:
            nonlocal due
            if not going:
                return
            now = time.monotonic()
            if now - due > _CATCH_UP:
                due = now
            due += seconds
            heapq.heappush(self._timers, (due, next(self._count), tick))
            function()

        def stop() -> None:
            nonlocal going
            going = False

        heapq.heappush(self._timers, (due, next(self._count), tick))
        return stop

    def stop(self) -> None:
        """End `run` after this round."""
        self._running = False

    def run(self) -> None:
        """Run until `stop`."""
        while self._running:
            now = time.monotonic()
            timeout = _IDLE_MS
            if self._later:
                timeout = 0
            elif self._timers:
                # Rounded to the nearest: a tick is half a millisecond early or late.
                timeout = max(0, min(_IDLE_MS, round((self._timers[0][0] - now) * 1000)))
            pjsua_c.handle_events(timeout)
            self._run_later()
            now = time.monotonic() + _EARLY
            while self._timers and self._timers[0][0] <= now:
                _guarded(heapq.heappop(self._timers)[2])
            self._run_later()
            self.after()

    def _run_later(self) -> None:
        while self._later:
            pending, self._later = self._later, []
            for function in pending:
                _guarded(function)


def _guarded(function: Callable[[], None]) -> None:
    try:
        function()
    except Exception:
        traceback.print_exc()


class Wire:
    """The worker's end of its two channels: commands in on a socket, answers and events out."""

    def __init__(
        self, commands: int, events: int, handle: Callable[[str, Mapping[str, Any]], Any]
    ) -> None:
        """Read commands from socket `commands`, write to pipe `events`.

        Args:
            commands: a stream socket with a JSON object a line: `id`, `op`, `body`.
            events: a pipe that gets a JSON object a line.
            handle: does a command; what it returns is the answer.
        """
        self._handle = handle
        self._events = events
        self._buffer = b""
        #: Called when the other end is gone.
        self.closed: Callable[[], None] = lambda: os._exit(0)
        self._socket = pjsua_c.CommandSocket(commands, self._received)

    def emit(self, name: str, *, at: float | None = None, call: str = "", **data: Any) -> None:
        """Tell an event."""
        self._write(
            {"event": name, "at": time.time() if at is None else at, "call": call, "data": data}
        )

    def _write(self, message: Mapping[str, Any]) -> None:
        data = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        while data:
            data = data[os.write(self._events, data) :]

    def _received(self, data: bytes) -> None:
        if not data:
            self.closed()
            return
        self._buffer += data
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            self._command(line)

    def _command(self, line: bytes) -> None:
        message = json.loads(line)
        number = message["id"]
        try:
            self._write({"id": number, "ok": self._handle(message["op"], message["body"])})
        except BadRequest as error:
            self._write({"id": number, "status": 400, "error": str(error)})
        except Refused as error:
            self._write({"id": number, "status": error.status, "error": str(error)})
        except Exception as error:
            traceback.print_exc()
            self._write({"id": number, "status": 500, "error": f"{type(error).__name__}: {error}"})


def main(commands: int, events: int, *, host: str, log: Path, directory: Path) -> None:
    """Be a worker until told to quit, or until the switchboard is gone."""
    from sandbox.phone.service.line import Line

    line = Line(host=host, log=log, directory=directory)
    line.run(commands, events)
