"""The utterances of one voice, cut out of a stream and recognised one after the other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import numpy as np

from sandbox.audio import Samples
from sandbox.speech.conversation import Segment, SpeechDetector
from sandbox.speech.local import local_speech
from sandbox.talk import Chunk

__all__ = ["Recogniser"]

#: What is kept before and behind an utterance, in seconds.
_MARGIN = 0.2
#: The longest utterance, in seconds; of a longer one the end is recognised.
_LONGEST = 30.0


class Recogniser:
    """Recognises what is heard, once it is asked to; what was heard before, too."""

    def __init__(self, detector: SpeechDetector, tell: Callable[[Segment, str], None]) -> None:
        """Make a recogniser.

        Args:
            detector: finds the utterances in the same audio, and is fed before this is.
            tell: takes each utterance and its words.
        """
        self._detector = detector
        self._tell = tell
        self._audio: deque[Chunk] = deque()
        self._seen = 0
        self._waiting: deque[tuple[Segment, Samples, int]] = deque(maxlen=64)
        self._on = False
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        #: Why recognition failed; it is raised by who waits for words.
        self.failure: Exception | None = None

    async def idle(self) -> None:
        """Wait until nobody speaks and all is recognised; at once where that was not asked for."""
        while self._on and (self._detector.speaking or self._task is not None or self._waiting):
            self._news.clear()
            await self._news.wait()

    def start(self) -> None:
        """Recognise from now on, what was heard first."""
        self._on = True
        self._go_on()

    def feed(self, chunk: Chunk) -> None:
        """Take the next audio."""
        self._audio.append(chunk)
        self._cut_closed()
        while self._audio and self._audio[0].at < chunk.at - _LONGEST:
            self._audio.popleft()
        if self._on:
            self._go_on()
        self._news.set()

    def finish(self) -> None:
        """No audio will come any more: what was being said is said."""
        self._detector.finish()
        self._cut_closed()
        self._go_on()

    def _cut_closed(self) -> None:
        for segment in self._detector.closed[self._seen :]:
            self._seen += 1
            self._cut(segment, self._audio[-1].rate)

    def _cut(self, segment: Segment, rate: int) -> None:
        parts = [
            chunk.heard
            for chunk in self._audio
            if chunk.rate == rate
            and chunk.at + chunk.heard.size / rate > segment.began - _MARGIN
            and chunk.at < segment.ended + _MARGIN
        ]
        if parts:
            self._waiting.append((segment, np.concatenate(parts), rate))

    def _go_on(self) -> None:
        if self._task is None and self._waiting and self.failure is None:
            self._task = asyncio.create_task(self._work())

    async def _work(self) -> None:
        try:
            while self._waiting:
                segment, samples, rate = self._waiting.popleft()
                self._tell(segment, await local_speech().recognise(samples, rate))
        except Exception as error:
            self.failure = error
            self._tell(Segment("remote", 0.0, 0.0), "")
        finally:
            self._task = None
            self._news.set()
