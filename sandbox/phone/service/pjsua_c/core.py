"""Loads the PJSIP libraries inside the pjsua2-pybind11 wheel, and runs their event loop.

The wheel's binding (0.1a3, PJSIP 2.14.1) has no event loop call. `libpjsua` has; called with no
PJSIP worker threads, and with the media on the same ioqueue, it is the only place where callbacks
run, so all of PJSIP stays on one thread.
"""

from __future__ import annotations

import ctypes as c
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pjsua2

VERSION = "2.14.1"


class PjError(Exception):
    """Raised when a PJSIP function returned an error status.

    Attributes:
        status: the pj_status_t.
    """

    def __init__(self, where: str, status: int) -> None:
        self.status = status
        super().__init__(f"{where}: {error_text(status)} (status {status})")


def _load(stem: str) -> c.CDLL:
    folder = Path(pjsua2.__file__).parent / "pjsua2_pybind11.libs"
    found = sorted(folder.glob(f"lib{stem}-*.so*"))
    if not found:
        raise ImportError(f"the pjsua2-pybind11 wheel has no lib{stem} in {folder}")
    return c.CDLL(str(found[0]))


pj = _load("pj")
pjsip = _load("pjsip")
pjmedia = _load("pjmedia")
pjmedia_codec = _load("pjmedia-codec")
pjsua = _load("pjsua")


class PjStr(c.Structure):
    """pj_str_t: a pointer and a length, no terminating zero."""

    _fields_ = (("ptr", c.c_char_p), ("slen", c.c_ssize_t))


def pj_str(text: str | bytes) -> PjStr:
    """A pj_str_t that borrows the bytes of `text`; keep the result as long as PJSIP uses it."""
    raw = text.encode() if isinstance(text, str) else text
    return PjStr(raw, len(raw))


def declare(library: c.CDLL, name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    function = getattr(library, name)
    function.restype = result
    function.argtypes = list(arguments)
    return cast("Callable[..., Any]", function)


P = c.c_void_p
_strerror = declare(pj, "pj_strerror", PjStr, c.c_int, c.c_char_p, c.c_size_t)
_log_set_level = declare(pj, "pj_log_set_level", None, c.c_int)
_handle_events = declare(pjsua, "pjsua_handle_events", c.c_int, c.c_uint)
pool_create = declare(pjsua, "pjsua_pool_create", P, c.c_char_p, c.c_size_t, c.c_size_t)
pool_release = declare(pj, "pj_pool_release", None, P)
get_endpoint = declare(pjsua, "pjsua_get_pjsip_endpt", P)
_get_ioqueue = declare(pjsip, "pjsip_endpt_get_ioqueue", P, P)


def error_text(status: int) -> str:
    """PJSIP's words for an error status."""
    buffer = c.create_string_buffer(200)
    _strerror(status, buffer, len(buffer))
    return buffer.value.decode(errors="replace")


def attempt(where: str, status: int) -> None:
    if status != 0:
        raise PjError(where, status)


def check(version: str) -> None:
    """Refuse a PJSIP whose structures are not those compiled in here.

    Raises:
        ImportError: `version` (of `Endpoint.version`) is another one.
    """
    if version.split("-")[0] != VERSION:
        raise ImportError(f"the phone knows the structures of PJSIP {VERSION}, not of {version}")


def quiet() -> None:
    """Keep PJLIB from writing to stdout before its log is set up."""
    _log_set_level(0)


def handle_events(timeout_ms: int) -> None:
    """Run timers and sockets once; returns after the first activity or the timeout."""
    _handle_events(timeout_ms)


def text(value: PjStr) -> str:
    """The text of a pj_str_t."""
    return c.string_at(value.ptr or b"", value.slen).decode(errors="replace")


_ReadFn = c.CFUNCTYPE(c.c_int, P, P, c.c_size_t, c.c_int, c.POINTER(c.c_size_t))


class _ActiveCallbacks(c.Structure):
    _fields_ = (("on_data_read", _ReadFn), ("rest", P * 5))


_active_create = declare(
    pj, "pj_activesock_create", c.c_int, P, c.c_long, c.c_int, P, P, P, P, c.POINTER(P)
)
_active_read = declare(pj, "pj_activesock_start_read", c.c_int, P, P, c.c_uint, c.c_uint32)
_SOCK_STREAM = 1


class CommandSocket:
    """Reads a stream socket inside PJSIP's event loop, so a command wakes it at once."""

    def __init__(self, descriptor: int, received: Callable[[bytes], None]) -> None:
        """Watch the socket `descriptor`; `received` gets the bytes, and `b""` when it closed."""

        def on_data(_socket: int, data: int | None, size: int, status: int, remainder: Any) -> int:
            if remainder:
                remainder[0] = 0
            received(c.string_at(data, size) if status == 0 and data and size else b"")
            return int(status == 0)

        self._callbacks = _ActiveCallbacks(_ReadFn(on_data))
        self._socket = P()
        pool = pool_create(b"commands", 65536 + 4096, 4096)
        queue = _get_ioqueue(get_endpoint())
        attempt(
            "pj_activesock_create",
            _active_create(
                pool, descriptor, _SOCK_STREAM, None, queue,
                c.byref(self._callbacks), None, c.byref(self._socket),
            ),
        )  # fmt: skip
        attempt("pj_activesock_start_read", _active_read(self._socket, pool, 65536, 0))
