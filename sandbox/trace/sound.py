"""A call's audio for a page: 8-bit mu-law, the outline of its waveform, a spectrogram."""

from __future__ import annotations

import base64
import wave
from pathlib import Path
from typing import Any

import numpy as np

from sandbox.audio import Samples

__all__ = ["read_mono", "sound_data", "to_mulaw"]

_COLUMNS = 900
_BINS = 64
_FLOOR_DB = -100.0


def read_mono(path: Path) -> tuple[Samples, int]:
    """The samples of a 16-bit mono WAV file and its rate, in Hz."""
    with wave.open(str(path), "rb") as file:
        return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2"), file.getframerate()


def to_mulaw(samples: Samples) -> bytes:
    """16-bit samples as mu-law (ITU-T G.711), one byte each."""
    wide = samples.astype(np.int32)
    magnitude = np.minimum(np.abs(wide), 32635) + 132
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    sign = np.where(wide < 0, 0x80, 0)
    return bytes((~(sign | exponent << 4 | mantissa) & 0xFF).astype(np.uint8))


def _outline(samples: Samples) -> bytes:
    """For each column the lowest and the highest sample, as signed bytes."""
    columns = max(1, min(_COLUMNS, samples.size))
    edges = np.linspace(0, samples.size, columns + 1).astype(int)[:-1]
    low = np.minimum.reduceat(samples, edges) >> 8
    high = np.maximum.reduceat(samples, edges) >> 8
    return np.stack([low, high], axis=1).astype(np.int8).tobytes()


def _spectrogram(samples: Samples) -> tuple[bytes, int]:
    """Levels of `_BINS` bands by column, 0 to 255 for -100 to 0 dB; and how many columns."""
    size = 2 * _BINS
    if samples.size < size:
        return b"", 0
    columns = min(_COLUMNS, max(1, samples.size // (size // 2)))
    starts = np.linspace(0, samples.size - size, columns).astype(int)
    frames = samples[starts[:, None] + np.arange(size)] / 32768.0
    power = np.abs(np.fft.rfft(frames * np.hanning(size), axis=1))[:, :_BINS] / (size / 4)
    level = 20 * np.log10(np.maximum(power, 1e-6))
    scaled = np.clip((level - _FLOOR_DB) / -_FLOOR_DB * 255, 0, 255).astype(np.uint8)
    return scaled.tobytes(), columns


def sound_data(path: Path) -> dict[str, Any]:
    """A WAV file as the page wants it: `rate`, `seconds`, and base64 of the rest.

    mu-law at the codec's own rate loses nothing that was on the wire of a G.711 call, and a
    minute of it is half a megabyte; every browser plays what the page makes of it.
    """
    samples, rate = read_mono(path)
    if samples.size == 0:
        return {"rate": rate, "seconds": 0.0, "level": 0}
    spectrum, columns = _spectrogram(samples)
    return {
        "rate": rate,
        "seconds": round(samples.size / rate, 3),
        "level": int(np.abs(samples.astype(np.int32)).max()),
        "mulaw": base64.b64encode(to_mulaw(samples)).decode(),
        "outline": base64.b64encode(_outline(samples)).decode(),
        "spectrum": base64.b64encode(spectrum).decode(),
        "columns": columns,
        "bins": _BINS,
    }
