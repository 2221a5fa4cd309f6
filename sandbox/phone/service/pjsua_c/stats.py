"""What PJMEDIA knows of a call's stream: counters, codec, addresses."""

from __future__ import annotations

import ctypes as c
from dataclasses import dataclass

from sandbox.phone.service.pjsua_c.core import P, PjStr, declare, pjsua, text

_stream_stat = declare(pjsua, "pjsua_call_get_stream_stat", c.c_int, c.c_int, c.c_uint, P)
_transport_info = declare(pjsua, "pjsua_call_get_med_transport_info", c.c_int, c.c_int, c.c_uint, P)
_stream_info = declare(pjsua, "pjsua_call_get_stream_info", c.c_int, c.c_int, c.c_uint, P)


@dataclass(frozen=True, slots=True)
class StreamStats:
    """What PJMEDIA counted for one stream (RFC 3550 section 6.4)."""

    packets_sent: int
    bytes_sent: int
    packets_received: int
    bytes_received: int
    lost: int
    reordered: int
    duplicated: int
    discarded: int
    jitter_ms: float
    rtt_ms: float


_STAT_SIZE, _STAT_TX, _STAT_RX, _STAT_RTT = 536, 16, 136, 256


def stream_stats(call: int, media: int = 0) -> StreamStats | None:
    """The statistics of a call's stream, or None when it has none."""
    buffer = c.create_string_buffer(_STAT_SIZE + 256)
    if _stream_stat(call, media, buffer) != 0:
        return None

    def number(offset: int) -> int:
        return c.c_uint32.from_buffer(buffer, offset).value

    def mean_ms(offset: int) -> float:
        count = c.c_int.from_buffer(buffer, offset).value
        return c.c_int.from_buffer(buffer, offset + 16).value / 1000 if count else 0.0

    return StreamStats(
        packets_sent=number(_STAT_TX + 20),
        bytes_sent=number(_STAT_TX + 24),
        packets_received=number(_STAT_RX + 20),
        bytes_received=number(_STAT_RX + 24),
        discarded=number(_STAT_RX + 28),
        lost=number(_STAT_RX + 32),
        reordered=number(_STAT_RX + 36),
        duplicated=number(_STAT_RX + 40),
        jitter_ms=mean_ms(_STAT_RX + 88),
        rtt_ms=mean_ms(_STAT_RTT),
    )


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What was negotiated for one stream."""

    codec: str
    clock_rate: int
    sends: bool
    receives: bool
    payload_type: int
    dtmf_payload_type: int
    ssrc: int
    local: str
    remote: str
    secure: bool


_INFO_SIZE, _INFO_AUD = 2256, 8


def stream_info(call: int, media: int = 0) -> StreamInfo | None:
    """The parameters of a call's stream, or None when it has none."""
    buffer = c.create_string_buffer(_INFO_SIZE + 256)
    if _stream_info(call, media, buffer) != 0:
        return None

    def number(offset: int) -> int:
        return c.c_int.from_buffer(buffer, offset).value

    direction = number(16)
    return StreamInfo(
        codec=text(PjStr.from_buffer(buffer, 1928)),
        clock_rate=number(1944),
        sends=bool(direction & 1),
        receives=bool(direction & 2),
        payload_type=number(1960),
        dtmf_payload_type=number(1972),
        ssrc=number(1980) & 0xFFFFFFFF,
        local=_address(buffer.raw, 20),
        remote=_address(buffer.raw, 48),
        secure=number(12) & 0x10 != 0,
    )


def _address(raw: bytes, offset: int) -> str:
    """The sockaddr_in at `offset`, `address:port`."""
    return f"{'.'.join(map(str, raw[offset + 4 : offset + 8]))}:" + str(
        int.from_bytes(raw[offset + 2 : offset + 4], "big")
    )


# With room for what transports add (four entries of some 300 bytes).
_TRANSPORT_SIZE, _TRANSPORT_SOURCE = 4096, 80


def media_source(call: int, media: int = 0) -> str:
    """Where the last RTP packet of a call came from, `address:port`; `""` if none came."""
    buffer = c.create_string_buffer(_TRANSPORT_SIZE)
    if _transport_info(call, media, buffer) != 0:
        return ""
    source = _address(buffer.raw, _TRANSPORT_SOURCE)
    return "" if source == "0.0.0.0:0" else source
