"""The packets that the phone kept of a call's media, read back."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Packet", "read_packets"]

#: As `sandbox.phone.service.capture` writes it.
_RECORD = struct.Struct("<dB6sH")


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet on the wire.

    Attributes:
        at: when, in Unix seconds.
        sent: whether the phone sent it.
        rtcp: whether it is RTCP, and not RTP.
        address: of the other side.
        port: of the other side.
        data: the UDP payload.
    """

    at: float
    sent: bool
    rtcp: bool
    address: str
    port: int
    data: bytes


def read_packets(path: Path) -> Iterator[Packet]:
    """The packets in the file of a `media.captured` event; a record that is cut off ends it."""
    raw = path.read_bytes()
    position = 0
    while position + _RECORD.size <= len(raw):
        at, flags, peer, length = _RECORD.unpack_from(raw, position)
        position += _RECORD.size
        if position + length > len(raw):
            return
        yield Packet(
            at=at,
            sent=bool(flags & 1),
            rtcp=bool(flags & 2),
            address=".".join(map(str, peer[:4])),
            port=int.from_bytes(peer[4:], "big"),
            data=raw[position : position + length],
        )
        position += length
