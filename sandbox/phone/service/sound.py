"""What a call plays and hears: a source of frames, and an ear that finds tones and silence."""

from __future__ import annotations

import wave
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sandbox.audio import SILENCE_DBOV, Samples, ToneDetector, level_dbov, sine

__all__ = ["FRAME_MS", "RATE", "Ear", "Recorder", "Voice", "read_wav"]

#: The rate of the conference bridge, in Hz: that of G.722, so that nothing is lost.
RATE = 16000
#: A frame of the bridge, in milliseconds.
FRAME_MS = 20
FRAME = RATE * FRAME_MS // 1000

_BYTES = FRAME * 2
_SILENT = -60.0
_SILENT_AFTER = 10  # frames


def read_wav(path: Path) -> Samples:
    """The samples of a WAV file as the bridge wants them: mono, 16 bit, `RATE`.

    Raises:
        ValueError: it is not 16-bit PCM.
        OSError: it cannot be read.
        wave.Error: it is no WAV file.
    """
    with wave.open(str(path), "rb") as file:
        if file.getsampwidth() != 2:
            raise ValueError(f"{path} has {8 * file.getsampwidth()}-bit samples; 16 are needed")
        rate, channels = file.getframerate(), file.getnchannels()
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    if channels > 1:
        samples = samples.reshape(-1, channels).mean(axis=1).astype(np.int16)
    if rate != RATE and samples.size:
        at = np.arange(round(samples.size * RATE / rate)) * rate / RATE
        samples = np.interp(at, np.arange(samples.size), samples).astype(np.int16)
    return samples.astype(np.int16)


class Recorder:
    """Writes both directions of a call to a WAV file each."""

    def __init__(self, heard: Path, played: Path) -> None:
        self.heard, self.played = heard, played
        self._files = [self._open(heard), self._open(played)]

    @staticmethod
    def _open(path: Path) -> wave.Wave_write:
        file = wave.open(str(path), "wb")  # noqa: SIM115 - closed by close()
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        return file

    def hear(self, frame: bytes) -> None:
        """Append a frame to the received direction."""
        self._files[0].writeframesraw(frame)

    def play(self, frame: bytes | None) -> None:
        """Append a frame to the sent direction."""
        self._files[1].writeframesraw(frame if frame is not None else bytes(_BYTES))

    def close(self) -> None:
        """Complete the files."""
        for file in self._files:
            file.close()


class Voice:
    """The source of what a call plays: silence, a tone or a file. Silence is sent, as packets."""

    def __init__(self) -> None:
        self._data = b""
        self._position = 0
        self._loop = False
        self._ended: Callable[[], None] | None = None
        self.recorder: Recorder | None = None
        self._last = b""

    def tone(self, hz: float, level: float) -> None:
        """Play a sine of `hz` at `level` dBov until told otherwise."""
        # Ten seconds repeat without a step for every multiple of a tenth of a Hz.
        seconds = 1.0 if float(hz).is_integer() else 10.0
        self._set(sine(hz, seconds, rate=RATE, level_dbov=level).tobytes(), loop=True)

    def samples(
        self, samples: Samples, *, loop: bool, ended: Callable[[], None] | None = None
    ) -> None:
        """Play `samples`, once or over and over; `ended` is called after the last of them."""
        self._set(samples.tobytes(), loop=loop and samples.size > 0)
        self._ended = ended

    def silence(self) -> None:
        """Play silence."""
        self._set(b"", loop=False)

    def _set(self, data: bytes, *, loop: bool) -> None:
        self._data, self._position, self._loop, self._ended = data, 0, loop, None

    def next(self) -> bytes | None:
        """The next frame; None is silence."""
        frame = self._next()
        if self.recorder is not None:
            self.recorder.play(frame)
        self._last = frame or b""
        return frame

    def _next(self) -> bytes | None:
        data = self._data
        if not data:
            return None
        start = self._position
        frame = data[start : start + _BYTES]
        self._position = start + _BYTES
        if len(frame) == _BYTES:
            return frame
        if self._loop:
            while len(frame) < _BYTES:
                missing = _BYTES - len(frame)
                frame += data[:missing]
                self._position = missing
            return frame
        ended, self._ended = self._ended, None
        self._data = b""
        if ended is not None:
            ended()
        return frame.ljust(_BYTES, b"\0") if frame else None

    @property
    def level_dbov(self) -> float:
        """The level of the last frame played, in dBov."""
        return level_dbov(np.frombuffer(self._last, dtype=np.int16))


class Ear:
    """Takes what a call hears; tells when tones and silence begin and end."""

    def __init__(self, tell: Callable[[str, Mapping[str, Any]], None]) -> None:
        """Make an ear.

        Args:
            tell: takes the name of an event and its data.
        """
        self._tell = tell
        self._detector = ToneDetector(RATE)
        self._quiet_frames = 0
        self._silent: bool | None = None
        self.recorder: Recorder | None = None
        self.level_dbov = SILENCE_DBOV

    def hear(self, frame: bytes) -> None:
        """Take the next frame."""
        if self.recorder is not None:
            self.recorder.hear(frame)
        for edge in self._detector.feed(np.frombuffer(frame, dtype=np.int16)):
            self._tell(
                "media.tone",
                {
                    "hz": edge.hz,
                    "level_dbov": edge.level_dbov,
                    "on": edge.on,
                    "lasted": round(edge.at - edge.since, 3),
                },
            )
        self.level_dbov = self._detector.level_dbov
        if self.level_dbov > _SILENT:
            self._quiet_frames = 0
            if self._silent is not False:
                self._silent = False
                self._tell("media.silence", {"on": False})
        else:
            self._quiet_frames += 1
            if self._quiet_frames == _SILENT_AFTER and not self._silent:
                self._silent = True
                self._tell("media.silence", {"on": True})

    def close(self) -> None:
        """The call has ended: whatever is on, ends."""
        for edge in self._detector.finish():
            self._tell(
                "media.tone",
                {"hz": edge.hz, "level_dbov": edge.level_dbov, "on": False, "ended": True},
            )
