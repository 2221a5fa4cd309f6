"""A pjsip_module whose callbacks are Python functions."""

from __future__ import annotations

import ctypes as c
import traceback
from collections.abc import Callable

from sandbox.phone.service.pjsua_c.core import (
    P,
    PjStr,
    attempt,
    declare,
    get_endpoint,
    pj_str,
    pjsip,
)

__all__ = ["Module"]

_register = declare(pjsip, "pjsip_endpt_register_module", c.c_int, P, P)
_MessageFn = c.CFUNCTYPE(c.c_int, P)

Handler = Callable[[int], bool]


class _Struct(c.Structure):
    _fields_ = (
        ("prev", P), ("next", P), ("name", PjStr), ("id", c.c_int), ("priority", c.c_int),
        ("load", P), ("start", P), ("stop", P), ("unload", P),
        ("on_rx_request", _MessageFn), ("on_rx_response", _MessageFn),
        ("on_tx_request", _MessageFn), ("on_tx_response", _MessageFn), ("on_tsx_state", P),
    )  # fmt: skip


class Module:
    """Registers with the endpoint, for good."""

    def __init__(
        self,
        name: str,
        priority: int,
        *,
        rx_request: Handler | None = None,
        rx_response: Handler | None = None,
        tx_request: Handler | None = None,
        tx_response: Handler | None = None,
    ) -> None:
        """Register.

        Args:
            name: of the module.
            priority: what is received goes up through the priorities, what is sent goes down;
                the transport layer, which prints and parses messages, has 8.
            rx_request: takes a pjsip_rx_data; True keeps the request from the others.
            rx_response: takes a pjsip_rx_data; True keeps the response from the others.
            tx_request: takes a pjsip_tx_data.
            tx_response: takes a pjsip_tx_data.
        """
        self._name = name.encode()
        self._struct = _Struct(
            name=pj_str(self._name),
            id=-1,
            priority=priority,
            on_rx_request=_guarded(rx_request),
            on_rx_response=_guarded(rx_response),
            on_tx_request=_guarded(tx_request),
            on_tx_response=_guarded(tx_response),
        )
        attempt("pjsip_endpt_register_module", _register(get_endpoint(), c.byref(self._struct)))


def _guarded(handler: Handler | None) -> c._FuncPointer:
    def call(data: int) -> int:
        try:
            return int(handler is not None and handler(data))
        except Exception:  # an exception must not cross C frames
            traceback.print_exc()
            return 0

    return _MessageFn(call) if handler is not None else _MessageFn()
