"""What a call comes to: its end, its statistics, its recordings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Ended", "Recording", "RtpStats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RtpStats:
    """What the phone counted of a call's RTP (RFC 3550).

    Attributes:
        codec: its name in SDP.
        clock_rate: of its RTP timestamps, in Hz.
        packets_sent: RTP packets sent.
        packets_received: RTP packets received.
        bytes_sent: their payload.
        bytes_received: their payload.
        lost: packets that were to come and did not.
        reordered: packets that came out of order.
        duplicated: packets that came twice.
        discarded: packets that came too late to be played.
        jitter_ms: the mean interarrival jitter, in milliseconds.
        rtt_ms: the mean round trip by RTCP, in milliseconds; 0 until a report has come.
        received_from: where the last packet came from, `address:port`; `""` if none did.
        first_sent_at: when the first packet was sent, in Unix seconds; 0 if none was.
        first_received_at: when the first packet came, in Unix seconds; 0 if none did.
    """

    codec: str = ""
    clock_rate: int = 0
    packets_sent: int = 0
    packets_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    lost: int = 0
    reordered: int = 0
    duplicated: int = 0
    discarded: int = 0
    jitter_ms: float = 0.0
    rtt_ms: float = 0.0
    received_from: str = ""
    first_sent_at: float = 0.0
    first_received_at: float = 0.0

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> RtpStats:
        """The statistics in an event or an answer."""
        names = {f.name for f in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in names})


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended.

    Attributes:
        by: `local` (the phone) or `remote`.
        status: the SIP status it ended with; 200 for a BYE, 408 for no answer at all.
        reason: its reason phrase.
        at: when, in Unix seconds.
        stats: the statistics of its media.
    """

    by: str
    status: int
    reason: str
    at: float
    stats: RtpStats


@dataclass(frozen=True, slots=True)
class Recording:
    """The WAV files of a recording, one for each direction: 16-bit mono, at the codec's rate."""

    received: Path
    sent: Path
