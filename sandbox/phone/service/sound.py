"""What a call plays and hears: a source of frames, and an ear that finds tones and silence."""

from __future__ import annotations

import wave
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sandbox.audio import SILENCE_DBOV, Samples, ToneDetector, level_dbov, resample, sine

__all__ = ["Ear", "Recorder", "Voice", "read_wav"]

_SILENT = -60.0
_SILENT_AFTER = 0.2  # seconds
# A codec that comes back from an idle line clicks for 40 ms, as loud as -54 dBov: no sound yet.
_SOUND_AFTER = 0.05


def read_wav(path: Path) -> tuple[Samples, int]:
    """The samples of a WAV file, as mono, and its rate.

    Raises:
        ValueError: it is not 16-bit PCM.
        OSError: it cannot be read.
        wave.Error: it is no WAV file.
    """
    with wave.open(str(path), "rb") as file:
        if file.getsampwidth() != 2:
            raise ValueError(f"it has {8 * file.getsampwidth()}-bit samples; 16 are needed")
        rate, channels = file.getframerate(), file.getnchannels()
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    if channels > 1:
        samples = samples.reshape(-1, channels).mean(axis=1)
    return samples.astype(np.int16), rate


class Recorder:
    """Writes both directions of a call to a WAV file each, at the rate of its first frame."""

    def __init__(self, heard: Path, played: Path) -> None:
        self.heard, self.played = heard, played
        self._files: list[wave.Wave_write] = []
        self._rate = 0

    def add(self, heard: bytes, played: bytes, rate: int) -> None:
        """Append a frame of each direction."""
        if not self._files:
            self._open(rate)
        for file, frame in zip(self._files, (heard, played), strict=True):
            samples = np.frombuffer(frame, dtype=np.int16)
            file.writeframesraw(resample(samples, rate, self._rate).tobytes())

    def _open(self, rate: int) -> None:
        self._rate = rate
        for path in (self.heard, self.played):
            file = wave.open(str(path), "wb")  # noqa: SIM115 - closed by close()
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            self._files.append(file)

    def close(self) -> None:
        """Complete the files; without a frame they are empty."""
        if not self._files:
            self._open(8000)
        for file in self._files:
            file.close()


class Voice:
    """The source of what a call plays: silence, a tone or a file."""

    def __init__(self) -> None:
        self._rate = 8000
        self._make: Callable[[int], bytes] = lambda rate: b""
        self._data = b""
        self._position = 0
        self._loop = False
        self._ended: Callable[[bool], None] | None = None
        self._last = b""

    @property
    def rate(self) -> int:
        """The rate of the frames, in Hz."""
        return self._rate

    @rate.setter
    def rate(self, rate: int) -> None:
        if rate != self._rate:
            self._position = self._position * rate // self._rate // 2 * 2
            self._rate = rate
            self._data = self._make(rate)

    def tone(self, hz: float, level: float) -> None:
        """Play a sine of `hz` at `level` dBov until told otherwise."""
        # Ten seconds repeat without a step for every multiple of a tenth of a Hz.
        seconds = 1.0 if float(hz).is_integer() else 10.0

        def make(rate: int) -> bytes:
            if hz >= rate / 2:
                return b""
            return sine(hz, seconds, rate=rate, level_dbov=level).tobytes()

        self._set(make, loop=True)

    def samples(
        self,
        samples: Samples,
        rate: int,
        *,
        loop: bool,
        ended: Callable[[bool], None] | None = None,
    ) -> None:
        """Play `samples`, once or over and over.

        `ended` is called after the last of them with True, or with False when something else is
        played before.
        """
        self._set(lambda to: resample(samples, rate, to).tobytes(), loop=loop and samples.size > 0)
        self._ended = ended

    def silence(self) -> None:
        """Play silence; packets are sent all the same."""
        self._set(lambda rate: b"", loop=False)

    def _set(self, make: Callable[[int], bytes], *, loop: bool) -> None:
        ended, self._ended = self._ended, None
        self._make, self._data = make, make(self._rate)
        self._position, self._loop = 0, loop
        if ended is not None:
            ended(False)

    def next(self, size: int) -> bytes:
        """The next frame, of `size` bytes."""
        self._last = frame = self._next(size)
        return frame

    def _next(self, size: int) -> bytes:
        data = self._data
        if not data:
            return bytes(size)
        start = self._position
        frame = data[start : start + size]
        self._position = start + size
        if len(frame) == size:
            return frame
        if self._loop:
            while len(frame) < size:
                missing = size - len(frame)
                frame += data[:missing]
                self._position = missing
            return frame
        ended, self._ended = self._ended, None
        self.silence()
        if ended is not None:
            ended(True)
        return frame.ljust(size, b"\0")

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
        self._detector: ToneDetector | None = None
        self._quiet = 0.0
        self._loud = 0.0
        self._silent: bool | None = None
        self.level_dbov = SILENCE_DBOV

    def hear(self, frame: bytes, rate: int, seconds: float) -> None:
        """Take the next frame, of `seconds` at `rate` Hz."""
        detector = self._detector
        if detector is None or detector.rate != rate:
            self.close()
            detector = self._detector = ToneDetector(rate)
        for edge in detector.feed(np.frombuffer(frame, dtype=np.int16)):
            self._tell(
                "media.tone",
                {
                    "hz": edge.hz,
                    "level_dbov": edge.level_dbov,
                    "on": edge.on,
                    "lasted": round(edge.at - edge.since, 3),
                },
            )
        self.level_dbov = level = detector.level_dbov
        if level > _SILENT:
            self._quiet = 0.0
            self._loud += seconds
            if self._silent is not False and self._loud >= _SOUND_AFTER:
                self._silent = False
                self._tell("media.silence", {"on": False})
            return
        self._loud = 0.0
        self._quiet += seconds
        if not self._silent and self._quiet >= _SILENT_AFTER:
            self._silent = True
            self._tell("media.silence", {"on": True})

    def close(self) -> None:
        """The stream has ended: the tones that are on, end."""
        if self._detector is None:
            return
        for edge in self._detector.finish():
            self._tell(
                "media.tone",
                {"hz": edge.hz, "level_dbov": edge.level_dbov, "on": False, "ended": True},
            )
