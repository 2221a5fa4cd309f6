"""The audio of a call for whoever wants to hear it: kept for a minute, and told when asked for."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Callable

__all__ = ["Tap"]

#: How much audio goes in one event, in seconds.
_CHUNK = 0.06
#: How many chunks are kept while nobody listens: a minute.
_KEPT = 1000
#: How many kept chunks are told at a time, so that the line's audio clock is not held up.
_AT_ONCE = 8


class Tap:
    """Both directions of a call, frame by frame."""

    def __init__(self, tell: Callable[..., None]) -> None:
        """Make a tap.

        Args:
            tell: takes the name of an event and its data.
        """
        self._tell = tell
        self._listening = False
        self._waiting: deque[tuple[float, int, bytes, bytes]] = deque(maxlen=_KEPT)
        self._at = 0.0
        self._rate = 0
        self._seconds = 0.0
        self._heard = bytearray()
        self._sent = bytearray()

    def listen(self, on: bool) -> None:
        """Begin to tell, what was kept first; or stop, and keep again."""
        self._listening = on

    def add(self, at: float, rate: int, seconds: float, heard: bytes, sent: bytes) -> None:
        """Take a frame of each direction.

        Args:
            at: the time, in Unix seconds.
            rate: samples a second.
            seconds: the length of the frame.
            heard: what was received.
            sent: what was played.
        """
        if rate != self._rate:
            self._close_chunk()
            self._rate = rate
        if not self._heard:
            self._at = at
        self._heard += heard
        self._sent += sent
        self._seconds += seconds
        if self._seconds >= _CHUNK:
            self._close_chunk()
        if self._listening:
            self._flush(_AT_ONCE)

    def _close_chunk(self) -> None:
        if self._heard:
            self._waiting.append((self._at, self._rate, bytes(self._heard), bytes(self._sent)))
            self._heard.clear()
            self._sent.clear()
        self._seconds = 0.0

    def _flush(self, most: int) -> None:
        for _ in range(min(most, len(self._waiting))):
            at, rate, heard, sent = self._waiting.popleft()
            self._tell(
                "media.audio",
                at=at,
                rate=rate,
                heard=base64.b64encode(heard).decode(),
                sent=base64.b64encode(sent).decode(),
            )

    def close(self) -> None:
        """The call is over: tell the rest."""
        self._close_chunk()
        if self._listening:
            self._flush(len(self._waiting))
