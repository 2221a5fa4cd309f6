from __future__ import annotations

import pytest

from sandbox.errors import SetupError
from sandbox.speech import local
from sandbox.speech.words import compare, fold


def test_case_and_punctuation_do_not_matter() -> None:
    assert fold("Hello, it's WELL-known: 'yes'!") == ["hello", "it's", "well", "known", "yes"]


@pytest.mark.skipif(bool(local.missing()), reason=local.missing() or "speech is installed")
def test_numbers_are_one_however_they_are_written() -> None:
    assert fold("order forty two") == fold("Order 42.") == ["order", "42"]


def test_signs_are_the_words_they_stand_for() -> None:
    assert fold("It costs $19, 20% less.") == [
        "it",
        "costs",
        "19",
        "dollars",
        "20",
        "percent",
        "less",
    ]
    assert fold("$1") == ["1", "dollar"]


def test_more_may_be_said_around_it() -> None:
    assert compare("order 42 ships", "well hello order 42 ships tomorrow").rate == 0


@pytest.mark.parametrize(
    ("heard", "rate"),
    [("a b c d", 0.0), ("a x c d", 0.25), ("a c d", 0.25), ("a b y c d", 0.25), ("", 1.0)],
)
def test_the_rate_counts_wrong_missing_and_extra_words(heard: str, rate: float) -> None:
    assert compare("a b c d", heard).rate == rate
    assert compare("a b c d", heard, within=False).rate == rate


def test_both_texts_are_shown_aligned() -> None:
    match = compare("my order ships", "my old order sips", within=False)
    lines = [line[18:] for line in str(match).splitlines()]
    assert lines[1:] == ["my     order ships", "my old order sips", "   ^^^       ^^^^^"]


async def test_without_the_extra_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local, "find_spec", lambda name: None)
    with pytest.raises(SetupError) as error:
        await local.LocalSpeech().say("hello")
    assert "[speech] is not installed" in error.value.what
    assert "pip install 'livekit-sip-sandbox[speech]'" in error.value.remedy
