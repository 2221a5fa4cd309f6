"""The measures of a conversation, from utterances whose times are known."""

from __future__ import annotations

import numpy as np
import pytest

from sandbox.audio import sine
from sandbox.speech.conversation import Conversation, Segment, SpeechDetector, labelled, with_texts


def conversation(*segments: Segment, ended: float = 20.0) -> Conversation:
    return Conversation(dialled=9.0, answered=10.0, ended=ended, segments=segments)


GREETING = Segment("remote", 10.5, 12.0, "hello")
QUESTION = Segment("phone", 12.5, 14.0)
ANSWER = Segment("remote", 14.8, 17.0)


def test_answer_first_word_and_latency() -> None:
    talk = conversation(GREETING, QUESTION, ANSWER)
    assert talk.time_to_answer == pytest.approx(1.0)
    assert talk.time_to_first_word == pytest.approx(0.5)
    assert talk.latencies == pytest.approx((0.8,))
    assert talk.replies[0].by == ANSWER
    assert talk.speaking("remote") == pytest.approx(3.7)


def test_a_call_that_was_not_answered_has_no_times() -> None:
    talk = Conversation(dialled=9.0, answered=0.0, ended=20.0)
    assert (talk.time_to_answer, talk.time_to_first_word, talk.silences()) == (None, None, ())


def test_silences_between_utterances_and_before_the_end() -> None:
    talk = conversation(GREETING, QUESTION, ANSWER)
    assert [began for began, _ in talk.silences(longer_than=0.7)] == [14.0, 17.0]
    assert [length for _, length in talk.silences(longer_than=0.7)] == pytest.approx([0.8, 3.0])
    assert [began for began, _ in talk.silences()] == [17.0]


def test_an_interruption_says_who_stopped_and_how_fast() -> None:
    barge_in = Segment("phone", 16.0, 18.0)
    (found,) = conversation(ANSWER, barge_in).interruptions
    assert (found.by, found.at, found.stopped) == ("phone", 16.0, "remote")
    assert found.after == pytest.approx(1.0)
    assert conversation(ANSWER, barge_in).overlap == pytest.approx(1.0)


def test_who_talks_on_over_an_interruption_did_not_stop() -> None:
    aside = Segment("phone", 15.0, 15.4)
    (found,) = conversation(ANSWER, aside).interruptions
    assert found.stopped == "phone"
    assert found.after == pytest.approx(0.4)
    assert conversation(ANSWER, aside, Segment("remote", 17.5, 18.0)).latencies == ()


def test_who_stops_just_as_the_interruption_ends_has_stopped_and_answers_next() -> None:
    barge_in = Segment("phone", 16.0, 16.95)
    talk = conversation(ANSWER, barge_in, Segment("remote", 17.2, 18.0))
    (found,) = talk.interruptions
    assert (found.by, found.stopped) == ("phone", "remote")
    assert talk.latencies == pytest.approx((0.25,))


def test_utterances_are_found_by_level() -> None:
    quiet = np.zeros(8000, dtype=np.int16)
    voice = sine(300, 0.5, rate=8000, level_dbov=-30)
    pause = np.zeros(1600, dtype=np.int16)
    click = sine(300, 0.02, rate=8000, level_dbov=-30)
    wave = np.concatenate((quiet, voice, pause, voice, quiet, click, quiet, voice))
    detector = SpeechDetector("remote")
    for start in range(0, wave.size, 480):
        detector.feed(wave[start : start + 480], 8000, 100.0 + start / 8000)
    first, last = detector.segments
    assert [first.began, first.ended] == pytest.approx([101.0, 102.2])
    assert last.began == pytest.approx(104.22)


def test_known_texts_take_the_place_of_what_was_found_by_level() -> None:
    found = [Segment("remote", 1.0, 4.1), Segment("remote", 6.0, 7.0)]
    exact = [Segment("remote", 1.01, 2.0, "one"), Segment("remote", 2.2, 4.0, "two")]
    assert with_texts(found, exact) == [*exact, found[1]]
    assert labelled(found, exact) == [
        Segment("remote", 1.0, 2.0, "one"),
        Segment("remote", 2.2, 4.1, "two"),
        found[1],
    ]


def test_it_reads_as_a_script() -> None:
    assert str(conversation(GREETING)) == "   +0.50 s  remote  1.50 s  hello"
    assert str(conversation()) == "nobody spoke"
