"""The RTP and RTCP packets of a call, seen where they enter and leave its UDP socket.

PJMEDIA's media transport is a table of functions. The table of a call's UDP transport is replaced
by a copy in which sending and attaching pass through here; that costs one call into Python for a
packet, no thread, no socket and no root. Below SRTP, so a packet is as it was on the wire.
"""

from __future__ import annotations

import ctypes as c
import traceback
from collections.abc import Callable
from typing import Any

from sandbox.phone.service.pjsua_c.core import P, declare, pjmedia, pjsua

__all__ = ["PacketTap"]

_srtp_member = declare(pjmedia, "pjmedia_transport_srtp_get_member", P, P)

# struct pjsua_data
_ON_CREATE = 54072
# struct pjmedia_transport
_TYPE, _OP, _SRTP = 32, 40, 2
# struct pjmedia_transport_op
_OP_SIZE, _SEND_RTP, _SEND_RTCP, _ATTACH2 = 104, 24, 32, 96
# struct pjmedia_transport_attach_param
_REMOTE_RTP, _REMOTE_RTCP, _USER_DATA, _RTCP_CB, _RTP_CB2 = 12, 40, 72, 88, 96

_CreateFn = c.CFUNCTYPE(P, c.c_int, c.c_uint, P, c.c_uint)
_SendFn = c.CFUNCTYPE(c.c_int, P, P, c.c_size_t)
_AttachFn = c.CFUNCTYPE(c.c_int, P, P)
_RtcpFn = c.CFUNCTYPE(None, P, P, c.c_ssize_t)


class _Arrived(c.Structure):
    """pjmedia_tp_cb_param."""

    _fields_ = (
        ("user_data", P), ("pkt", P), ("size", c.c_ssize_t), ("src_addr", P),
        ("rem_switch", c.c_int),
    )  # fmt: skip


_RtpFn = c.CFUNCTYPE(None, c.POINTER(_Arrived))

#: Takes: PJSIP's number of the call, whether it was sent, whether it is RTCP, the other side as
#: the six bytes of address and port, the packet.
Seen = Callable[[int, bool, bool, bytes, bytes], None]


def _peer(sockaddr: int) -> bytes:
    raw = c.string_at(sockaddr, 8)  # sockaddr_in
    return raw[4:8] + raw[2:4]


class _Stream:
    """What an attached stream was told through."""

    def __init__(self, call: int, rtcp_peer: bytes, rtp_cb: int, rtcp_cb: int | None) -> None:
        self.call = call
        self.rtcp_peer = rtcp_peer
        self.rtp = _RtpFn(rtp_cb)
        self.rtcp = _RtcpFn(rtcp_cb) if rtcp_cb else None


class PacketTap:
    """Shows every RTP and RTCP packet of every call to a function."""

    def __init__(self, seen: Seen) -> None:
        """Watch the calls from now on, for good.

        Args:
            seen: takes the packets; see `Seen`.
        """
        self._seen = seen
        self._calls: dict[int, int] = {}
        self._peers: dict[int, tuple[bytes, bytes]] = {}
        self._streams: dict[int, _Stream] = {}
        self._table: c.Array[c.c_char] | None = None
        self._original: dict[int, Any] = {}
        # Kept: C code has their addresses.
        self._send_rtp = _SendFn(lambda tp, data, size: self._sent(_SEND_RTP, tp, data, size))
        self._send_rtcp = _SendFn(lambda tp, data, size: self._sent(_SEND_RTCP, tp, data, size))
        self._attach = _AttachFn(self._attached)
        self._rtp = _RtpFn(self._rtp_arrived)
        self._rtcp = _RtcpFn(self._rtcp_arrived)
        slot = P.from_address(c.addressof(c.c_char.in_dll(pjsua, "pjsua_var")) + _ON_CREATE)
        self._next = _CreateFn(slot.value) if slot.value else None
        self._create = _CreateFn(self._created)
        slot.value = c.cast(self._create, P).value

    def _created(self, call: int, media: int, transport: int, flags: int) -> int:
        try:
            under = transport
            if c.c_int.from_address(transport + _TYPE).value == _SRTP:
                under = _srtp_member(transport) or transport
            self._calls[under] = call
            self._replace_table(under)
        except Exception:  # an exception must not cross C frames
            traceback.print_exc()
        return self._next(call, media, transport, flags) if self._next else transport

    def _replace_table(self, transport: int) -> None:
        slot = P.from_address(transport + _OP)
        if self._table is None:
            # All UDP transports share one table.
            address = slot.value or 0
            self._table = c.create_string_buffer(c.string_at(address, _OP_SIZE), _OP_SIZE)
            for offset, kind, ours in (
                (_SEND_RTP, _SendFn, self._send_rtp),
                (_SEND_RTCP, _SendFn, self._send_rtcp),
                (_ATTACH2, _AttachFn, self._attach),
            ):
                self._original[offset] = kind(P.from_address(address + offset).value or 0)
                P.from_buffer(self._table, offset).value = c.cast(ours, P).value
        slot.value = c.addressof(self._table)

    def _tell(self, call: int, sent: bool, rtcp: bool, peer: bytes, packet: bytes) -> None:
        try:
            self._seen(call, sent, rtcp, peer, packet)
        except Exception:
            traceback.print_exc()

    def _sent(self, offset: int, transport: int, data: int, size: int) -> int:
        rtcp = offset == _SEND_RTCP
        peers = self._peers.get(transport)
        if peers is not None:
            packet = c.string_at(data, size)
            self._tell(self._calls[transport], True, rtcp, peers[rtcp], packet)
        return int(self._original[offset](transport, data, size))

    def _attached(self, transport: int, parameters: int) -> int:
        rtp, rtcp = _peer(parameters + _REMOTE_RTP), _peer(parameters + _REMOTE_RTCP)
        if rtcp[4:] == b"\0\0":
            rtcp = rtp[:4] + (int.from_bytes(rtp[4:], "big") + 1).to_bytes(2, "big")
        self._peers[transport] = (rtp, rtcp)
        rtp_slot = P.from_address(parameters + _RTP_CB2)
        rtcp_slot = P.from_address(parameters + _RTCP_CB)
        user = P.from_address(parameters + _USER_DATA).value
        before = (rtp_slot.value, rtcp_slot.value)
        if user and before[0]:
            self._streams[user] = _Stream(self._calls[transport], rtcp, before[0], before[1])
            rtp_slot.value = c.cast(self._rtp, P).value
            if before[1]:
                rtcp_slot.value = c.cast(self._rtcp, P).value
        result = int(self._original[_ATTACH2](transport, parameters))
        # The caller's own structure, as it was.
        rtp_slot.value, rtcp_slot.value = before
        return result

    def _rtp_arrived(self, arrived: Any) -> None:
        it = arrived.contents
        stream = self._streams[it.user_data]
        if it.size > 0 and it.src_addr:
            packet = c.string_at(it.pkt, it.size)
            self._tell(stream.call, False, False, _peer(it.src_addr), packet)
        stream.rtp(arrived)

    def _rtcp_arrived(self, user: int, data: int, size: int) -> None:
        stream = self._streams[user]
        if size > 0:
            self._tell(stream.call, False, True, stream.rtcp_peer, c.string_at(data, size))
        if stream.rtcp is not None:
            stream.rtcp(user, data, size)
