"""The conference bridge, driven by the owner thread, with ports that Python plays and hears."""

from __future__ import annotations

import ctypes as c
from collections.abc import Callable
from typing import Any, ClassVar

from sandbox.phone.service.pjsua_c.core import (
    P,
    PjStr,
    attempt,
    declare,
    pj_str,
    pjmedia,
    pjsua,
    pool_create,
)

_no_sound = declare(pjsua, "pjsua_set_no_snd_dev", P)
_get_frame = declare(pjmedia, "pjmedia_port_get_frame", c.c_int, P, P)
_conf_connect = declare(pjsua, "pjsua_conf_connect", c.c_int, c.c_int, c.c_int)
_conf_disconnect = declare(pjsua, "pjsua_conf_disconnect", c.c_int, c.c_int, c.c_int)
_conf_add = declare(pjsua, "pjsua_conf_add_port", c.c_int, P, P, c.POINTER(c.c_int))
_conf_remove = declare(pjsua, "pjsua_conf_remove_port", c.c_int, c.c_int)
_port_info_init = declare(
    pjmedia, "pjmedia_port_info_init", c.c_int,
    P, c.POINTER(PjStr), c.c_uint, c.c_uint, c.c_uint, c.c_uint, c.c_uint,
)  # fmt: skip


class Frame(c.Structure):
    """pjmedia_frame."""

    _fields_ = (
        ("type", c.c_int), ("buf", P), ("size", c.c_size_t),
        ("timestamp", c.c_uint64), ("bit_info", c.c_uint32),
    )  # fmt: skip


FRAME_NONE, FRAME_AUDIO = 0, 1


class MasterPort:
    """The conference bridge without a sound card: every `tick` is one frame of every call.

    With the null sound device a PJSIP thread is the clock; here the owner thread is, so no
    callback ever runs on a thread of its own and the binding's lack of GIL handling is harmless.
    """

    def __init__(self, samples_per_frame: int) -> None:
        self._port = _no_sound()
        self._buffer = c.create_string_buffer(samples_per_frame * 2)
        self._frame = Frame(FRAME_AUDIO, c.addressof(self._buffer), samples_per_frame * 2, 0, 0)
        self._samples = samples_per_frame

    def tick(self) -> None:
        """Run the bridge for one frame."""
        self._frame.type = FRAME_AUDIO
        self._frame.size = self._samples * 2
        self._frame.timestamp += self._samples
        _get_frame(self._port, c.byref(self._frame))


def connect_ports(source: int, sink: int) -> None:
    """Let bridge port `sink` hear bridge port `source`."""
    attempt("pjsua_conf_connect", _conf_connect(source, sink))


def disconnect_ports(source: int, sink: int) -> None:
    """Undo `connect_ports`; a pair that is not connected is fine."""
    _conf_disconnect(source, sink)


_FrameFn = c.CFUNCTYPE(c.c_int, P, c.POINTER(Frame))
PortFn = c.CFUNCTYPE(c.c_int, P)
_ClockFn = c.CFUNCTYPE(P, P, c.c_int)


class _Port(c.Structure):
    _fields_ = (
        ("info", c.c_char * 64), ("pdata", P), ("ldata", c.c_long), ("grp_lock", P),
        ("get_clock_src", _ClockFn), ("put_frame", _FrameFn), ("get_frame", _FrameFn),
        ("on_destroy", PortFn),
    )  # fmt: skip


class AudioPort:
    """A port of the conference bridge whose samples come from, and go to, Python functions.

    PJSIP's own WAV player, recorder and tone generator would do for files; this does for
    everything at once: what is played can change between two frames, and what is heard is at
    hand 20 ms after it came.
    """

    _alive: ClassVar[set[AudioPort]] = (
        set()
    )  # the C structures must outlive their use by the bridge

    def __init__(
        self,
        *,
        rate: int,
        samples_per_frame: int,
        play: Callable[[], bytes | None],
        hear: Callable[[bytes], None],
    ) -> None:
        """Add a port to the bridge.

        Args:
            rate: samples a second; the bridge's own saves a resampling.
            samples_per_frame: samples a frame.
            play: gives the next frame to play, or None for silence.
            hear: takes the next frame that was heard.
        """
        size = samples_per_frame * 2
        silence = bytes(size)

        def get(_port: int, frame: Any) -> int:
            data = play()
            target = frame.contents
            if data is None:
                target.type, target.size = FRAME_NONE, 0
            else:
                c.memmove(target.buf, data, size)
                target.type, target.size = FRAME_AUDIO, size
            return 0

        def put(_port: int, frame: Any) -> int:
            source = frame.contents
            if source.type == FRAME_AUDIO and source.size == size:
                hear(c.string_at(source.buf, size))
            else:
                hear(silence)
            return 0

        self._name = b"sandbox"
        self._pool = pool_create(b"audioport", 4096, 4096)
        self._port = _Port()
        name = pj_str(self._name)
        attempt(
            "pjmedia_port_info_init",
            _port_info_init(
                c.byref(self._port), c.byref(name), 0x53424F58, rate, 1, 16, samples_per_frame
            ),
        )
        self._port.get_frame = _FrameFn(get)
        self._port.put_frame = _FrameFn(put)
        self._port.on_destroy = PortFn(lambda _port: 0)
        slot = c.c_int(-1)
        attempt("pjsua_conf_add_port", _conf_add(self._pool, c.byref(self._port), c.byref(slot)))
        self.slot = slot.value
        AudioPort._alive.add(self)

    def close(self) -> None:
        """Take the port off the bridge."""
        if self.slot >= 0:
            _conf_remove(self.slot)
            self.slot = -1
