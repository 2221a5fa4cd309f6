"""Speech through the real codecs of a call, with PyAV (libavcodec, libopus)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np

from sandbox.audio import Samples

_RATES = {"pcm_mulaw": 8000, "pcm_alaw": 8000, "g722": 16000, "libopus": 48000}


def _resampled(samples: Samples, rate: int, to: int) -> Samples:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=to)
    frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
    frame.sample_rate = rate
    frames = [*resampler.resample(frame), *resampler.resample(None)]
    return np.concatenate([np.asarray(f.to_ndarray()[0], dtype=np.int16) for f in frames])


def through(samples: Samples, rate: int, *codecs: str, bit_rate: int = 24000) -> Samples:
    """`samples`, encoded and decoded by each of `codecs` in turn, at the codec's own rate."""
    for codec in codecs:
        samples = _coded(samples, rate, codec, bit_rate)
    return samples


def _coded(samples: Samples, rate: int, codec: str, bit_rate: int) -> Samples:
    own = _RATES[codec]
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.sample_rate, encoder.format, encoder.layout = own, "s16", "mono"
    encoder.time_base = Fraction(1, own)
    if codec == "libopus":
        encoder.bit_rate = bit_rate
        encoder.options = {"application": "voip", "frame_duration": "20"}
    encoder.open()
    decoder: Any = av.CodecContext.create(codec, "r")
    decoder.sample_rate, decoder.layout = own, "mono"
    wave = _resampled(samples, rate, own)
    size = own // 50
    wave = np.pad(wave, (0, -wave.size % size))
    packets: list[Any] = []
    for start in range(0, wave.size, size):
        frame = av.AudioFrame.from_ndarray(
            wave[None, start : start + size], format="s16", layout="mono"
        )
        frame.sample_rate = own
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    back = av.AudioResampler(format="s16", layout="mono", rate=rate)
    frames = [r for p in packets for f in decoder.decode(p) for r in back.resample(f)]
    frames += back.resample(None)
    return np.concatenate([np.asarray(f.to_ndarray()[0], dtype=np.int16) for f in frames])
