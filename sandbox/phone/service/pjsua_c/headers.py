"""Headers and requests beyond what the binding's `SipTxOption` reaches."""

from __future__ import annotations

import ctypes as c
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from sandbox.phone.service.pjsua_c.core import (
    P,
    PjStr,
    attempt,
    declare,
    pj_str,
    pjsip,
    pjsua,
    pool_create,
    pool_release,
)
from sandbox.phone.service.pjsua_c.module import Module

__all__ = ["Headers", "StaleHeaders", "header_list", "send_request"]

Headers = Sequence[tuple[str, str]]

_find_header = declare(pjsip, "pjsip_msg_find_hdr_by_name", P, P, c.POINTER(PjStr), P)
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


_TX_MSG = 392  # pjsip_tx_data.msg

# Above the transport layer (8): before it prints the message.
_BEFORE_PRINTING = 9


class StaleHeaders:
    """Takes the headers of an earlier response out of the next one.

    PJSIP makes each response to an INVITE out of the one before, and adds to it: a 200 would
    repeat the headers that were meant for the 180.
    """

    def __init__(self) -> None:
        self._stale: Mapping[str, int] = {}
        self._module = Module("sandbox-headers", _BEFORE_PRINTING, tx_response=self._sending)

    @contextmanager
    def kept(self, stale: Mapping[str, int]) -> Iterator[None]:
        """While inside, a response that is sent keeps the last so many headers of each name."""
        self._stale = stale
        try:
            yield
        finally:
            self._stale = {}

    def _sending(self, tdata: int) -> bool:
        message = P.from_address(tdata + _TX_MSG).value
        for name, keep in self._stale.items():
            name_str = pj_str(name)
            found: list[int] = []
            header = _find_header(message, c.byref(name_str), None)
            while header:
                found.append(header)
                header = _find_header(message, c.byref(name_str), P.from_address(header + 8).value)
            for stale in found[: len(found) - keep]:
                _unlink(stale)
        return False


def _unlink(node: int) -> None:
    previous, following = P.from_address(node).value or 0, P.from_address(node + 8).value or 0
    P.from_address(previous + 8).value = following
    P.from_address(following).value = previous
