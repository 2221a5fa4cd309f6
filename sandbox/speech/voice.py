"""What a call or a peer says and hears in words: `sandbox.talk.Speech`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from sandbox.audio import SILENCE_DBOV, level_dbov
from sandbox.errors import DeadlineMissed, UsageError
from sandbox.speech import alphabet
from sandbox.speech.conversation import (
    Conversation,
    Segment,
    SpeechDetector,
    labelled,
    with_texts,
)
from sandbox.speech.difference import difference
from sandbox.speech.local import SPEECH_RATE, local_speech
from sandbox.speech.recogniser import Recogniser
from sandbox.speech.words import compare, fold
from sandbox.talk import Audible, Chunk
from sandbox.timeline import Event, Match, now

__all__ = ["Voice"]

#: What an error shows of an end's events.
_SHOWN = ("speech.", "call.", "media.tone", "media.silence", "room.tone", "room.track")
#: Below it an error speaks of silence: the idle noise of G.722 reaches -60 dBov.
_QUIET_DBOV = -55.0
#: How long the end of an utterance and its recognition may take, in seconds: on a busy machine.
_RECOGNITION = 20.0
#: The pause before the first words, in seconds: a track that was just published loses its first
#: sound.
_REST = 0.2


class _Ear:
    """Reads one voice: the decoder, and where its stream lies in time."""

    def __init__(self, rate: int) -> None:
        self.decoder = alphabet.Decoder(rate)
        self.taken = 0.0
        self.began = False
        self.so_far = ""


class Voice:
    """The words of one end."""

    def __init__(self, end: Audible) -> None:
        """Give `end` its words."""
        self._end = end
        self._listening = False
        self._ears: dict[str, _Ear] = {}
        self._read = 0
        self._theirs = SpeechDetector("remote")
        self._ours = SpeechDetector("phone")
        self._until = 0.0
        self._recogniser = Recogniser(self._theirs, self._recognised)
        self._loudest = SILENCE_DBOV
        self._seconds = 0.0
        self._spoke = False

    # --- hearing -----------------------------------------------------------------------------

    async def listen(self, *, words: bool = False) -> None:
        """Begin to listen, with what was heard in the last minute; once is enough.

        Args:
            words: whether to recognise spoken words.

        Raises:
            PhoneError: the phone refused, or is gone.
            SetupError: words were asked for, and the extra [speech] is not installed.
        """
        if words:
            local_speech().load("model")
            # Who waits for words mostly answers: the voice is there by the time they have come.
            local_speech().load("voice")
            self._recogniser.start()
        if not self._listening:
            self._listening = True
            await self._end.listen(self._hear)

    def _hear(self, chunk: Chunk) -> None:
        self._loudest = max(self._loudest, level_dbov(chunk.heard))
        self._seconds += chunk.heard.size / chunk.rate
        self._until = chunk.at + chunk.heard.size / chunk.rate
        self._theirs.feed(chunk.heard, chunk.rate, chunk.at)
        self._ours.feed(chunk.sent, chunk.rate, chunk.at)
        self._recogniser.feed(chunk)
        ear = self._ears.get(chunk.of)
        if ear is None or ear.decoder.rate != chunk.rate:
            if ear is not None:
                self._tell(ear, ear.decoder.finish(), chunk)
            ear = self._ears[chunk.of] = _Ear(chunk.rate)
        self._tell(ear, ear.decoder.feed(chunk.heard), chunk)
        ear.taken += chunk.heard.size / chunk.rate

    def _tell(
        self,
        ear: _Ear,
        read: Sequence[alphabet.Begun | alphabet.Partial | alphabet.Heard],
        chunk: Chunk,
    ) -> None:
        def unix(seconds: float) -> float:
            return chunk.at + seconds - ear.taken

        for item in read:
            match item:
                case alphabet.Begun():
                    ear.began, ear.so_far = True, ""
                    self._end.note("speech.began", at=unix(item.at), of=chunk.of)
                case alphabet.Partial():
                    ear.so_far = item.text
                case alphabet.Heard():
                    ear.began = False
                    began, ended = unix(item.began), unix(item.ended)
                    data = {"began": began, "ended": ended, "lost": item.lost}
                    if item.exact:
                        data["mended"] = item.mended
                        self._end.note(
                            "speech.exact", at=ended, of=chunk.of, text=item.text, **data
                        )
                    else:
                        self._end.note(
                            "speech.garbled",
                            at=ended,
                            of=chunk.of,
                            text=item.text,
                            problem=item.problem,
                            **data,
                        )

    async def hears_exactly(self, text: str, *, of: str | None, within: float) -> Event:
        """Wait until `text` was heard; see `sandbox.talk.Talks.hears_exactly`."""
        return await self._wait(
            lambda e: e.name == "speech.exact" and e.data["text"] == text,
            "exactly " + repr(text),
            text,
            of=of,
            within=within,
        )

    async def hears_begin(self, *, of: str | None, within: float) -> Event:
        """Wait until a text begins; see `sandbox.talk.Talks.hears_begin`."""
        return await self._wait(
            lambda e: e.name == "speech.began", "a text begin", "", of=of, within=within
        )

    async def hears_cut(self, *, of: str | None, within: float) -> Event:
        """Wait until a text is broken off; see `sandbox.talk.Talks.hears_cut`."""
        return await self._wait(
            lambda e: e.name == "speech.garbled", "a text broken off", "", of=of, within=within
        )

    async def _wait(
        self, match: Match, expected: str, wanted: str, *, of: str | None, within: float
    ) -> Event:
        """Wait for an event behind the last that was waited for."""
        since = self._read

        def theirs(event: Event) -> bool:
            return of is None or event.data.get("identity") == of

        await self.listen()
        try:
            event = await self._end.noted(
                lambda e: match(e) and theirs(e),
                within=within,
                expected=f"to hear {expected}" + (f" from {of}" if of else ""),
                since=since,
                about=lambda e: e.name.startswith(_SHOWN),
            )
        except DeadlineMissed as error:
            heard = [e for _, e in self._end.notes(since) if theirs(e)]
            error.cause = self._instead(wanted, heard)
            raise
        self._read_on(event)
        return event

    def _read_on(self, event: Event) -> None:
        self._read = 1 + next(at for at, other in self._end.notes() if other is event)

    # --- words -------------------------------------------------------------------------------

    def _recognised(self, segment: Segment, text: str) -> None:
        failure = self._recogniser.failure
        if failure is not None:
            self._end.note("speech.failed", at=now(), error=str(failure))
        elif fold(text) and not any(
            # A recogniser makes words of tones as well.
            e.name in ("speech.exact", "speech.garbled")
            and e.data["began"] < segment.ended
            and segment.began < e.data["ended"]
            for _, e in self._end.notes()
        ):
            self._end.note(
                "speech.words", at=now(), text=text, began=segment.began, ended=segment.ended
            )

    async def hears(self, text: str, *, within: float, tolerance: float) -> Event:
        """Wait until words were heard; see `sandbox.talk.Talks.hears`."""
        since = self._read
        await self.listen(words=True)

        def heard(until: Event | None = None) -> str:
            said: list[str] = []
            for _, event in self._end.notes(since):
                if event.name == "speech.words":
                    said.append(event.data["text"])
                if event is until:
                    break
            return " ".join(said)

        def good(event: Event) -> bool:
            return event.name == "speech.failed" or (
                event.name == "speech.words" and compare(text, heard(event)).rate <= tolerance
            )

        deadline = now() + within
        try:
            event = await self._end.noted(
                good,
                within=within,
                expected=f"to hear {text!r}",
                since=since,
                about=lambda e: e.name.startswith(_SHOWN),
            )
        except DeadlineMissed as error:
            if now() < deadline:
                # The call has ended, and so has what was being said.
                self._recogniser.finish()
            # What was said in time counts, although to recognise it takes a while more.
            await self.caught_up(within=_RECOGNITION)
            late = next((e for _, e in self._end.notes(since) if good(e)), None)
            if late is None:
                error.cause = self._other_words(text, heard(), since, tolerance)
                raise
            event = late
        if self._recogniser.failure is not None:
            raise self._recogniser.failure
        self._read_on(event)
        return event

    async def caught_up(self, *, within: float) -> bool:
        """Wait until all is recognised; see `sandbox.talk.Speech.caught_up`."""
        try:
            await asyncio.wait_for(self._recogniser.idle(), within)
        except TimeoutError:
            return False
        return True

    def _other_words(self, wanted: str, heard: str, since: int, tolerance: float) -> str:
        """What was heard instead of the words `wanted`."""
        if not heard:
            return self._instead("", [e for _, e in self._end.notes(since)])
        found = compare(wanted, heard)
        return (
            f"heard instead: {heard!r}; best part: word error rate "
            f"{found.rate:.0%}, {tolerance:.0%} is allowed{found}"
        )

    async def says(self, text: str) -> None:
        """Say `text` in a voice; see `sandbox.talk.Talks.says`."""
        samples = await local_speech().say(text)
        if not self._spoke:
            samples = np.pad(samples, (round(_REST * SPEECH_RATE), 0))
        self._spoke = True
        self._end.note("speech.says", at=now(), text=text, seconds=samples.size / SPEECH_RATE)
        whole = await self._end.play_samples(samples, SPEECH_RATE)
        self._end.note("speech.said", at=now(), text=text, whole=whole)

    def _instead(self, wanted: str, events: Sequence[Event]) -> str:
        """What was heard instead of `wanted`, in words."""
        exact = [e.data["text"] for e in events if e.name == "speech.exact"]
        if exact:
            shown = "heard instead: " + ", ".join(map(repr, exact))
            return shown + (difference(wanted, exact[-1]) if wanted else "")
        garbled = [e for e in events if e.name == "speech.garbled"]
        if garbled:
            data = garbled[-1].data
            return f"heard a message of which {data['text']!r} could be read: {data['problem']}"
        going_on = [ear for ear in self._ears.values() if ear.began]
        if going_on:
            return f"a message was still being said, so far {going_on[-1].so_far!r}"
        if not self._seconds:
            return "no audio came at all"
        if self._loudest < _QUIET_DBOV:
            return f"heard {self._seconds:.1f} s of silence, and nothing else"
        tones = {
            round(e.data["hz"])
            for e in events
            if e.name in ("media.tone", "room.tone") and e.data["on"]
        }
        if tones:
            return "heard no text, but a tone of " + ", ".join(f"{hz} Hz" for hz in sorted(tones))
        return f"heard sound up to {self._loudest:.0f} dBov, but no text in the tone alphabet"

    # --- the conversation --------------------------------------------------------------------

    def conversation(self, *, dialled: float, answered: float) -> Conversation:
        """The measures so far; see `sandbox.phone.sounding.Sounding.conversation`."""
        if not self._listening:
            raise UsageError(
                f"nobody listened to {self._end.end_name}, so nothing was measured",
                remedy="await call.attend() while it is up; hears_exactly and its like do so too",
            )
        heard: list[Segment] = []
        said: list[Segment] = []
        began = 0.0
        for _, event in self._end.notes():
            data = event.data
            if event.name in ("speech.exact", "speech.garbled", "speech.words"):
                heard.append(Segment("remote", data["began"], data["ended"], data["text"]))
            elif event.name == "speech.says":
                began = event.at
            elif event.name == "speech.said":
                said.append(Segment("phone", began, event.at, data["text"]))
        segments = [
            *with_texts(self._theirs.segments, heard),
            *labelled(self._ours.segments, said),
        ]
        segments.sort(key=lambda s: s.began)
        return Conversation(
            dialled=dialled, answered=answered, ended=self._until, segments=tuple(segments)
        )

    # --- saying ------------------------------------------------------------------------------

    async def says_exactly(self, text: str, *, level_dbov: float) -> None:
        """Say `text`; see `sandbox.talk.Talks.says_exactly`."""
        samples = alphabet.encode(text, 16000, level_dbov=level_dbov)
        self._end.note("speech.says", at=now(), text=text, seconds=samples.size / 16000)
        whole = await self._end.play_samples(samples, 16000)
        self._end.note("speech.said", at=now(), text=text, whole=whole)
