"""What a call's trace needs of its media: the packets and both directions' audio, kept in memory.

Nothing is written before the call ends, and then each file at once, so that a call whose trace
nobody wants costs next to nothing.
"""

from __future__ import annotations

import struct
import time
import wave
from pathlib import Path
from typing import Any

import numpy as np

from sandbox.audio import resample

__all__ = ["Capture"]

#: At, sent (1) and RTCP (2), the other side's address and port, the length; the packet follows.
_RECORD = struct.Struct("<dB6sH")

_MOST_BYTES = 64 * 1024 * 1024
_GAP = 0.3  # seconds without a frame that are silence


class Capture:
    """The packets and the audio of one call; stops growing at 64 MB."""

    def __init__(self) -> None:
        self._packets = bytearray()
        self._heard = bytearray()
        self._played = bytearray()
        self._rate = 0
        self._audio_at = 0.0
        self._full = False

    def packet(self, sent: bool, rtcp: bool, peer: bytes, data: bytes) -> None:
        """Keep a packet; `peer` is the other side's address and port, six bytes."""
        if len(self._packets) < _MOST_BYTES:
            self._packets += _RECORD.pack(time.time(), sent | rtcp << 1, peer, len(data)) + data
        else:
            self._full = True

    def frame(self, heard: bytes, played: bytes, rate: int) -> None:
        """Keep a frame of each direction; where frames were missing there is silence."""
        if not self._rate:
            self._rate, self._audio_at = rate, time.time()
        if len(self._heard) > _MOST_BYTES // 4:
            self._full = True
            return
        if rate != self._rate:
            heard, played = (
                resample(np.frombuffer(one, dtype=np.int16), rate, self._rate).tobytes()
                for one in (heard, played)
            )
        behind = time.time() - self._audio_at - len(self._heard) / 2 / self._rate
        if behind > _GAP:
            silence = bytes(int(behind * self._rate) * 2)
            self._heard += silence
            self._played += silence
        self._heard += heard
        self._played += played

    def write(self, stem: Path) -> dict[str, Any]:
        """Write the files beside `stem`; what a `media.captured` event says of them."""
        told: dict[str, Any] = {"full": self._full}
        if self._packets:
            path = stem.with_name(f"{stem.name}.rtp")
            path.write_bytes(self._packets)
            told["packets"] = str(path)
        if self._rate:
            told["audio_at"] = self._audio_at
            for name, data in (("received", self._heard), ("sent", self._played)):
                path = stem.with_name(f"{stem.name}.{name}.wav")
                with wave.open(str(path), "wb") as file:
                    file.setnchannels(1)
                    file.setsampwidth(2)
                    file.setframerate(self._rate)
                    file.writeframes(data)
                told[name] = str(path)
        return told
