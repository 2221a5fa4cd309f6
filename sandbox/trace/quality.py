"""The quality of a call's RTP over time, worked out from its packets (RFC 3550)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from sandbox.timeline import Event
from sandbox.trace.packets import Packet

__all__ = ["rtp_events", "rtp_quality"]

_SLOT = 0.5  # seconds
_STATS = 10  # slots between two rows of statistics
_GAP = 0.2  # seconds without a packet that are told of


def _rtp(packets: Iterable[Packet], sent: bool) -> list[tuple[float, int, int, int]]:
    """Arrival, sequence number, timestamp and payload type of the RTP packets one way."""
    return [
        (
            p.at,
            int.from_bytes(p.data[2:4], "big"),
            int.from_bytes(p.data[4:8], "big"),
            p.data[1] & 0x7F,
        )
        for p in packets
        if p.sent is sent and not p.rtcp and len(p.data) >= 12
    ]


def rtp_quality(packets: Iterable[Packet], *, sent: bool, clock: int = 8000) -> dict[str, Any]:
    """Half a second at a time: packets, lost ones, jitter and the longest pause.

    Args:
        packets: of the call.
        sent: which direction.
        clock: of the RTP timestamps, in Hz; 8000 for G.711 and G.722.

    Returns:
        `start` (Unix seconds), `slot` (seconds), `packets`, `lost`, `jitter_ms` (interarrival
        jitter, section 6.4.1), `pause_ms`: a list each; `total`, `total_lost`.
    """
    rtp = _rtp(packets, sent)
    if not rtp:
        return {}
    start = rtp[0][0]
    slots = int((rtp[-1][0] - start) / _SLOT) + 1
    counts, lost, pause = [0] * slots, [0] * slots, [0.0] * slots
    jitters = [0.0] * slots
    jitter, before = 0.0, rtp[0]
    counts[0] = 1
    for packet in rtp[1:]:
        at, sequence, stamp, kind = packet
        slot = int((at - start) / _SLOT)
        counts[slot] += 1
        step = (sequence - before[1]) & 0xFFFF
        if 1 < step < 0x8000:
            lost[slot] += step - 1
        pause[slot] = max(pause[slot], (at - before[0]) * 1000)
        ticks = (stamp - before[2] + 0x80000000) & 0xFFFFFFFF
        moved = (ticks - 0x80000000) / clock
        # telephone-events repeat one timestamp, and a new source starts another.
        if kind == before[3] and 0 < moved < 5:
            jitter += (abs((at - before[0]) - moved) - jitter) / 16
        jitters[slot] = round(jitter * 1000, 2)
        if step < 0x8000:
            before = packet
    return {
        "start": start,
        "slot": _SLOT,
        "packets": counts,
        "lost": lost,
        "jitter_ms": jitters,
        "pause_ms": [round(one, 1) for one in pause],
        "total": len(rtp),
        "total_lost": sum(lost),
    }


def rtp_events(packets: Iterable[Packet], call: str) -> list[Event]:
    """What the packets tell of a call's RTP, each way, as events with a `direction`.

    `rtp.gap` (`seconds`) for each pause of 0.2 s, where it ended; `rtp.lost` (`packets`) for each
    half second with losses; `rtp.stats` each five seconds; `rtp.stopped` with those of the whole.
    """
    kept = list(packets)
    events = []

    def tell(name: str, at: float, **data: Any) -> None:
        events.append(Event(source="phone", name=name, at=at, call=call, data=data))

    for sent, direction in ((True, "sent"), (False, "received")):
        rtp = _rtp(kept, sent)
        if not rtp:
            continue
        for one, other in pairwise(rtp):
            if other[0] - one[0] >= _GAP:
                tell("rtp.gap", other[0], direction=direction, seconds=round(other[0] - one[0], 3))
        quality = rtp_quality(kept, sent=sent)
        slots = len(quality["packets"])
        for slot, lost in enumerate(quality["lost"]):
            if lost:
                at = min(quality["start"] + (slot + 1) * _SLOT, rtp[-1][0])
                tell("rtp.lost", at, direction=direction, packets=lost)
        for first in range(0, slots - _STATS, _STATS):
            at = quality["start"] + (first + _STATS) * _SLOT
            tell("rtp.stats", at, direction=direction, **_summary(quality, first, first + _STATS))
        tell("rtp.stopped", rtp[-1][0], direction=direction, **_summary(quality, 0, slots))
    return events


def _summary(quality: Mapping[str, Any], first: int, end: int) -> dict[str, Any]:
    jitter = [one for one in quality["jitter_ms"][first:end] if one > 0]
    return {
        "packets": sum(quality["packets"][first:end]),
        "lost": sum(quality["lost"][first:end]),
        "jitter_ms": round(sum(jitter) / len(jitter), 1) if jitter else 0.0,
        "longest_pause_ms": max(quality["pause_ms"][first:end]),
    }
