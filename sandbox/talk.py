"""The seam between an end of a conversation (a call, a peer in a room) and speech.

The phone and the telephony package know how to play samples and what was heard; what it means is
the business of `sandbox.speech`, which lies above them and is wired in with `use`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sandbox.audio import Samples
from sandbox.errors import UsageError
from sandbox.timeline import Event, Match

if TYPE_CHECKING:
    from sandbox.speech.conversation import Conversation

__all__ = ["Audible", "Backlog", "Chunk", "Speech", "Take", "Talks", "use"]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of audio, as an end heard it.

    Attributes:
        at: when its first sample was heard, in Unix seconds.
        rate: samples a second.
        heard: what was heard.
        sent: what was sent in the meantime; empty where that is not known.
        of: whom it was heard from, where there may be several; else "".
    """

    at: float
    rate: int
    heard: Samples
    sent: Samples
    of: str = ""


Take = Callable[[Chunk], None]


class Backlog:
    """What was heard so far, for a listener that comes later: the last minute of it."""

    #: How much is kept, in seconds.
    SECONDS = 60.0

    def __init__(self) -> None:
        self._chunks: deque[Chunk] = deque()
        self._seconds = 0.0
        self._take: Take | None = None

    def add(self, chunk: Chunk) -> None:
        """Give the next chunk to the listener, or keep it until there is one."""
        if self._take is not None:
            self._take(chunk)
            return
        self._chunks.append(chunk)
        self._seconds += chunk.heard.size / chunk.rate
        while self._seconds > self.SECONDS:
            old = self._chunks.popleft()
            self._seconds -= old.heard.size / old.rate

    def listen(self, take: Take) -> None:
        """Give `take` what was kept, and then each chunk as it comes."""
        self._take = take
        while self._chunks:
            take(self._chunks.popleft())
        self._seconds = 0.0


class Audible(Protocol):
    """An end of a conversation: it plays samples, and tells what it hears."""

    @property
    def end_name(self) -> str:
        """What it is called in errors: `call l1.1`, `peer alice`."""

    async def play_samples(self, samples: Samples, rate: int) -> bool:
        """Play `samples`; returns after the last, or with False when another sound begins."""

    async def listen(self, take: Take) -> None:
        """Give `take` what was heard in the last minute, and from now on each chunk."""

    def note(self, name: str, /, *, at: float, of: str = "", **data: Any) -> Event:
        """Put an event of this end on the timeline; `at` and `of` as in `Chunk`."""

    async def noted(
        self, match: Match, *, within: float, expected: str, since: int = 0, about: Match
    ) -> Event:
        """Wait for an event of this end.

        Raises:
            DeadlineMissed: it did not come, or the end is gone.
        """

    def notes(self, since: int = 0) -> list[tuple[int, Event]]:
        """Its events after position `since` of the timeline, each with its own."""


class Speech(Protocol):
    """What speech makes of an end."""

    async def says_exactly(self, text: str, *, level_dbov: float) -> None:
        """See `Talks.says_exactly`."""

    async def hears_exactly(self, text: str, *, of: str | None, within: float) -> Event:
        """See `Talks.hears_exactly`."""

    async def hears_begin(self, *, of: str | None, within: float) -> Event:
        """See `Talks.hears_begin`."""

    async def hears_cut(self, *, of: str | None, within: float) -> Event:
        """See `Talks.hears_cut`."""

    async def says(self, text: str) -> None:
        """See `Talks.says`."""

    async def hears(self, text: str, *, within: float, tolerance: float) -> Event:
        """See `Talks.hears`."""

    async def listen(self, *, words: bool = False) -> None:
        """Begin to listen, and to recognise words if asked to; once is enough."""

    async def caught_up(self, *, within: float) -> bool:
        """Wait until nobody speaks and all words are recognised; whether that was in time."""

    def conversation(self, *, dialled: float, answered: float) -> Conversation:
        """The measures so far."""


_make: Callable[[Audible], Speech] | None = None


def use(make: Callable[[Audible], Speech]) -> None:
    """Have `make` give each end its speech; `sandbox.core` says which."""
    global _make
    _make = make


class Talks:
    """What an end can say and hear, in words."""

    _speech: Speech | None = None

    @property
    def speech(self: Any) -> Speech:
        """What does the talking.

        Raises:
            UsageError: nothing was wired in.
        """
        if self._speech is None:
            if _make is None:
                raise UsageError(
                    "nothing speaks here", remedy="import sandbox.core, which wires speech in"
                )
            self._speech = _make(self)
        speech: Speech = self._speech
        return speech

    async def attend(self, *, words: bool = False) -> None:
        """Begin to listen, a minute back, for the measures and the transcript of a conversation.

        All waits for words do so by themselves.

        Args:
            words: whether spoken words are recognised too, although none is waited for.

        Raises:
            PhoneError: the call has ended, or the phone is gone.
            SetupError: words were asked for, and the extra [speech] is not installed.
        """
        await self.speech.listen(words=words)

    async def says_exactly(self, text: str, *, level_dbov: float = -12.0) -> None:
        """Say `text` in the tone alphabet; returns when it was said to its end.

        Whoever listens by `hears_exactly` gets it to the letter; about 20 characters a second.

        Args:
            text: any text.
            level_dbov: its level, in dBov.

        Raises:
            DeadlineMissed: the call ended before it was said.
            PhoneError: the phone refused, or is gone.
        """
        await self.speech.says_exactly(text, level_dbov=level_dbov)

    async def hears_exactly(
        self, text: str, *, of: str | None = None, within: float = 5.0
    ) -> Event:
        """Wait until exactly `text` was heard, said in the tone alphabet.

        What was said before counts, back to a minute before the first such wait, and from the
        last text that was waited for; other texts in between are passed over.

        Args:
            text: to the letter.
            of: whose voice, where several can be heard (a peer in a room); anybody's by default.
            within: until it must have been heard to its end, in seconds.

        Returns:
            The event `speech.exact`; its `began` and `ended` are Unix seconds.

        Raises:
            DeadlineMissed: it was not heard; the error shows what was.
        """
        return await self.speech.hears_exactly(text, of=of, within=within)

    async def says(self, text: str) -> None:
        """Say `text` in a human voice, made on this machine (Piper); returns at its end.

        Args:
            text: English, unless SANDBOX_SPEECH_VOICE names another voice.

        Raises:
            SetupError: the extra [speech] is not installed; the error says what to do.
            DeadlineMissed: the call ended before it was said.
        """
        await self.speech.says(text)

    async def hears(self, text: str, *, within: float = 5.0, tolerance: float = 0.2) -> Event:
        """Wait until the words of `text` were heard, recognised on this machine (Whisper).

        Case, punctuation and the way numbers are written do not matter ("forty two" is 42), and
        more may be said before and after. Words of the last minute count, and those behind the
        last text that was waited for.

        Args:
            text: what is to be heard.
            within: until it must have been said, in seconds; to recognise it may take longer.
            tolerance: the word error rate that is let pass: 0.2 is one word in five.

        Returns:
            The event `speech.words`.

        Raises:
            SetupError: the extra [speech] is not installed; the error says what to do.
            DeadlineMissed: it was not heard; the error shows both texts, word by word.
        """
        return await self.speech.hears(text, within=within, tolerance=tolerance)

    async def hears_begin(self, *, of: str | None = None, within: float = 5.0) -> Event:
        """Wait until a text in the tone alphabet begins, behind the last that was waited for.

        Args:
            of: whose voice, where several can be heard; anybody's by default.
            within: in seconds.

        Returns:
            The event `speech.began`.

        Raises:
            DeadlineMissed: none began; the error shows what was heard.
        """
        return await self.speech.hears_begin(of=of, within=within)

    async def hears_cut(self, *, of: str | None = None, within: float = 5.0) -> Event:
        """Wait until a text in the tone alphabet is broken off: an agent was interrupted.

        Args:
            of: whose voice, where several can be heard; anybody's by default.
            within: in seconds.

        Returns:
            The event `speech.garbled`; its `text` is what was said of it.

        Raises:
            DeadlineMissed: none was; the error shows what was heard.
        """
        return await self.speech.hears_cut(of=of, within=within)
