"""RTP of a raw user agent: a tone out, what comes in told apart, telephone-events both ways."""

from __future__ import annotations

import asyncio
import secrets
import struct
import time
from collections import Counter
from dataclasses import dataclass

import numpy as np

from sandbox.audio import Samples, ToneDetector, sine

__all__ = ["CALLER_HZ", "DtmfSeen", "Media", "decode_g711", "encode_g711"]

#: The tone that the recorded user agents sent, in Hz.
CALLER_HZ = 440.0

_KEYS = "0123456789*#ABCD"
_PCMU, _PCMA, _G722 = 0, 8, 9
#: Samples of a millisecond, in the RTP clock of all codecs here.
_CLOCK = 8


def _table(alaw: bool) -> Samples:
    """The sample of each of the 256 codes (ITU-T G.711)."""
    codes = np.arange(256)
    if alaw:
        codes = codes ^ 0x55
        exponent, mantissa = (codes >> 4) & 7, codes & 15
        size = np.where(
            exponent == 0,
            (mantissa << 4) + 8,
            ((mantissa << 4) + 0x108) << np.maximum(exponent - 1, 0),
        )
        return np.where(codes & 0x80, size, -size).astype(np.int16)
    codes = codes ^ 0xFF
    exponent, mantissa = (codes >> 4) & 7, codes & 15
    size = (((mantissa << 3) + 0x84) << exponent) - 0x84
    return np.where(codes & 0x80, -size, size).astype(np.int16)


_DECODED = {_PCMU: _table(alaw=False), _PCMA: _table(alaw=True)}


def decode_g711(payload: bytes, payload_type: int) -> Samples:
    """The samples of a PCMU (0) or PCMA (8) payload."""
    return _DECODED[payload_type][np.frombuffer(payload, dtype=np.uint8)]


def encode_g711(samples: Samples, payload_type: int) -> bytes:
    """The PCMU (0) or PCMA (8) codes nearest to `samples`."""
    table = _DECODED[payload_type].astype(np.int32)
    order = np.argsort(table, kind="stable")
    ordered = table[order]
    right = np.clip(np.searchsorted(ordered, samples), 1, 255)
    nearer = np.where(samples - ordered[right - 1] < ordered[right] - samples, right - 1, right)
    return order[nearer].astype(np.uint8).tobytes()


@dataclass(slots=True)
class DtmfSeen:
    """One key that came in as telephone-events (RFC 4733)."""

    key: str
    volume: int
    duration: int
    packets: int
    ended: bool
    at: float


class Media(asyncio.DatagramProtocol):
    """One RTP port.

    Attributes:
        payload_types: how many packets came of each type.
        payload_lengths: how many audio packets came of each length.
        tones: the tones heard, in Hz, in their order.
        loud_at: when something audible came first, on the monotonic clock.
        keys: the telephone-events that came.
        pausing: whether it sends nothing for the time being, as a phone does that leaves silence
            out (RFC 3551 section 4.1).
    """

    def __init__(self, event_type: int = 101) -> None:
        self.payload_types: Counter[int] = Counter()
        self.payload_lengths: Counter[int] = Counter()
        self.tones: list[float] = []
        self.loud_at: float | None = None
        self.keys: dict[int, DtmfSeen] = {}
        self.event_type = event_type
        self._detector = ToneDetector(8000)
        self._transport: asyncio.DatagramTransport | None = None
        self._sender: asyncio.Task[None] | None = None
        self._presses: list[tuple[str, int]] = []
        self.pressed = asyncio.Event()
        self.pausing = False

    async def open(self, host: str) -> None:
        """Bind a free port of `host`."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(host, 0))

    @property
    def port(self) -> int:
        """The port it is reached at."""
        assert self._transport is not None
        return int(self._transport.get_extra_info("sockname")[1])

    # --- in --------------------------------------------------------------------------------

    def datagram_received(self, data: bytes, addr: object) -> None:
        if len(data) < 12 or data[0] >> 6 != 2:
            return
        kind = data[1] & 0x7F
        if 64 <= kind <= 95:  # RTCP
            return
        self.payload_types[kind] += 1
        payload = data[12 + 4 * (data[0] & 15) :]
        if kind in _DECODED:
            self.payload_lengths[len(payload)] += 1
            edges = self._detector.feed(decode_g711(payload, kind))
            self.tones += [edge.hz for edge in edges if edge.on]
            if self.loud_at is None and self._detector.level_dbov > -45:
                self.loud_at = time.monotonic()
        elif kind > 95 and len(payload) == 4:
            self._event(struct.unpack_from("!I", data, 4)[0], payload)

    def _event(self, stamp: int, payload: bytes) -> None:
        code, flags, duration = struct.unpack("!BBH", payload)
        seen = self.keys.setdefault(
            stamp,
            DtmfSeen(_KEYS[code] if code < 16 else "?", 0, 0, 0, False, time.monotonic()),
        )
        seen.volume = flags & 0x3F
        seen.duration = max(seen.duration, duration)
        seen.ended = seen.ended or bool(flags & 0x80)
        seen.packets += 1

    @property
    def sending(self) -> bool:
        """Whether it was told to send."""
        return self._sender is not None

    # --- out -------------------------------------------------------------------------------

    def start(self, target: tuple[str, int], payload_type: int, *, packet_ms: int = 20) -> None:
        """Send a tone to `target` (silence with G.722, which is not coded here)."""
        if self._sender is None:
            self._sender = asyncio.create_task(self._send(target, payload_type, packet_ms))

    def stop(self) -> None:
        """Send no more."""
        if self._sender is not None:
            self._sender.cancel()

    def press(self, key: str, milliseconds: int = 100) -> None:
        """Press a key, after those that are waiting; `pressed` is set behind the last."""
        self.pressed.clear()
        self._presses.append((key, milliseconds))

    async def _send(self, target: tuple[str, int], payload_type: int, packet_ms: int) -> None:
        assert self._transport is not None
        size = packet_ms * _CLOCK
        if payload_type in _DECODED:
            # Whole packets of 10 to 60 ms and whole waves of the tone.
            tone = encode_g711(sine(CALLER_HZ, 0.6, rate=8000, level_dbov=-12), payload_type)
            frames = [tone[i : i + size] for i in range(0, len(tone), size)]
        else:
            frames = [b"\xfa" * size]
        source = secrets.randbits(32)
        sequence, stamp, tick = secrets.randbits(15), secrets.randbits(30), 0
        event: tuple[int, int, int] | None = None
        free = 0  # the tick from which the next key may begin: keys have a pause between them
        paused = False
        began = time.monotonic()
        while True:
            kind, payload, packet_stamp = payload_type, frames[tick % len(frames)], stamp
            copies, marker = (0, 0) if self.pausing else (1, 0x80 if paused else 0)
            paused = self.pausing
            if event is None and self._presses and tick >= free:
                key, length = self._presses.pop(0)
                event = (_KEYS.index(key.upper()), stamp, length)
                marker = 0x80
            if event is not None:
                code, packet_stamp, length = event
                duration = stamp - packet_stamp + size
                last = duration >= length * _CLOCK
                kind, copies = self.event_type, 3 if last else 1
                payload = struct.pack("!BBH", code, 10 | (0x80 if last else 0), duration)
                if last:
                    event, free = None, tick + 4
            for _ in range(copies):
                head = struct.pack(
                    "!BBHII", 0x80, marker | kind, sequence & 0xFFFF, packet_stamp, source
                )
                self._transport.sendto(head + payload, target)
                sequence += 1
            if event is None and not self._presses:
                self.pressed.set()
            tick += 1
            stamp += size
            await asyncio.sleep(max(0.0, began + tick * packet_ms / 1000 - time.monotonic()))

    def close(self) -> None:
        """Stop sending and give the port back."""
        self.stop()
        if self._transport is not None:
            self._transport.close()
