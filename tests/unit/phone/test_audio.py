"""Making tones, measuring levels, and the tone detector."""

from __future__ import annotations

import numpy as np
import pytest

from sandbox.audio import SILENCE_DBOV, Samples, ToneDetector, ToneEdge, level_dbov, sine

RATES = (8000, 16000, 48000)


def _silence(seconds: float, rate: int) -> Samples:
    return np.zeros(round(seconds * rate), dtype=np.int16)


def _run(samples: Samples, rate: int, chunk: int | None = None) -> list[ToneEdge]:
    detector = ToneDetector(rate)
    step = chunk or rate // 50
    edges: list[ToneEdge] = []
    for start in range(0, samples.size, step):
        edges.extend(detector.feed(samples[start : start + step]))
    return edges


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("hz", [200, 440, 700.5, 1004, 2000, 3300])
def test_a_tone_is_found_once_with_its_frequency_and_level(rate: int, hz: float) -> None:
    samples = np.concatenate(
        (_silence(0.103, rate), sine(hz, 0.5, rate=rate, level_dbov=-20), _silence(0.2, rate))
    )
    on, off = _run(samples, rate)
    assert on.on
    assert not off.on
    assert on.hz == pytest.approx(hz, abs=1.5)
    assert on.level_dbov == pytest.approx(-20, abs=0.7)
    assert 0 < on.at - 0.103 <= 0.085
    assert 0 < off.at - 0.603 <= 0.1
    assert on.since == pytest.approx(0.1, abs=0.021)


@pytest.mark.parametrize("chunk", [1, 7, 159, 160, 161, 1000])
def test_frames_of_any_size_give_the_same_edges(chunk: int) -> None:
    samples = np.concatenate((_silence(0.1, 8000), sine(600, 0.3, rate=8000), _silence(0.2, 8000)))
    assert _run(samples, 8000, chunk) == _run(samples, 8000)


def test_two_tones_at_once() -> None:
    samples = sine(440, 0.5, rate=8000, level_dbov=-15) + sine(1000, 0.5, rate=8000, level_dbov=-18)
    edges = _run(samples, 8000)
    assert sorted(round(e.hz, -1) for e in edges if e.on) == [440, 1000]


def test_a_tone_joins_one_that_goes_on() -> None:
    first = sine(440, 1.0, rate=8000, level_dbov=-15)
    first[4000:] += sine(1000, 0.5, rate=8000, level_dbov=-18)
    edges = _run(first, 8000)
    assert [(round(e.hz, -1), e.on) for e in edges] == [(440, True), (1000, True)]


def test_one_lost_packet_does_not_end_a_tone_and_three_do() -> None:
    samples = sine(440, 1.0, rate=8000)
    samples[4000:4160] = 0
    assert [e.on for e in _run(samples, 8000)] == [True]
    samples[4000:4960] = 0
    assert [e.on for e in _run(samples, 8000)] == [True, False, True]


def test_noise_and_a_faint_tone_are_no_tones() -> None:
    generator = np.random.default_rng(1)
    noise = (generator.standard_normal(80000) * 3000).astype(np.int16)
    assert _run(noise, 8000) == []
    assert _run(sine(440, 0.5, rate=8000, level_dbov=-60), 8000) == []


def test_a_tone_in_noise_is_found() -> None:
    generator = np.random.default_rng(2)
    noise = (generator.standard_normal(8000) * 500).astype(np.int16)
    edges = _run(noise + sine(440, 1.0, rate=8000, level_dbov=-20), 8000)
    assert [round(e.hz) for e in edges if e.on] == [440]


def test_a_change_of_frequency_ends_one_tone_and_begins_another() -> None:
    edges = _run(np.concatenate((sine(440, 0.4, rate=8000), sine(480, 0.4, rate=8000))), 8000)
    assert [(round(e.hz, -1), e.on) for e in edges if e.on] == [(440, True), (480, True)]
    assert [round(e.hz, -1) for e in edges if not e.on] == [440]


def test_a_tone_told_wrong_because_it_was_disturbed_is_told_anew() -> None:
    edges = _run(np.concatenate((sine(452, 0.08, rate=8000), sine(440, 0.4, rate=8000))), 8000)
    assert [(round(e.hz, -1), e.on) for e in edges][:3] == [(450, True), (450, False), (440, True)]
    assert edges[2].at < 0.3


def test_the_end_of_a_stream_ends_its_tones() -> None:
    detector = ToneDetector(8000)
    detector.feed(sine(440, 0.3, rate=8000))
    assert [round(t) for t in detector.tones] == [440]
    assert [e.on for e in detector.finish()] == [False]
    assert detector.tones == ()
    assert detector.finish() == []


def test_levels() -> None:
    assert level_dbov(_silence(0.1, 8000)) == SILENCE_DBOV
    assert level_dbov(np.zeros(0, dtype=np.int16)) == SILENCE_DBOV
    assert level_dbov(np.full(100, -32768, dtype=np.int16)) == 0
    assert level_dbov(sine(100, 1, rate=8000, level_dbov=-30)) == pytest.approx(-30, abs=0.05)


@pytest.mark.parametrize(("hz", "level"), [(0, -12), (4000, -12), (5000, -12), (440, -2)])
def test_what_cannot_be_a_sine_is_refused(hz: float, level: float) -> None:
    with pytest.raises(ValueError, match=r"Hz|clips"):
        sine(hz, 0.1, rate=8000, level_dbov=level)
