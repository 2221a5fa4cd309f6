"""A PJSIP module that sees every SIP message at the transport, and may swallow a request.

`LogWriter` of the binding has the messages too, as log text to be taken apart, and `wholeMsg` of
the callbacks leaves out what a transaction resends or absorbs. A message has 4000 bytes at most
(PJSIP_MAX_PKT_LEN, compiled in): PJSIP neither sends nor takes a larger one.
"""

from __future__ import annotations

import ctypes as c
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sandbox.phone.service.pjsua_c.core import (
    P,
    PjStr,
    attempt,
    declare,
    get_endpoint,
    pj_str,
    pjsip,
    pjsua,
    pool_create,
    pool_release,
)

_register = declare(pjsip, "pjsip_endpt_register_module", c.c_int, P, P)
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

_MessageFn = c.CFUNCTYPE(c.c_int, P)

Headers = Sequence[tuple[str, str]]

_header_create = declare(
    pjsip, "pjsip_generic_string_hdr_create", P, P, c.POINTER(PjStr), c.POINTER(PjStr)
)
_send_request = declare(pjsua, "pjsua_call_send_request", c.c_int, c.c_int, c.POINTER(PjStr), P)
_msg_data_init = declare(pjsua, "pjsua_msg_data_init", None, P)

_HDR_SIZE = 64  # pjsip_hdr, which begins with the links of a circular list
_MSG_DATA_SIZE, _MSG_HEADERS, _MSG_TYPE, _MSG_BODY = 296, 32, 96, 112  # pjsua_msg_data


def _link(head: int, headers: Headers, pool: int) -> None:
    """Put headers into the circular list that begins at `head`."""
    previous = head
    for name, value in headers:
        name_str, value_str = pj_str(name), pj_str(value)
        header = _header_create(pool, c.byref(name_str), c.byref(value_str))
        P.from_address(header).value = previous
        P.from_address(previous + 8).value = header
        previous = header
    P.from_address(previous + 8).value = head
    P.from_address(head).value = previous


@contextmanager
def header_list(headers: Headers) -> Iterator[int | None]:
    """A pjsip_hdr list head with headers behind it, for functions that copy them."""
    if not headers:
        yield None
        return
    pool = pool_create(b"headers", 4096, 4096)
    head = c.create_string_buffer(_HDR_SIZE)
    _link(c.addressof(head), headers, pool)
    try:
        yield c.addressof(head)
    finally:
        pool_release(pool)


def send_request(call: int, method: str, headers: Headers, body: str, content_type: str) -> None:
    """Send a request in the dialog of a call; `Call` of the binding has no `sendRequest`.

    Raises:
        PjError: the call is not in a state for it.
    """
    pool = pool_create(b"request", 4096, 4096)
    data = c.create_string_buffer(_MSG_DATA_SIZE)
    _msg_data_init(data)
    _link(c.addressof(data) + _MSG_HEADERS, headers, pool)
    kept = [content_type.encode(), body.encode()]
    for offset, raw in zip((_MSG_TYPE, _MSG_BODY), kept, strict=True):
        if body:
            P.from_buffer(data, offset).value = c.cast(c.c_char_p(raw), P).value
            c.c_ssize_t.from_buffer(data, offset + 8).value = len(raw)
    name = pj_str(method)
    try:
        attempt("pjsua_call_send_request", _send_request(call, c.byref(name), data))
    finally:
        pool_release(pool)


class _Module(c.Structure):
    _fields_ = (
        ("prev", P), ("next", P), ("name", PjStr), ("id", c.c_int), ("priority", c.c_int),
        ("load", P), ("start", P), ("stop", P), ("unload", P),
        ("on_rx_request", _MessageFn), ("on_rx_response", _MessageFn),
        ("on_tx_request", _MessageFn), ("on_tx_response", _MessageFn), ("on_tsx_state", P),
    )  # fmt: skip


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
        self._name = b"sandbox-tap"
        self._module = _Module(
            name=pj_str(self._name),
            id=-1,
            priority=_PRIORITY,
            on_rx_request=_MessageFn(lambda rdata: self._received(rdata, True)),
            on_rx_response=_MessageFn(lambda rdata: self._received(rdata, False)),
            on_tx_request=_MessageFn(lambda tdata: self._sent(tdata, True)),
            on_tx_response=_MessageFn(lambda tdata: self._sent(tdata, False)),
        )
        attempt("pjsip_endpt_register_module", _register(get_endpoint(), c.byref(self._module)))

    def _received(self, rdata: int, request: bool) -> int:
        try:
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
                raw=c.string_at(start or 0, length) if start else b"",
                sent=False,
                request=request,
                transport=_transport_name(P.from_address(rdata + _RX_TRANSPORT).value),
                peer=f"{host}:{port}",
                at=time.time(),
                respond=respond if request else _cannot_respond,
            )
            return int(self._seen(message) and request)
        except Exception:  # an exception must not cross C frames
            traceback.print_exc()
            return 0

    def _sent(self, tdata: int, request: bool) -> int:
        try:
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
        except Exception:
            traceback.print_exc()
        return 0
