"""A call's SIP, RTP and RTCP as pcapng, from what the phone sent and received.

No capture of the network, so no root: the phone knows every SIP message and every packet. The IP,
UDP and TCP headers are made here. Wireshark finds the RTP by the SDP, as in any capture, so its
SIP flow and its RTP player work.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sandbox.timeline import Event
from sandbox.trace.packets import Packet

__all__ = ["Frame", "call_frames", "pcapng", "read_frames"]

_LINKTYPE_RAW = 101
_UDP, _TCP = 17, 6
_MOST = 65_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A payload on its way.

    Attributes:
        at: Unix seconds.
        source: address and port.
        target: address and port.
        data: the payload.
        tcp: whether it went over TCP, and not UDP.
    """

    at: float
    source: tuple[str, int]
    target: tuple[str, int]
    data: bytes
    tcp: bool = False


def _address(text: str) -> tuple[str, int] | None:
    host, _, port = text.rpartition(":")
    try:
        ipaddress.IPv4Address(host)
        return host, int(port)
    except ValueError:
        return None


def call_frames(events: Iterable[Event], call: str, packets: Iterable[Packet] = ()) -> list[Frame]:
    """The frames of one call, in order; a message without addresses is left out.

    Args:
        events: with the `sip.sent` and `sip.received` of the call.
        call: the phone's id of it.
        packets: of its media.
    """
    frames = []
    local_rtp: tuple[str, int] | None = None
    for event in events:
        if event.call != call:
            continue
        if event.name in ("media.started", "call.answered") and event.data.get("local"):
            local_rtp = local_rtp or _address(str(event.data["local"]))
        if event.name not in ("sip.sent", "sip.received"):
            continue
        local = _address(str(event.data.get("local", "")))
        peer = _address(str(event.data.get("peer", "")))
        if local is None or peer is None:
            continue
        sent = event.name == "sip.sent"
        frames.append(
            Frame(
                at=event.at,
                source=local if sent else peer,
                target=peer if sent else local,
                data=str(event.data.get("raw", "")).encode(errors="surrogateescape"),
                tcp=str(event.data.get("transport", "")).lower() != "udp",
            )
        )
    for packet in packets:
        if local_rtp is None:
            break
        mine = (local_rtp[0], local_rtp[1] + packet.rtcp)
        theirs = (packet.address, packet.port)
        frames.append(
            Frame(
                at=packet.at,
                source=mine if packet.sent else theirs,
                target=theirs if packet.sent else mine,
                data=packet.data,
            )
        )
    return sorted(frames, key=lambda frame: frame.at)


def _checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _ip(frame: Frame, protocol: int, payload: bytes) -> bytes:
    source = ipaddress.IPv4Address(frame.source[0]).packed
    target = ipaddress.IPv4Address(frame.target[0]).packed
    pseudo = source + target + struct.pack(">BBH", 0, protocol, len(payload))
    offset = 6 if protocol == _UDP else 16
    summed = _checksum(pseudo + payload) or 0xFFFF
    payload = payload[:offset] + struct.pack(">H", summed) + payload[offset + 2 :]
    header = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0x4000, 64, protocol, 0, source, target
    )
    return header[:10] + struct.pack(">H", _checksum(header)) + header[12:] + payload


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + b"\0" * (-len(value) % 4)


def _block(kind: int, body: bytes) -> bytes:
    body += b"\0" * (-len(body) % 4)
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


def pcapng(frames: Sequence[Frame], *, comment: str = "") -> bytes:
    """The frames as a pcapng file (draft-ietf-opsawg-pcapng), with times to the microsecond.

    Args:
        frames: in the order of their times.
        comment: of the whole file.
    """
    options = _option(4, b"livekit-sip-sandbox")
    if comment:
        options = _option(1, comment.encode()) + options
    header = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + options + _option(0, b"")
    name = _option(2, b"the phone") + _option(0, b"")
    out = [
        _block(0x0A0D0D0A, header),
        _block(1, struct.pack("<HHI", _LINKTYPE_RAW, 0, 0) + name),
    ]
    sequence: dict[tuple[tuple[str, int], tuple[str, int]], int] = {}
    for frame in frames:
        data = frame.data[:_MOST]
        ports = struct.pack(">HH", frame.source[1], frame.target[1])
        if frame.tcp:
            way = (frame.source, frame.target)
            mine, theirs = sequence.get(way, 1), sequence.get((way[1], way[0]), 1)
            sequence[way] = (mine + len(data)) & 0xFFFFFFFF
            segment = ports + struct.pack(">IIBBHHH", mine, theirs, 0x50, 0x18, 65535, 0, 0)
            packet = _ip(frame, _TCP, segment + data)
        else:
            packet = _ip(frame, _UDP, ports + struct.pack(">HH", 8 + len(data), 0) + data)
        stamp = round(frame.at * 1e6)
        body = struct.pack("<IIIII", 0, stamp >> 32, stamp & 0xFFFFFFFF, len(packet), len(packet))
        out.append(_block(6, body + packet))
    return b"".join(out)


def read_frames(raw: bytes) -> Iterator[Frame]:
    """The frames of a file that `pcapng` made."""
    position = 0
    while position + 12 <= len(raw):
        kind, length = struct.unpack_from("<II", raw, position)
        if kind == 6:
            high, low, size = struct.unpack_from("<III", raw, position + 12)
            packet = raw[position + 28 : position + 28 + size]
            tcp = packet[9] == _TCP
            source, target = struct.unpack_from(">HH", packet, 20)
            yield Frame(
                at=(high << 32 | low) / 1e6,
                source=(str(ipaddress.IPv4Address(packet[12:16])), source),
                target=(str(ipaddress.IPv4Address(packet[16:20])), target),
                data=packet[40 if tcp else 28 :],
                tcp=tcp,
            )
        position += length
