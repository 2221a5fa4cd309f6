"""The audio of a call's stream, a frame at a time, without a sound card and without the bridge.

PJSUA's own way is its conference bridge, clocked by a sound card (or a thread), with players and
recorders as ports of it. Calls are never mixed here, and every frame is wanted in Python anyway,
so the owner thread is the clock and talks to the stream's port itself: no resampling, no
callbacks, a third of the CPU time.
"""

from __future__ import annotations

import ctypes as c

from sandbox.phone.service.pjsua_c.core import P, declare, pjmedia, pjsua

_no_sound = declare(pjsua, "pjsua_set_no_snd_dev", P)
_stream_port = declare(pjmedia, "pjmedia_stream_get_port", c.c_int, P, c.POINTER(P))
_get_frame = declare(pjmedia, "pjmedia_port_get_frame", c.c_int, P, P)
_put_frame = declare(pjmedia, "pjmedia_port_put_frame", c.c_int, P, P)

# struct pjsua_data, pjsua_call, pjsua_call_media
_CALLS, _CALL_SIZE, _CALL_MEDIA, _MEDIA_STREAM = 54856, 21480, 256, 48
# struct pjmedia_stream
_DTMF_DURATION = 4200
# struct pjmedia_port
_CLOCK_RATE, _FRAME_USEC = 36, 44

_NONE, _AUDIO = 0, 1


class _Frame(c.Structure):
    _fields_ = (
        ("type", c.c_int), ("buf", P), ("size", c.c_size_t),
        ("timestamp", c.c_uint64), ("bit_info", c.c_uint32),
    )  # fmt: skip


def no_sound_card() -> None:
    """Leave PJSUA without a sound device; nothing clocks its bridge then."""
    _no_sound()


def _stream(call: int) -> int | None:
    variables = c.addressof(c.c_char.in_dll(pjsua, "pjsua_var"))
    media = variables + _CALLS + call * _CALL_SIZE + _CALL_MEDIA
    return P.from_address(media + _MEDIA_STREAM).value


def set_dtmf_duration(call: int, milliseconds: int) -> None:
    """How long the next telephone-events of a call's stream are; PJMEDIA's default is 200 ms.

    It is a compile-time constant of PJMEDIA, copied into each stream. All codecs here have an
    RTP clock of 8000 Hz (RFC 3551 section 4.5.2 for G722).
    """
    stream = _stream(call)
    if stream:
        c.c_uint.from_address(stream + _DTMF_DURATION).value = milliseconds * 8


class StreamPort:
    """The port of a call's stream; do not use it after `onStreamDestroyed`.

    Attributes:
        rate: samples a second.
        frame: bytes of a frame: 16-bit samples.
        seconds: the length of a frame.
    """

    def __init__(self, call: int) -> None:
        """Take the stream of PJSIP's call number `call`.

        Raises:
            LookupError: it has none.
        """
        stream = _stream(call)
        port = P()
        if not stream or _stream_port(stream, c.byref(port)) != 0 or not port.value:
            raise LookupError(f"call {call} has no stream")
        self._port = port
        self.rate = c.c_uint.from_address(port.value + _CLOCK_RATE).value
        usec = c.c_uint.from_address(port.value + _FRAME_USEC).value
        self.seconds = usec / 1e6
        self.frame = self.rate * usec // 1_000_000 * 2
        self.silence = bytes(self.frame)
        self._in = c.create_string_buffer(self.frame)
        self._out = c.create_string_buffer(self.frame)
        self._rx = _Frame(_AUDIO, c.addressof(self._in), self.frame, 0, 0)
        self._tx = _Frame(_AUDIO, c.addressof(self._out), self.frame, 0, 0)
        self._rx_ref, self._tx_ref = c.byref(self._rx), c.byref(self._tx)
        self._samples = self.frame // 2

    def hear(self) -> bytes:
        """The next frame that was received; silence if there is none."""
        rx = self._rx
        rx.type, rx.size = _AUDIO, self.frame
        rx.timestamp += self._samples
        _get_frame(self._port, self._rx_ref)
        if rx.type == _AUDIO and rx.size == self.frame:
            return self._in.raw
        return self.silence

    def play(self, data: bytes) -> None:
        """Send the next frame."""
        self._out.raw = data
        tx = self._tx
        tx.type, tx.size = _AUDIO, self.frame
        tx.timestamp += self._samples
        _put_frame(self._port, self._tx_ref)
