"""Tones in 16-bit PCM: making them, and detecting them while the samples arrive.

Levels are in dBov: 0 dBov is the power of the loudest square wave, so a full-scale sine has
-3.01 dBov (RFC 6464, appendix A).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "SILENCE_DBOV",
    "Samples",
    "ToneDetector",
    "ToneEdge",
    "level_dbov",
    "resample",
    "sine",
]

Samples = npt.NDArray[np.int16]

#: The level that is reported for digital silence, in dBov (RFC 6464: -127 is the lowest).
SILENCE_DBOV = -127.0

_FULL_SCALE = 32768.0
_STEADY_DB = 0.5
#: A tone that stands so far off, in Hz, for so many windows is told anew.
_ASTRAY_HZ = 5.0
_ASTRAY_TIMES = 4


def sine(hz: float, seconds: float, *, rate: int, level_dbov: float = -12.0) -> Samples:
    """A sine that starts at phase 0.

    Args:
        hz: its frequency, in Hz, below half of `rate`.
        seconds: its length.
        rate: samples a second.
        level_dbov: its level, in dBov; -3.01 is the loudest sine without clipping.

    Raises:
        ValueError: the frequency or the level cannot be represented.
    """
    if not 0 < hz < rate / 2:
        raise ValueError(f"{hz:g} Hz is not between 0 and half of {rate} Hz")
    amplitude = _FULL_SCALE * 10 ** (level_dbov / 20) * math.sqrt(2)
    if amplitude > _FULL_SCALE * 1.001:
        raise ValueError(f"a sine of {level_dbov:g} dBov clips; the loudest is -3.01 dBov")
    time = np.arange(round(seconds * rate), dtype=np.float64) / rate
    wave = np.clip(np.rint(amplitude * np.sin(2 * math.pi * hz * time)), -32768, 32767)
    return wave.astype(np.int16)


def level_dbov(samples: Samples) -> float:
    """The level of `samples`, in dBov; `SILENCE_DBOV` for none and for digital silence."""
    if samples.size == 0:
        return SILENCE_DBOV
    wide = samples.astype(np.float32)
    power = float(np.dot(wide, wide)) / samples.size
    return _dbov(power)


def resample(samples: Samples, rate: int, to: int) -> Samples:
    """`samples` of `rate` as samples of `to` Hz.

    Going down, what the lower rate cannot carry is taken out first (a windowed sinc of 64 taps of
    the lower rate); then samples are interpolated linearly.
    """
    if rate == to or samples.size == 0:
        return samples
    wave = samples.astype(np.float32)
    if to < rate:
        half = 32 * rate // to
        at = np.arange(-half, half + 1)
        # 0.94: the filter is down by its full depth at the new rate's half.
        cutoff = 0.94 * to / rate
        taps = (np.sinc(cutoff * at) * np.blackman(at.size)).astype(np.float32)
        taps /= float(np.sum(taps))
        wave = np.convolve(wave, taps)[half : half + samples.size]
    points = np.arange(round(samples.size * to / rate)) * rate / to
    made = np.interp(points, np.arange(samples.size), wave)
    result: Samples = np.clip(np.rint(made), -32768, 32767).astype(np.int16)
    return result


def _dbov(power: float) -> float:
    if power <= 0.0:
        return SILENCE_DBOV
    return max(SILENCE_DBOV, 10 * math.log10(power / _FULL_SCALE**2))


@dataclass(frozen=True, slots=True)
class ToneEdge:
    """A tone began or ended.

    Attributes:
        hz: its frequency, in Hz.
        level_dbov: its level when it began, in dBov.
        on: whether it began.
        at: where in the stream this was decided, in seconds of audio since the first sample.
        since: where the tone was first seen, in seconds of audio.
    """

    hz: float
    level_dbov: float
    on: bool
    at: float
    since: float


def _distance(hz: float) -> Callable[[tuple[float, float]], float]:
    return lambda found: abs(found[0] - hz)


@dataclass(slots=True)
class _Candidate:
    hz: float
    level: float
    since: float
    hits: int = 1
    misses: int = 0
    on: bool = False
    #: Where it was seen instead of `hz`, and in how many windows in a row.
    astray: float = 0.0
    astray_times: int = 0


class ToneDetector:
    """Finds steady tones, up to four at a time, in a stream of 16-bit mono PCM.

    A 40 ms Hann window moves in steps of 20 ms; a spectral peak that holds a fair share of the
    window's energy and stays in place with a steady level is a tone, so a tone is reported
    60 ms after its first sample. It ends after three steps without it, which lets one lost packet
    pass. Digital silence and a single tone that goes on cost next to nothing.
    """

    def __init__(
        self, rate: int, *, threshold_dbov: float = -50.0, share: float = 0.12, max_tones: int = 4
    ) -> None:
        """Make a detector.

        Args:
            rate: samples a second.
            threshold_dbov: the level below which a tone is not one, in dBov.
            share: the part of the window's energy that a tone holds at least.
            max_tones: how many tones at a time at most.
        """
        self.rate = rate
        self._hop = rate // 50
        self._size = 2 * self._hop
        self._window = np.hanning(self._size).astype(np.float32)
        # Power of a sine through the window: (A/2 * sum(w))^2 at its peak; see _peaks.
        self._gain = float(np.sum(self._window))
        self._energy_gain = float(np.sum(self._window**2))
        self._threshold = 10 ** (threshold_dbov / 10) * _FULL_SCALE**2
        self._share = share
        self._max_tones = max_tones
        self._pending: list[Samples] = []
        self._pending_size = 0
        self._previous = np.zeros(self._hop, dtype=np.float32)
        self._steps = 0
        self._candidates: list[_Candidate] = []
        self._alone: npt.NDArray[np.float32] | None = None
        #: The level of the last 20 ms, in dBov.
        self.level_dbov = SILENCE_DBOV

    @property
    def tones(self) -> tuple[float, ...]:
        """The frequencies of the tones that are on, in Hz."""
        return tuple(c.hz for c in self._candidates if c.on)

    def feed(self, samples: Samples) -> Sequence[ToneEdge]:
        """Take the next samples, any number of them.

        Returns:
            The edges decided with them, oldest first.
        """
        if self._pending_size == 0 and samples.size == self._hop:
            return self._step(samples)
        self._pending.append(samples)
        self._pending_size += samples.size
        if self._pending_size < self._hop:
            return ()
        joined = np.concatenate(self._pending)
        edges: list[ToneEdge] = []
        position = 0
        while joined.size - position >= self._hop:
            edges.extend(self._step(joined[position : position + self._hop]))
            position += self._hop
        rest = joined[position:].copy()
        self._pending = [rest] if rest.size else []
        self._pending_size = rest.size
        return edges

    def finish(self) -> Sequence[ToneEdge]:
        """The stream has ended: the off edges of the tones that are still on."""
        edges = [self._edge(c, on=False) for c in self._candidates if c.on]
        self._candidates.clear()
        self._alone = None
        return edges

    def _step(self, block: Samples) -> Sequence[ToneEdge]:
        current = block.astype(np.float32)
        self._steps += 1
        power = float(np.dot(current, current)) / self._hop
        self.level_dbov = _dbov(power)
        previous, self._previous = self._previous, current
        if power < self._threshold and not self._candidates:
            return ()
        if self._alone is not None and self._goes_on(current, power):
            return ()
        found = self._peaks(np.concatenate((previous, current)))
        return self._track(found)

    def _goes_on(self, block: npt.NDArray[np.float32], power: float) -> bool:
        """Whether the one tone that is on holds all of a block's energy: no need for a spectrum."""
        assert self._alone is not None
        cosine, sine_ = self._alone @ block
        share = (float(cosine) ** 2 + float(sine_) ** 2) * 2 / self._hop**2
        return share > 0.95 * power

    def _peaks(self, block: npt.NDArray[np.float32]) -> list[tuple[float, float]]:
        """The (frequency, level in dBov) of the strongest peaks of a window."""
        shaped = block * self._window
        total = float(np.dot(shaped, shaped))
        if total / self._energy_gain < self._threshold:
            return []
        spectrum = np.abs(np.fft.rfft(shaped))
        found: list[tuple[float, float]] = []
        for _ in range(self._max_tones):
            k = int(np.argmax(spectrum))
            if k < 2 or k > spectrum.size - 3:
                break
            left, mid, right = (float(x) for x in spectrum[k - 1 : k + 2])
            # The offset of a peak between two bins of a Hann window, from the ratio of the
            # stronger neighbour: exact for a pure tone (Grandke, 1983).
            if right >= left:
                ratio = right / mid
                offset = (2 * ratio - 1) / (ratio + 1)
            else:
                ratio = left / mid
                offset = -(2 * ratio - 1) / (ratio + 1)
            # The energy of the main lobe (four bins wide) against that of the whole window.
            lobe = float(np.sum(spectrum[k - 2 : k + 3] ** 2)) * 2 / self._size
            power = lobe / self._energy_gain
            if lobe < self._share * total or power < self._threshold:
                break
            found.append(((k + offset) * self.rate / self._size, _dbov(power)))
            spectrum[max(0, k - 3) : k + 4] = 0.0
        return found

    def _track(self, found: list[tuple[float, float]]) -> Sequence[ToneEdge]:
        edges: list[ToneEdge] = []
        near = 0.5 * self.rate / self._size
        for candidate in self._candidates:
            match = min(found, key=_distance(candidate.hz), default=None)
            if match is None or abs(match[0] - candidate.hz) > near:
                candidate.misses += 1
                continue
            found.remove(match)
            candidate.misses = 0
            candidate.hits += 1
            if candidate.on:
                edges.extend(self._corrected(candidate, *match))
                continue
            # A window that the tone fills has the level of the one before: now it is exact.
            steady = abs(match[1] - candidate.level) < _STEADY_DB
            candidate.hz, candidate.level = match
            if steady or candidate.hits >= 5:
                candidate.on = True
                edges.append(self._edge(candidate, on=True))
        kept: list[_Candidate] = []
        for candidate in self._candidates:
            if candidate.misses >= (3 if candidate.on else 1):
                if candidate.on:
                    edges.append(self._edge(candidate, on=False))
            else:
                kept.append(candidate)
        now = (self._steps - 1) * self._hop / self.rate
        kept.extend(_Candidate(hz, level, now) for hz, level in found)
        self._candidates = kept
        self._alone = None
        if len(kept) == 1 and kept[0].on and not kept[0].misses:
            phase = 2 * math.pi * kept[0].hz / self.rate * np.arange(self._hop)
            self._alone = np.stack((np.cos(phase), np.sin(phase))).astype(np.float32)
        return edges

    def _corrected(self, candidate: _Candidate, hz: float, level: float) -> Sequence[ToneEdge]:
        """A tone that was disturbed when it began was told at a frequency that is not its own."""
        if abs(hz - candidate.hz) < _ASTRAY_HZ:
            candidate.astray_times = 0
            return ()
        if abs(hz - candidate.astray) >= 1.0:
            candidate.astray, candidate.astray_times = hz, 0
        candidate.astray_times += 1
        if candidate.astray_times < _ASTRAY_TIMES:
            return ()
        ended = self._edge(candidate, on=False)
        candidate.hz, candidate.level, candidate.astray_times = hz, level, 0
        return (ended, self._edge(candidate, on=True))

    def _edge(self, candidate: _Candidate, *, on: bool) -> ToneEdge:
        return ToneEdge(
            hz=round(candidate.hz, 1),
            level_dbov=round(candidate.level, 1),
            on=on,
            at=self._steps * self._hop / self.rate,
            since=candidate.since,
        )
