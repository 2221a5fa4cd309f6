"""The tone alphabet: what is said is heard, or said not to have been."""

from __future__ import annotations

import random

import numpy as np
import pytest

from sandbox.audio import Samples, sine
from sandbox.speech import alphabet
from sandbox.speech.alphabet import Begun, Decoder, Heard, Partial
from tests.unit.speech.codecs import through

_LETTERS = "abcdefghijklmnopqrstuvwxyz ABC 0123456789 .,!?'\"\n\täöüßéñ€☎😀漢字"


def some_text(dice: random.Random, longest: int = 40) -> str:
    return "".join(dice.choice(_LETTERS) for _ in range(dice.randint(0, longest)))


def said(text: str, rate: int = 16000, level_dbov: float = -12.0) -> Samples:
    """`text` between two silences."""
    quiet = np.zeros(rate // 4, dtype=np.int16)
    return np.concatenate((quiet, alphabet.encode(text, rate, level_dbov=level_dbov), quiet))


def read(samples: Samples, rate: int = 16000, at_once: int = 640) -> list[Begun | Partial | Heard]:
    decoder = Decoder(rate)
    told: list[Begun | Partial | Heard] = []
    for start in range(0, samples.size, at_once):
        told += decoder.feed(samples[start : start + at_once])
    return told + decoder.finish()


def heard(samples: Samples, rate: int = 16000) -> list[Heard]:
    return [item for item in read(samples, rate) if isinstance(item, Heard)]


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 44100, 48000])
def test_any_text_at_any_rate(rate: int) -> None:
    dice = random.Random(rate)
    for _ in range(2):
        text = some_text(dice)
        (result,) = heard(said(text, rate), rate)
        assert (result.text, result.exact, result.lost, result.mended) == (text, True, 0, 0)


@pytest.mark.parametrize(
    "codecs",
    [
        ("pcm_mulaw", "libopus"),
        ("libopus", "pcm_mulaw"),
        ("pcm_alaw", "libopus"),
        ("libopus", "pcm_alaw"),
        ("g722", "libopus"),
        ("libopus", "g722"),
        ("pcm_mulaw", "libopus", "pcm_alaw"),
    ],
    ids="-".join,
)
@pytest.mark.parametrize("level", [-6.0, -35.0])
def test_it_survives_the_codecs_of_a_call(codecs: tuple[str, ...], level: float) -> None:
    dice = random.Random(f"{codecs}{level}")
    text = some_text(dice, 30)
    (result,) = heard(through(said(text, level_dbov=level), 16000, *codecs))
    assert (result.text, result.exact) == (text, True)


def mangled(samples: Samples, how: str, dice: random.Random) -> Samples:
    """Every twentieth frame of 20 ms is lost: silent, left out, played twice, or stretched."""
    frames = [samples[i : i + 320] for i in range(0, samples.size, 320)]
    out: list[Samples] = []
    for number, frame in enumerate(frames):
        if dice.random() >= 0.05:
            out.append(frame)
        elif how == "silent":
            out.append(np.zeros_like(frame))
        elif how == "replayed":
            out.append(frames[max(0, number - 1)])
        elif how == "stretched":
            out += [frame, frame[-80:]]
    return np.concatenate(out)


@pytest.mark.parametrize("how", ["silent", "left out", "replayed", "stretched"])
def test_lost_packets_and_a_busy_jitter_buffer_are_mended(how: str) -> None:
    dice = random.Random(how)
    for _ in range(5):
        text = some_text(dice)
        (result,) = heard(mangled(said(text), how, dice))
        assert (result.text, result.exact) == (text, True)


def test_noise_15_db_below_is_no_matter() -> None:
    text = "noise is no matter"
    noise = np.random.default_rng(1).normal(0, 1400, said(text).size)
    (result,) = heard((said(text) + noise).astype(np.int16))
    assert result.exact


def test_messages_one_after_another_are_told_apart() -> None:
    texts = ["one", "", "three"]
    wave = np.concatenate([alphabet.encode(text, 16000) for text in texts])
    assert [(r.text, r.exact) for r in heard(np.pad(wave, (0, 8000)))] == [
        (text, True) for text in texts
    ]


def test_a_long_text_goes_in_several_parts_and_comes_as_one() -> None:
    text = "".join(random.Random(3).choice(_LETTERS) for _ in range(300))
    (result,) = heard(said(text))
    assert (result.text, result.exact) == (text, True)


def test_it_says_where_a_message_lies_and_how_long_it_takes() -> None:
    text = "order 42"
    (result,) = heard(said(text))
    assert result.began == pytest.approx(0.25, abs=0.03)
    assert result.ended - result.began == pytest.approx(alphabet.duration(text), abs=0.06)


def test_it_is_faster_than_speech() -> None:
    sentence = "Your order will be there tomorrow at noon."
    assert len(sentence) / alphabet.duration(sentence) > 24


def test_a_beginning_that_was_not_heard_is_made_up_for() -> None:
    text = "the beginning of this is lost"
    wave = said(text)
    for lost in (4200, 5600, 7000):
        (result,) = heard(wave[lost:])
        assert (result.text, result.exact) == (text, True)


@pytest.mark.parametrize(
    "text", ["cut or twice", "the jitter buffer leaves out or repeats some of it"]
)
@pytest.mark.parametrize("ms", [-140, -120, -80, -40, -20, 20, 40, 80, 120, 160, 200])
def test_some_of_it_left_out_or_played_twice_is_mended(text: str, ms: int) -> None:
    wave = said(text)
    size = 16 * abs(ms)
    first = 4000 + 800
    places = range(first + size, wave.size - first - size, 1900)
    assert len(places) > 1
    for at in places:
        end = wave[at + size :] if ms < 0 else wave[at - size :]
        (result,) = heard(np.concatenate((wave[:at], end)))
        assert (result.text, result.exact) == (text, True)


def test_it_says_how_much_of_a_text_was_not_heard() -> None:
    wave = said("half a dozen").copy()
    wave[8000 : 8000 + 3 * 400] = 0
    (result,) = heard(wave)
    assert result.exact
    assert result.lost in (2, 3, 4)


def test_the_text_is_known_while_it_is_said() -> None:
    wave = said("the quick brown fox")
    told = read(wave[: wave.size // 2])
    texts = [item.text for item in told if isinstance(item, Partial)]
    assert len(texts) > 3
    assert "the quick brown fox".startswith(texts[-1][:6])
    last = told[-1]
    assert isinstance(last, Heard)
    assert not last.exact
    assert last.problem == "the tones stopped in the middle of it"
    assert "the quick brown fox".startswith(last.text[:6])


def test_a_message_that_cannot_be_mended_is_never_taken_for_exact() -> None:
    dice = random.Random(5)
    for _ in range(20):
        text = "never taken for exact"
        wave = said(text).copy()
        for _ in range(8):
            at = dice.randrange(6000, wave.size - 6000)
            wave[at : at + 1200] = dice.choice((0, 1)) * wave[at - 1200 : at]
        results = heard(wave)
        assert [r for r in results if r.exact and r.text != text] == []


def test_an_error_says_how_much_was_not_heard() -> None:
    wave = said("this will not be heard in full").copy()
    wave[12000:22000] = 0
    results = heard(wave)
    assert results
    assert not any(r.exact for r in results)
    assert results[0].text.startswith("this")
    assert results[0].problem


@pytest.mark.parametrize("noise", ["silence", "tone", "noise", "two tones"])
def test_nothing_is_read_from_what_is_no_message(noise: str) -> None:
    waves = {
        "silence": np.zeros(32000, dtype=np.int16),
        "tone": sine(1700, 2.0, rate=16000),
        "noise": np.random.default_rng(2).normal(0, 4000, 32000).astype(np.int16),
        "two tones": sine(1700, 2.0, rate=16000) + sine(1850, 2.0, rate=16000),
    }
    assert heard(waves[noise]) == []


def test_a_rate_below_8000_is_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        alphabet.encode("x", 6000)
    with pytest.raises(ValueError, match="too few"):
        Decoder(6000)
