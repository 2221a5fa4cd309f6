"""A PJSIP module that sees every SIP message at the transport, and may swallow a request.

`LogWriter` of the binding has the messages too, as log text to be taken apart, and `wholeMsg` of
the callbacks leaves out what a transaction resends or absorbs. A message has 4000 bytes at most
(PJSIP_MAX_PKT_LEN, compiled in): PJSIP neither sends nor takes a larger one.
"""

from __future__ import annotations

import ctypes as c
import time
from collections.abc import Callable
from dataclasses import dataclass

from sandbox.phone.service.pjsua_c.core import (
    P,
    PjStr,
    attempt,
    declare,
    get_endpoint,
    pj_str,
    pjsip,
)
from sandbox.phone.service.pjsua_c.headers import Headers, header_list
from sandbox.phone.service.pjsua_c.module import Module

_respond = declare(
    pjsip, "pjsip_endpt_respond_stateless", c.c_int, P, P, c.c_int, c.POINTER(PjStr), P, P
)

# pjsip_rx_data
_RX_TRANSPORT, _RX_SRC_NAME, _RX_SRC_PORT, _RX_BUF, _RX_LEN = 8, 4368, 4416, 4424, 4432
# pjsip_tx_data
_TX_START, _TX_CUR, _TX_TRANSPORT, _TX_DST_NAME, _TX_DST_PORT = 408, 416, 1192, 1232, 1280
# pjsip_transport
_TRANSPORT_TYPE = 120

# Below the transport layer (8): after it has printed a message, before anybody has taken one.
_PRIORITY = 6


@dataclass(frozen=True, slots=True)
class Message:
    """A SIP message on the wire.

    Attributes:
        raw: all of it.
        sent: whether this side sent it.
        request: whether it is a request.
        transport: `udp` or `tcp`.
        peer: the other side, `address:port`.
        at: when, in Unix seconds.
        respond: answers a received request without any state; use only inside the callback.
    """

    raw: bytes
    sent: bool
    request: bool
    transport: str
    peer: str
    at: float
    respond: Callable[[int, str, Headers], None]


def _transport_name(pointer: int | None) -> str:
    if not pointer:
        return ""
    name = c.c_char_p.from_address(pointer + _TRANSPORT_TYPE).value
    return name.decode().lower() if name else ""


def _cannot_respond(_status: int, _reason: str, _headers: Headers) -> None:
    raise ValueError("only a received request can be answered")


class Tap:
    """Shows every message to a function."""

    def __init__(self, seen: Callable[[Message], bool]) -> None:
        """Register with the endpoint, for good.

        Args:
            seen: takes a message; True for a received request keeps it from PJSIP.
        """
        self._seen = seen
        self._module = Module(
            "sandbox-tap",
            _PRIORITY,
            rx_request=lambda rdata: self._received(rdata, True),
            rx_response=lambda rdata: self._received(rdata, False),
            tx_request=lambda tdata: self._sent(tdata, True),
            tx_response=lambda tdata: self._sent(tdata, False),
        )

    def _received(self, rdata: int, request: bool) -> bool:
        start = P.from_address(rdata + _RX_BUF).value
        length = c.c_int.from_address(rdata + _RX_LEN).value
        host = c.string_at(rdata + _RX_SRC_NAME).decode()
        port = c.c_int.from_address(rdata + _RX_SRC_PORT).value

        def respond(status: int, reason: str, headers: Headers) -> None:
            text = c.byref(pj_str(reason)) if reason else None
            with header_list(headers) as extra:
                attempt(
                    "pjsip_endpt_respond_stateless",
                    _respond(get_endpoint(), rdata, status, text, extra, None),
                )

        message = Message(
            raw=c.string_at(start, length) if start else b"",
            sent=False,
            request=request,
            transport=_transport_name(P.from_address(rdata + _RX_TRANSPORT).value),
            peer=f"{host}:{port}",
            at=time.time(),
            respond=respond if request else _cannot_respond,
        )
        return self._seen(message) and request

    def _sent(self, tdata: int, request: bool) -> bool:
        start = P.from_address(tdata + _TX_START).value
        end = P.from_address(tdata + _TX_CUR).value
        host = c.string_at(tdata + _TX_DST_NAME).decode()
        port = c.c_int.from_address(tdata + _TX_DST_PORT).value
        self._seen(
            Message(
                raw=c.string_at(start, end - start) if start and end else b"",
                sent=True,
                request=request,
                transport=_transport_name(P.from_address(tdata + _TX_TRANSPORT).value),
                peer=f"{host}:{port}",
                at=time.time(),
                respond=_cannot_respond,
            )
        )
        return False
