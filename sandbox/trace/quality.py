"""The quality of a call's RTP over time, worked out from its packets (RFC 3550)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from sandbox.timeline import Event
from sandbox.trace.packets import Packet

__all__ = ["gap_events", "rtp_quality"]

_SLOT = 0.5  # seconds
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


def gap_events(packets: Iterable[Packet], call: str) -> list[Event]:
    """An `rtp.gap` event (`direction`, `seconds`) for each pause of 0.2 s, `rtp.stopped` for ends.

    A pause is told of where it ended.
    """
    kept = list(packets)
    events = []
    for sent, direction in ((True, "sent"), (False, "received")):
        rtp = _rtp(kept, sent)
        for one, other in pairwise(rtp):
            if other[0] - one[0] >= _GAP:
                events.append(
                    Event(
                        source="phone", name="rtp.gap", at=other[0], call=call,
                        data={"direction": direction, "seconds": round(other[0] - one[0], 3)},
                    )
                )  # fmt: skip
        if rtp:
            events.append(
                Event(
                    source="phone", name="rtp.stopped", at=rtp[-1][0], call=call,
                    data={"direction": direction, "packets": len(rtp)},
                )
            )  # fmt: skip
    return events
