"""When a wait for spoken words ends: at the words, and at a miss not before all is recognised."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from sandbox.audio import Samples
from sandbox.errors import DeadlineMissed
from sandbox.speech import recogniser, voice
from sandbox.speech.local import SPEECH_RATE
from sandbox.talk import Chunk, Take
from sandbox.timeline import Event, Match, Timeline, now

RATE = 8000
_NOTHING = np.zeros(0, dtype=np.int16)


class End:
    """An end that hears what the test lets it."""

    end_name = "call test"

    def __init__(self) -> None:
        self.timeline = Timeline()
        self.at = 1000.0
        self.played: list[float] = []

    async def play_samples(self, samples: Samples, rate: int) -> bool:
        self.played.append(samples.size / rate)
        return True

    async def listen(self, take: Take) -> None:
        self.take = take

    def note(self, name: str, /, *, at: float, of: str = "", **data: Any) -> Event:
        event = Event(source="phone", name=name, at=at, data=data)
        self.timeline.add(event)
        return event

    async def noted(
        self, match: Match, *, within: float, expected: str, since: int = 0, about: Match
    ) -> Event:
        return await self.timeline.wait(
            match,
            within=within,
            expected=expected,
            since=since,
            unless=lambda e: e.name == "call.ended",
        )

    def notes(self, since: int = 0) -> list[tuple[int, Event]]:
        return list(enumerate(self.timeline.since(since), start=since))

    def hear(self, seconds: float, level: int) -> None:
        """Sound of an even level."""
        samples = np.full(round(seconds * RATE), level, dtype=np.int16)
        self.take(Chunk(self.at, RATE, samples, _NOTHING))
        self.at += seconds


class Model:
    """Recognises the same words in anything, when it is told to."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.go = asyncio.Event()
        self.seconds = 0.0
        self.loaded: list[str] = []

    def load(self, part: str) -> None:
        self.loaded.append(part)

    async def say(self, text: str) -> Samples:
        return np.ones(SPEECH_RATE, dtype=np.int16)

    async def recognise(self, samples: Samples, rate: int) -> str:
        self.seconds = samples.size / rate
        self.asked.set()
        await self.go.wait()
        return "Your order is ready."


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    made = Model()
    for module in (recogniser, voice):
        monkeypatch.setattr(module, "local_speech", lambda: made)
    return made


async def waiting(end: End, text: str, within: float) -> asyncio.Task[Event]:
    """A wait for words, on an end that has just begun to hear some."""
    task = asyncio.create_task(voice.Voice(end).hears(text, within=within, tolerance=0.2))
    await asyncio.sleep(0)
    end.hear(1.0, 8000)
    return task


async def test_words_that_were_said_in_time_may_be_recognised_later(model: Model) -> None:
    end = End()
    task = await waiting(end, "order is ready", 0.05)
    end.hear(0.5, 0)
    await model.asked.wait()
    await asyncio.wait({task}, timeout=0.2)
    assert not task.done()
    model.go.set()
    assert (await task).data["text"] == "Your order is ready."


async def test_a_miss_is_told_once_all_is_recognised(model: Model) -> None:
    end, started = End(), now()
    task = await waiting(end, "we are closed", 0.05)
    end.hear(0.5, 0)
    model.go.set()
    with pytest.raises(DeadlineMissed) as error:
        await task
    assert now() - started < voice._RECOGNITION / 4
    assert "heard instead: 'Your order is ready.'" in error.value.cause


async def test_what_was_being_said_when_the_call_ended_is_heard(model: Model) -> None:
    end = End()
    task = await waiting(end, "order is ready", 5.0)
    model.go.set()
    end.note("call.ended", at=now())
    assert (await task).data["text"] == "Your order is ready."
    assert model.seconds == 1.0


async def test_who_waits_for_words_has_the_voice_loaded_as_well(model: Model) -> None:
    task = await waiting(End(), "order is ready", 5.0)
    assert model.loaded == ["model", "voice"]
    task.cancel()


async def test_only_the_first_words_have_a_pause_before_them(model: Model) -> None:
    end = End()
    speaker = voice.Voice(end)
    await speaker.says("one")
    await speaker.says("two")
    assert end.played == [1.2, 1.0]
