"""Bytes as tones: the symbols of the alphabet in 16-bit PCM, and their detection while they arrive.

A symbol is 25 ms of three tones at once, 75 Hz apart from any other: one of 16 low ones (500 to
1625 Hz) and one of 16 high ones (2000 to 3125 Hz), which are the two halves of a byte, and between
them one of four clock tones, which take turns. A symbol is told from the next by its clock and not
by time, so that a jitter buffer may stretch, shorten or drop audio; and a symbol that was lost
whole is noticed, since its turn is missing. Two clock tones at once begin a run of symbols, the two
others end it. All lies inside the 300 to 3400 Hz of a telephone line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sandbox.audio import Samples

__all__ = ["SYMBOL_SECONDS", "Began", "Demodulator", "Ended", "Symbol", "modulate", "seconds"]

SYMBOL_SECONDS = 0.025
_MARK_SECONDS = 0.05
_RAMP_SECONDS = 0.004

_SPACING = 75.0
_LOW = 500.0 + _SPACING * np.arange(16)
_CLOCK = 1700.0 + _SPACING * np.arange(4)
_HIGH = 2000.0 + _SPACING * np.arange(16)
_TONES = np.concatenate((_LOW, _CLOCK, _HIGH))
_BEGIN, _END = (0, 2), (1, 3)

_WINDOW_SECONDS = 0.02
_HOP_SECONDS = 0.005
_MARK_HOPS = 4
#: What part of a window's energy a mark holds at least.
_MARK_SHARE = 0.7
#: Three tones that stand so for this many hops are a symbol, although no mark came before it.
_OVERHEARD_HOPS = 3
#: How much of a mark is still to come when it was told, in seconds.
_MARK_REST = 0.03
#: A mark that is broken by a step in the sound is still one mark, within this many hops.
_MARK_AGAIN = 24
_HOPS = round(SYMBOL_SECONDS / _HOP_SECONDS)
#: Nothing but noise for this many hops ends a run whose end was not heard.
_LOST_HOPS = 40
#: Mean square below which a window is silence: -60 dBov.
_SILENCE = 32768.0**2 * 1e-6

Floats = npt.NDArray[np.float64]


def seconds(symbols: int) -> float:
    """How long a run of `symbols` lasts, in seconds."""
    return symbols * SYMBOL_SECONDS + 2 * _MARK_SECONDS


def _ramped(wave: Floats, rate: int) -> Floats:
    size = round(_RAMP_SECONDS * rate)
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(size) + 0.5) / size)
    wave[:size] *= ramp
    wave[-size:] *= ramp[::-1]
    return wave


def modulate(data: bytes, rate: int, *, level_dbov: float = -12.0) -> Samples:
    """A run of symbols, one for each byte of `data`.

    Args:
        data: what is carried.
        rate: samples a second, 8000 at least.
        level_dbov: the level of the whole, in dBov.

    Raises:
        ValueError: the rate is too low for the tones.
    """
    if rate < 8000:
        raise ValueError(f"the tones reach 3125 Hz: {rate} samples a second are too few")
    # Half the power of the three tones together is that of one with sqrt(3) times the amplitude.
    power = 2 * (32768.0 * 10 ** (level_dbov / 20)) ** 2

    def tones(hertz: Sequence[float], length: float) -> Floats:
        time = np.arange(round(length * rate)) / rate
        amplitude = np.sqrt(power / len(hertz))
        # Phases apart, so that the tones do not peak together.
        return _ramped(
            np.sum(
                [
                    amplitude * np.sin(2 * np.pi * hz * time + 2.1 * number)
                    for number, hz in enumerate(hertz)
                ],
                axis=0,
            ),
            rate,
        )

    parts = [tones([_CLOCK[i] for i in _BEGIN], _MARK_SECONDS)]
    for index, byte in enumerate(data):
        clock = _CLOCK[(index + 1) % 4]
        parts.append(tones([_LOW[byte >> 4], clock, _HIGH[byte & 15]], SYMBOL_SECONDS))
    parts.append(tones([_CLOCK[i] for i in _END], _MARK_SECONDS))
    return np.clip(np.rint(np.concatenate(parts)), -32768, 32767).astype(np.int16)


@dataclass(frozen=True, slots=True)
class Began:
    """A run of symbols began.

    Attributes:
        at: where, in seconds of audio since the first sample.
    """

    at: float


@dataclass(frozen=True, slots=True)
class Symbol:
    """A byte was heard.

    Attributes:
        index: its place in the run; a gap says that symbols were lost. Where the beginning was not
            heard, all of them may be multiples of four too low.
        value: the byte.
        margin: how much stronger the tones heard are than the next ones: 1 is a guess.
        doubtful: whether it may be a bit of noise instead, which put what follows four places on.
    """

    index: int
    value: int
    margin: float
    doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """A run of symbols ended.

    Attributes:
        at: where, in seconds of audio since the first sample.
        count: how many symbols it had, the lost ones too.
        whole: whether its end was heard; else the tones just stopped.
    """

    at: float
    count: int
    whole: bool


def _stands_out(shares: Floats) -> bool:
    """Whether one tone of each group does; where two symbols meet, or a mark and one, none does."""
    return all(
        float(np.max(group)) > max(0.05, 0.55 * float(np.sum(group)))
        for group in (shares[16:20], shares[:16], shares[20:])
    )


class _Current:
    """The symbol that is being heard."""

    def __init__(self, index: int, clock: int, hop: int) -> None:
        self.index = index
        self.clock = clock
        self.since = hop
        self.hops = 0
        self.doubtful = False
        self.energy = np.zeros(32)

    def add(self, shares: Floats) -> None:
        self.hops += 1
        self.energy[:16] += shares[:16]
        self.energy[16:] += shares[20:]

    def symbol(self) -> Symbol:
        values, margins = [], []
        for half in (self.energy[:16], self.energy[16:]):
            second, first = np.argsort(half)[-2:]
            values.append(int(first))
            margins.append(float(half[first] / max(half[second], 1e-9)))
        return Symbol(self.index, values[0] << 4 | values[1], min(margins), self.doubtful)


class Demodulator:
    """Finds runs of symbols in a stream of 16-bit mono PCM."""

    def __init__(self, rate: int) -> None:
        """Make a demodulator.

        Args:
            rate: samples a second, 8000 at least.

        Raises:
            ValueError: the rate is too low for the tones.
        """
        if rate < 8000:
            raise ValueError(f"the tones reach 3125 Hz: {rate} samples a second are too few")
        self.rate = rate
        self._hop = round(_HOP_SECONDS * rate)
        self._size = round(_WINDOW_SECONDS * rate)
        window = np.hanning(self._size)
        phase = 2j * np.pi * np.outer(np.arange(self._size) / rate, _TONES)
        kernel = window[:, None] * np.exp(phase)
        self._kernel = np.concatenate((kernel.real, kernel.imag), axis=1).astype(np.float32)
        self._power = (window**2).astype(np.float32)
        # A tone's share of a window's power, from its squared DFT and the window's energy.
        self._scale = 2 * float(np.sum(window**2)) / float(np.sum(window)) ** 2
        self._rest = np.zeros(0, dtype=np.float32)
        self._hops = 0
        self._marks = 0
        self._mark = -1000
        self._receiving = False
        self._current: _Current | None = None
        self._next: _Current | None = None
        self._before = -1
        self._overheard: tuple[tuple[int, ...], int] | None = None
        self._quiet = 0
        self._told: list[Began | Symbol | Ended] = []

    @property
    def at(self) -> float:
        """How much was taken, in seconds of audio."""
        return self._hops * self._hop / self.rate

    def feed(self, samples: Samples) -> list[Began | Symbol | Ended]:
        """Take the next samples, any number of them; what was found with them, oldest first."""
        stream = np.concatenate((self._rest, samples.astype(np.float32)))
        count = max(0, (stream.size - self._size) // self._hop + 1)
        self._rest = stream[count * self._hop :]
        if count == 0:
            return []
        windows = np.lib.stride_tricks.sliding_window_view(stream, self._size)
        windows = windows[:: self._hop][:count]
        total = (windows**2) @ self._power
        transform = windows @ self._kernel
        tones = _TONES.size
        energy = (transform[:, :tones] ** 2 + transform[:, tones:] ** 2) * self._scale
        silent = total < _SILENCE * float(np.sum(self._power))
        shares = energy / np.maximum(total, 1e-3)[:, None]
        shares[silent] = 0.0
        for row in shares:
            self._step(row.astype(np.float64))
            self._hops += 1
        told, self._told = self._told, []
        return told

    def finish(self) -> list[Began | Symbol | Ended]:
        """The stream has ended: the run that was going on is cut."""
        if self._receiving:
            self._end(whole=False)
        told, self._told = self._told, []
        return told

    def _step(self, shares: Floats) -> None:
        clocks = shares[16:20]
        if not self._receiving and not self._marks and float(np.sum(clocks)) <= _MARK_SHARE:
            self._overhear(shares, clocks)
            return
        pair = sorted(int(i) for i in np.argsort(clocks)[-2:])
        marked = (
            float(np.sum(clocks)) > _MARK_SHARE
            and float(np.min(clocks[pair])) > 0.15
            and tuple(pair) in (_BEGIN, _END)
        )
        ends = marked and tuple(pair) == _END
        # Counted up for a beginning, down for an end.
        if not marked:
            # A step in the sound does not undo what was heard of a mark.
            self._marks -= (self._marks > 0) - (self._marks < 0)
        elif ends:
            self._marks = min(self._marks, 0) - 1
        else:
            self._marks = max(self._marks, 0) + 1
        if marked and self._marks == _MARK_HOPS and self._hops - self._mark > _MARK_AGAIN:
            if self._receiving:
                self._end(whole=False)
            self._begin()
        elif self._receiving:
            if self._marks == -_MARK_HOPS:
                self._end(whole=True)
            elif not marked:
                self._receive(shares, clocks)

    def _overhear(self, shares: Floats, clocks: Floats) -> None:
        """Begin in the middle of a run, when its beginning was not heard."""
        if float(np.max(clocks)) < 0.1 or not _stands_out(shares) or float(np.sum(shares)) < 0.8:
            self._overheard = None
            return
        tones = tuple(int(np.argmax(part)) for part in (clocks, shares[:16], shares[20:]))
        if self._overheard is None or self._overheard[0] != tones:
            self._overheard = (tones, 0)
        self._overheard = (tones, self._overheard[1] + 1)
        if self._overheard[1] == _OVERHEARD_HOPS:
            self._begin()

    def _begin(self) -> None:
        self._overheard = None
        self._receiving = True
        self._mark = self._hops
        self._current = self._next = None
        self._before = -1
        self._quiet = 0
        self._told.append(Began(max(0.0, self.at - _MARK_HOPS * _HOP_SECONDS)))

    def _receive(self, shares: Floats, clocks: Floats) -> None:
        if not _stands_out(shares):
            self._quiet += 1
            if self._quiet >= _LOST_HOPS:
                self._end(whole=False)
            return
        self._quiet = 0
        clock = int(np.argmax(clocks))
        current = self._current
        if current is not None and clock == current.clock:
            current.add(shares)
            self._next = None
            return
        if self._next is None or self._next.clock != clock:
            self._next = _Current(0, clock, self._hops)
        self._next.add(shares)
        if self._next.hops < 2:
            return
        follows = self._index(self._next)
        if follows is None:
            return
        self._next.index = follows
        self._close()
        self._current, self._next = self._next, None

    def _index(self, following: _Current) -> int | None:
        """The place of a symbol, by its clock and, where some were lost, by time."""
        current = self._current
        if current is None:
            # The first symbol has clock 1; others say how many were lost.
            return (following.clock - 1) % 4
        step = (following.clock - current.clock) % 4
        elapsed = (following.since - current.since) / _HOPS
        if step == 3 and elapsed < 2:
            # Two were lost; or what was heard before is played again in place of a lost packet.
            again = following.symbol().value == self._before
            if again or following.hops < _HOPS * 5 // 8:
                return None
            following.doubtful = True
        while step + 4 <= elapsed + 1.5:
            step += 4
        return current.index + step

    def _close(self) -> None:
        if self._current is not None:
            symbol = self._current.symbol()
            self._told.append(symbol)
            self._before = symbol.value

    def _end(self, *, whole: bool) -> None:
        self._close()
        count = 0 if self._current is None else self._current.index + 1
        self._current = self._next = None
        self._receiving = False
        # An end is told in the middle of its mark.
        after = _MARK_REST if whole else -self._quiet * _HOP_SECONDS
        self._told.append(Ended(max(0.0, self.at + after), count, whole))
