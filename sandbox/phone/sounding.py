"""A call as an end of a conversation: samples to it, and what it hears from it."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sandbox.audio import Samples
from sandbox.phone import protocol
from sandbox.phone.progress import Progress
from sandbox.talk import Chunk, Take, Talks
from sandbox.timeline import Event, Match

if TYPE_CHECKING:
    from sandbox.speech.conversation import Conversation

__all__ = ["Sounding"]

_ids = itertools.count(1)


def _samples(pcm: str) -> Samples:
    return np.frombuffer(base64.b64decode(pcm), dtype="<i2")


class Sounding(Progress, Talks):
    """What a call plays and hears as samples (`sandbox.talk.Audible`)."""

    _take: Take | None = None

    async def _ask(self, op: str, request: protocol.Request) -> Mapping[str, Any]:
        return await self.phone.link.ask("POST", f"/calls/{self.id}/{op}", request)

    @property
    def end_name(self) -> str:
        """What it is called in errors."""
        return f"call {self.id}"

    async def play_samples(self, samples: Samples, rate: int) -> bool:
        """Play samples; returns after the last of them, or when something else is played.

        Args:
            samples: 16-bit mono PCM.
            rate: samples a second.

        Returns:
            Whether all were played.

        Raises:
            DeadlineMissed: the call ended before.
            PhoneError: the phone refused, or is gone.
        """
        name = f"s{next(_ids)}"
        mark = self.phone.timeline.mark()
        pcm = base64.b64encode(samples.astype("<i2").tobytes()).decode()
        await self._ask("samples", protocol.PlaySamples(id=name, rate=rate, pcm=pcm))
        seconds = samples.size / rate
        played = await self.wait(
            lambda e: self.mine(e) and e.name == "media.played" and e.data.get("id") == name,
            # Nothing is played before there is media, and a machine may be slow.
            within=seconds + 10.0,
            expected=f"{seconds:.1f} s of sound to be played",
            since=mark,
            about=lambda e: e.name.startswith(("media.", "call.")),
        )
        return bool(played.data["whole"])

    async def listen(self, take: Take) -> None:
        """Give `take` what was heard and sent in the last minute, and from now on each chunk.

        Raises:
            PhoneError: the phone refused (the call has ended), or is gone.
        """
        self._take = take
        await self._ask("listen", protocol.Listen())

    @property
    def conversation(self) -> Conversation:
        """The measures of the conversation so far: answer, latencies, interruptions, silences.

        From the audio of both directions, a minute before the first wait for words (or `attend`)
        and all after it.

        Raises:
            UsageError: nobody listened.
        """

        def first(*names: str) -> float:
            return next((e.at for _, e in self.notes() if e.name in names), 0.0)

        return self.speech.conversation(
            dialled=first("sip.sent", "sip.received"), answered=first("call.answered")
        )

    @property
    def transcript(self) -> str:
        """Who said what so far, a line each, as `remote: Order desk, how can I help?`.

        Words are known where they were waited for or said by the phone.

        Raises:
            UsageError: nobody listened.
        """
        return "\n".join(f"{s.who}: {s.text}" for s in self.conversation.segments if s.text)

    def hear(self, event: Event) -> None:
        """Take a `media.audio` event; the phone tells."""
        if self._take is not None:
            data = event.data
            self._take(
                Chunk(event.at, data["rate"], _samples(data["heard"]), _samples(data["sent"]))
            )

    def note(self, name: str, /, *, at: float, of: str = "", **data: Any) -> Event:
        """Put an event of this call on the timeline."""
        event = Event(source="phone", name=name, at=at, call=self.id, data=data)
        self.phone.timeline.add(event)
        return event

    async def noted(
        self, match: Match, *, within: float, expected: str, since: int = 0, about: Match
    ) -> Event:
        """Wait for an event of this call.

        Raises:
            DeadlineMissed: it did not come, or the call has ended.
            PhoneError: the line or the phone crashed.
        """
        return await self.wait(
            lambda e: self.mine(e) and match(e),
            within=within,
            expected=expected,
            since=max(since, self._mark),
            about=about,
        )

    def notes(self, since: int = 0) -> list[tuple[int, Event]]:
        """Its events after position `since` of the timeline, each with its own position."""
        since = max(since, self._mark)
        events = enumerate(self.phone.timeline.since(since), start=since)
        return [(at, event) for at, event in events if self.mine(event)]
