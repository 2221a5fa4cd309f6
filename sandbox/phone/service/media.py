"""The media of a call in its worker: its place on the bridge, its statistics, its recordings."""

from __future__ import annotations

import base64
import time
import wave
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sandbox.phone import protocol
from sandbox.phone.service import pjsua_c
from sandbox.phone.service.capture import Capture
from sandbox.phone.service.sound import Ear, Recorder, Voice, read_wav
from sandbox.phone.service.tap import Tap
from sandbox.phone.service.worker import Refused

if TYPE_CHECKING:
    from sandbox.phone.service.line import Line

__all__ = ["Media"]

_COUNTERS = (
    "packets_sent", "bytes_sent", "packets_received", "bytes_received",
    "lost", "reordered", "duplicated", "discarded",
)  # fmt: skip


class Media:
    """What a call plays, hears and counts."""

    def __init__(self, line: Line, tell: Callable[..., None], call: str) -> None:
        self._line = line
        self._call = call
        self.capture = Capture() if line.capture else None
        self._tell = tell
        self.voice = Voice()
        self.ear = Ear(lambda name, data: tell(name, **data))
        self.tap = Tap(tell)
        self.pjsip_call: Any = None
        self._port: pjsua_c.StreamPort | None = None
        self._stop_clock: Callable[[], None] = lambda: None
        self._described: dict[str, Any] = {}
        self._first: dict[str, float] = {}
        self._past = dict.fromkeys(_COUNTERS, 0)
        self._last: dict[str, Any] = {}
        self._source = ""
        self._recorder: Recorder | None = None
        self._recordings = 0

    # --- the stream --------------------------------------------------------------------------

    def changed(self) -> None:
        """PJSIP set up, changed or stopped the media of the call."""
        try:
            port = pjsua_c.StreamPort(self.pjsip_call.id)
        except LookupError:
            self._leave_stream()
            return
        if self._port is None:
            self._port = port
            self.voice.rate = port.rate
            self._stop_clock = self._line.loop.every(port.seconds, self._tick)
        described = self.codec()
        if described and described != self._described:
            self._described = described
            self._tell("media.started", **described)

    def _leave_stream(self) -> None:
        self._stop_clock()
        self._port = None

    def _tick(self) -> None:
        port = self._port
        if port is None:
            return
        heard = port.hear()
        self.ear.hear(heard, port.rate, port.seconds)
        played = self.voice.next(port.frame)
        port.play(played)
        self.tap.add(time.time(), port.rate, port.seconds, heard, played)
        if self._recorder is not None:
            self._recorder.add(heard, played, port.rate)
        if self.capture is not None:
            self.capture.frame(heard, played, port.rate)

    def codec(self) -> dict[str, Any]:
        """What was negotiated; empty without a stream."""
        if self._port is None:
            return {}
        info = pjsua_c.stream_info(self.pjsip_call.id)
        if info is None:
            return {}
        direction = {
            (True, True): "sendrecv",
            (True, False): "sendonly",
            (False, True): "recvonly",
            (False, False): "inactive",
        }[(info.sends, info.receives)]
        return {
            "codec": info.codec,
            # RFC 3551 section 4.5.2: G722 has an RTP clock of 8000 and samples at 16000.
            "clock_rate": 8000 if info.codec == "G722" else info.clock_rate,
            "payload_type": info.payload_type,
            "dtmf_payload_type": info.dtmf_payload_type,
            "direction": direction,
            "local": info.local,
            "remote": info.remote,
        }

    def after_events(self) -> None:
        """Look for the first packets."""
        if len(self._first) < 2 and self._port is not None:
            stats = pjsua_c.stream_stats(self.pjsip_call.id)
            if stats is not None:
                for name, count in (
                    ("first_sent", stats.packets_sent),
                    ("first_received", stats.packets_received),
                ):
                    if count and name not in self._first:
                        self._first[name] = time.time()
                        self._tell(f"rtp.{name}")

    # --- statistics --------------------------------------------------------------------------

    def stream_ends(self) -> None:
        """PJSIP is about to destroy the stream; it may make another (a re-INVITE)."""
        current = pjsua_c.stream_stats(self.pjsip_call.id)
        if current is not None:
            self._last = asdict(current)
            self._source = pjsua_c.media_source(self.pjsip_call.id) or self._source
            for name in _COUNTERS:
                self._past[name] += self._last[name]
        self._leave_stream()

    def stats(self) -> dict[str, Any]:
        """The counters of all streams of the call so far."""
        values: dict[str, Any] = {"jitter_ms": 0.0, "rtt_ms": 0.0, **self._last, **self._past}
        current = pjsua_c.stream_stats(self.pjsip_call.id) if self._port is not None else None
        if current is not None:
            now = asdict(current)
            for name in _COUNTERS:
                now[name] += self._past[name]
            values.update(now)
            self._source = pjsua_c.media_source(self.pjsip_call.id) or self._source
        return {
            "codec": self._described.get("codec", ""),
            "clock_rate": self._described.get("clock_rate", 0),
            **values,
            "received_from": self._source,
            "first_sent_at": self._first.get("first_sent", 0.0),
            "first_received_at": self._first.get("first_received", 0.0),
        }

    def levels(self) -> dict[str, Any]:
        """The levels of the last 20 ms, in dBov."""
        return {"in": self.ear.level_dbov, "out": self.voice.level_dbov}

    # --- files -------------------------------------------------------------------------------

    def play(self, request: protocol.PlayWav) -> None:
        """Play a file.

        Raises:
            Refused: it cannot be read.
        """
        try:
            samples, rate = read_wav(Path(request.path))
        except (OSError, ValueError, wave.Error, EOFError) as error:
            raise Refused(f"cannot play {request.path}: {error}", 400) from None
        self.voice.samples(
            samples,
            rate,
            loop=request.loop,
            ended=lambda whole: self._tell("media.played", path=request.path, whole=whole),
        )

    def play_samples(self, request: protocol.PlaySamples) -> None:
        """Play samples that came with the request.

        Raises:
            Refused: they are no 16-bit samples.
        """
        try:
            raw = base64.b64decode(request.pcm, validate=True)
            samples = np.frombuffer(raw, dtype="<i2")
        except ValueError as error:
            raise Refused(f"cannot play the samples: {error}", 400) from None
        self.voice.samples(
            samples,
            request.rate,
            loop=False,
            ended=lambda whole: self._tell("media.played", id=request.id, whole=whole),
        )

    def record(self, on: bool, call: str) -> dict[str, str]:
        """Begin or end recording; the paths of the files, of both directions."""
        if on and self._recorder is None:
            self._recordings += 1
            stem = f"call-{call}-{self._recordings}"
            self._recorder = Recorder(
                self._line.directory / f"{stem}-received.wav",
                self._line.directory / f"{stem}-sent.wav",
            )
        recorder = self._recorder
        if recorder is None:
            raise Refused("the call is not being recorded")
        if not on:
            self._stop_recording()
        return {"received": str(recorder.heard), "sent": str(recorder.played)}

    def _stop_recording(self) -> None:
        if self._recorder is not None:
            self._recorder.close()
            self._recorder = None

    def close(self) -> None:
        """The call is over."""
        self._leave_stream()
        self._stop_recording()
        capture, self.capture = self.capture, None
        if capture is not None:
            files = capture.write(self._line.directory / f"trace-{self._call}")
            self._tell("media.captured", **files)
