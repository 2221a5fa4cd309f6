"""Text as tones, exact to the letter: `encode` makes the sound, `Decoder` reads it.

The bytes of the text (UTF-8), their number and a CRC-16 become a Reed-Solomon code word, each byte
of which is one symbol of `sandbox.speech.modem`. To n bytes come six and a quarter of n of parity:
half as many symbols may be heard wrong, or all as many not at all. Text is carried at 20 (short) to
30 (long) characters a second, faster than speech. It survives G.711, G.722 and Opus, changes
of level, and what jitter buffers do: audio that is lost, stretched, left out or played twice.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from reedsolo import ReedSolomonError, RSCodec

from sandbox.audio import Samples
from sandbox.speech import modem

__all__ = ["Begun", "Decoder", "Heard", "Partial", "duration", "encode"]

#: The bit of the header that says that another code word belongs to the text; the rest is a length.
_MORE = 0x80
#: The most bytes of text in one code word; longer text goes in several.
_LONGEST = 0x7F
_OVERHEAD = 3
_LONGEST_WORD = 200


def _parity(data: int) -> int:
    """How many parity bytes `data` bytes get."""
    return 6 + 2 * -(-data // 8)


@cache
def _data_size(word: int) -> int | None:
    """How many of a code word's bytes are data; None if no code word has this length."""
    return next((k for k in range(_OVERHEAD, word) if k + _parity(k) == word), None)


@cache
def _codec(parity: int) -> RSCodec:
    return RSCodec(parity)


@cache
def _whitener() -> bytes:
    """What bytes are mixed with by their place, so that no text is a steady tone."""
    state, out = 0x5A, bytearray()
    for _ in range(_LONGEST_WORD):
        state = (state * 29 + 67) & 0xFF
        out.append(state ^ (state >> 3))
    return bytes(out)


def _whiten(word: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(word, _whitener(), strict=False))


def _value(symbols: dict[int, modem.Symbol], index: int) -> int:
    """The byte that was heard in a place, or that of a question mark."""
    symbol = symbols.get(index)
    return ord("?") ^ _whitener()[index] if symbol is None else symbol.value


def _words(text: str) -> Iterator[bytes]:
    raw = text.encode()
    pieces = [raw[i : i + _LONGEST] for i in range(0, len(raw), _LONGEST)] or [b""]
    for number, piece in enumerate(pieces):
        header = len(piece) | (_MORE if number < len(pieces) - 1 else 0)
        data = bytes([header]) + piece
        data += binascii.crc_hqx(data, 0xFFFF).to_bytes(2, "big")
        yield _whiten(bytes(_codec(_parity(len(data))).encode(data)))


def duration(text: str) -> float:
    """How long `text` takes to say, in seconds."""
    return sum(modem.seconds(len(word)) for word in _words(text))


def encode(text: str, rate: int, *, level_dbov: float = -12.0) -> Samples:
    """`text` as 16-bit mono PCM.

    Args:
        text: any text; an empty one is a message too.
        rate: samples a second, 8000 at least.
        level_dbov: its level, in dBov.

    Raises:
        ValueError: the rate is too low.
    """
    import numpy as np

    return np.concatenate(
        [modem.modulate(word, rate, level_dbov=level_dbov) for word in _words(text)]
    )


@dataclass(frozen=True, slots=True)
class Begun:
    """A message has begun.

    Attributes:
        at: where, in seconds of audio since the first sample.
    """

    at: float


@dataclass(frozen=True, slots=True)
class Partial:
    """More of a message was heard.

    Attributes:
        text: the message so far, not yet checked.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Heard:
    """A message has ended.

    Attributes:
        text: the message; where `exact` is False, what could be read of it.
        exact: whether it is to the letter what was sent (its checksum says so).
        began: where it began, in seconds of audio since the first sample.
        ended: where it ended.
        symbols: how many symbols it had.
        lost: how many of them were not heard at all.
        mended: how many were heard wrong, or lost, and mended.
        problem: why it is not exact, in words.
    """

    text: str
    exact: bool
    began: float
    ended: float
    symbols: int
    lost: int = 0
    mended: int = 0
    problem: str = ""


class Decoder:
    """Reads messages from a stream of 16-bit mono PCM."""

    def __init__(self, rate: int) -> None:
        """Make a decoder.

        Args:
            rate: samples a second, 8000 at least.

        Raises:
            ValueError: the rate is too low.
        """
        self._demodulator = modem.Demodulator(rate)
        self._began = 0.0
        self._symbols: dict[int, modem.Symbol] = {}
        self._before = b""
        self._before_counts = (0, 0, 0)
        self._partial = ""

    @property
    def rate(self) -> int:
        """Samples a second."""
        return self._demodulator.rate

    def feed(self, samples: Samples) -> list[Begun | Partial | Heard]:
        """Take the next samples, any number of them; what was read with them, oldest first."""
        return self._read(self._demodulator.feed(samples))

    def finish(self) -> list[Begun | Partial | Heard]:
        """The stream has ended: a message that was going on is cut."""
        return self._read(self._demodulator.finish())

    def _read(
        self, found: list[modem.Began | modem.Symbol | modem.Ended]
    ) -> list[Begun | Partial | Heard]:
        told: list[Begun | Partial | Heard] = []
        for item in found:
            match item:
                case modem.Began():
                    self._symbols = {}
                    if not self._before:
                        self._began = item.at
                        self._partial = ""
                        told.append(Begun(item.at))
                case modem.Symbol():
                    self._symbols[item.index] = item
                case modem.Ended():
                    # Marks without a symbol between them are no message.
                    if self._symbols:
                        told.extend(self._finish(item))
                    self._symbols = {}
        if self._symbols:
            so_far = self._so_far()
            if so_far != self._partial:
                self._partial = so_far
                told.append(Partial(so_far))
        return told

    def _so_far(self) -> str:
        """What was heard of a message, unchecked; the code word begins with its text."""
        return (self._before + self._text_bytes(max(self._symbols) + 1)).decode(errors="ignore")

    def _text_bytes(self, count: int) -> bytes:
        """The bytes of text among the first `count` symbols, by the length that comes first."""
        word = _whiten(bytes(_value(self._symbols, i) for i in range(min(count, _LONGEST_WORD))))
        length = word[0] & ~_MORE if 0 in self._symbols else _LONGEST
        return word[1 : 1 + length]

    def _finish(self, end: modem.Ended) -> list[Begun | Partial | Heard]:
        result, count, got = None, end.count, len(self._symbols)
        for reading, size in self._ways(self._symbols, end.count):
            result = self._decode(reading, size)
            if result is not None:
                count, got = size, sum(index < size for index in reading)
                break
        before_symbols, before_lost, before_mended = self._before_counts
        symbols = before_symbols + count
        lost = before_lost + count - got
        if result is None:
            text, self._before, self._before_counts = self._readable(end), b"", (0, 0, 0)
            return [
                Heard(text, False, self._began, end.at, symbols, lost, 0, self._problem(end, lost))
            ]
        header, piece, mended = result
        mended += before_mended
        raw = self._before + piece
        if header & _MORE:
            self._before, self._before_counts = raw, (symbols, lost, mended)
            return []
        self._before, self._before_counts = b"", (0, 0, 0)
        return [Heard(raw.decode(), True, self._began, end.at, symbols, lost, mended)]

    @classmethod
    def _ways(
        cls, symbols: dict[int, modem.Symbol], count: int
    ) -> Iterator[tuple[dict[int, modem.Symbol], int]]:
        """The symbols by place, and how many there may have been, likely ones first."""
        for reading, last in cls._readings(symbols, count):
            # A symbol lost just before the end was not counted, or one was counted twice.
            for size in (last, last + 1, last + 2, last - 1):
                yield reading, size

    @staticmethod
    def _readings(
        symbols: dict[int, modem.Symbol], count: int
    ) -> Iterator[tuple[dict[int, modem.Symbol], int]]:
        """The symbols by place and their count: as heard, and with doubtful ones left out."""
        yield symbols, count
        # The beginning was not heard: as many more as parity can make up for.
        for late in range(4, _parity(count), 4):
            yield {index + late: symbol for index, symbol in symbols.items()}, count + late
        doubtful = sorted(index for index, symbol in symbols.items() if symbol.doubtful)
        ways = [doubtful] if len(doubtful) > 1 else []
        for left_out in ways + [[index] for index in doubtful[:4]]:

            def place(index: int, left_out: list[int] = left_out) -> int:
                return index - 4 * sum(index > out for out in left_out)

            yield (
                {place(i): s for i, s in symbols.items() if i not in left_out},
                count - 4 * len(left_out),
            )
        # Four or eight in a row were lost unnoticed, or came twice: it may be anywhere, the end
        # first, and a stride of parity still holds it.
        for many in (4, 8):
            stride = max(1, (_parity(count) - many) // 2)
            for split in range(count - 1, 0, -stride):
                yield {i + many * (i >= split): s for i, s in symbols.items()}, count + many
            for split in range(count - many, 0, -stride):
                yield (
                    {
                        i - many * (i >= split + many): s
                        for i, s in symbols.items()
                        if not split <= i < split + many
                    },
                    count - many,
                )

    def _readable(self, end: modem.Ended) -> str:
        """What can be read of a message that cannot be decoded."""
        return (self._before + self._text_bytes(end.count)).decode(errors="replace")

    @staticmethod
    def _problem(end: modem.Ended, lost: int) -> str:
        if not end.whole:
            return "the tones stopped in the middle of it"
        if lost:
            return f"its checksum failed: {lost} of {end.count} symbols were not heard"
        return "its checksum failed: more symbols were heard wrong than can be mended"

    @staticmethod
    def _decode(symbols: dict[int, modem.Symbol], count: int) -> tuple[int, bytes, int] | None:
        """The header, text and number of mended symbols of a code word of `count` bytes."""
        size = _data_size(count) if count <= _LONGEST_WORD else None
        if size is None:
            return None
        word = _whiten(bytes(_value(symbols, i) for i in range(count)))
        lost = [i for i in range(count) if i not in symbols]
        parity = count - size
        weak = sorted((s.margin, i) for i, s in symbols.items() if s.margin < 2.0 and i < count)
        for doubted in ([], [i for _, i in weak][: max(0, parity * 2 // 3 - len(lost))]):
            erased = sorted({*lost, *doubted})
            if len(erased) > parity:
                continue
            try:
                data, whole, _ = _codec(parity).decode(bytearray(word), erase_pos=erased)
            except ReedSolomonError:
                continue
            data = bytes(data)
            if binascii.crc_hqx(data[:-2], 0xFFFF) != int.from_bytes(data[-2:], "big"):
                continue
            if data[0] & ~_MORE != len(data) - _OVERHEAD:
                continue
            mended = sum(a != b for a, b in zip(word, bytes(whole), strict=True))
            return data[0], data[1:-2], mended
        return None
