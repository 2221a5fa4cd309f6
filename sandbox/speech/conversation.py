"""What happened in a conversation, measured from the audio of both directions of a call.

All times are in seconds. A moment is in Unix seconds, on the clock of the timeline; a length is a
plain number of seconds. The phone's side is `phone`, the other is `remote` (the agent).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from sandbox.audio import Samples, level_dbov

__all__ = ["Conversation", "Interruption", "Reply", "Segment", "SpeechDetector"]

Side = Literal["phone", "remote"]

#: Above this level a frame is speech, in dBov: comfort noise lies below -60, speech above -35.
SPEECH_DBOV = -45.0
#: Pauses shorter than this are part of an utterance, in seconds.
PAUSE = 0.4
#: Sounds shorter than this are none (clicks), in seconds.
SHORTEST = 0.06
#: Sides that overlap for less than this change turns and do not interrupt, in seconds.
TURN = 0.1
_FRAME = 0.02


@dataclass(frozen=True, slots=True)
class Segment:
    """An utterance: one side speaks, with no pause of 0.4 s or more in it.

    Attributes:
        who: `phone` or `remote`.
        began: when, in Unix seconds.
        ended: when, in Unix seconds.
        text: what it was, where it is known; else "".
    """

    who: Side
    began: float
    ended: float
    text: str = ""

    @property
    def seconds(self) -> float:
        """Its length, in seconds."""
        return self.ended - self.began


@dataclass(frozen=True, slots=True)
class Reply:
    """The other side's answer to an utterance of the phone.

    Attributes:
        to: the utterance.
        by: the answer.
    """

    to: Segment
    by: Segment

    @property
    def latency(self) -> float:
        """From the end of the utterance to the beginning of the answer, in seconds."""
        return self.by.began - self.to.ended


@dataclass(frozen=True, slots=True)
class Interruption:
    """One side began while the other was speaking.

    Attributes:
        by: who began.
        at: when, in Unix seconds.
        stopped: who stopped first: then the interruption worked, if it is not `by`.
        after: how long both spoke, in seconds: how fast the one that was interrupted stopped.
    """

    by: Side
    at: float
    stopped: Side
    after: float


class SpeechDetector:
    """Finds utterances in the audio of one direction, by its level."""

    def __init__(self, who: Side) -> None:
        """Make a detector for the voice of `who`."""
        self._who: Side = who
        self._closed: list[Segment] = []
        self._began = 0.0
        self._ended = 0.0
        #: Whether an utterance goes on, or ended less than the pause ago.
        self.speaking = False

    def feed(self, samples: Samples, rate: int, at: float) -> None:
        """Take the next samples, of which the first is of moment `at`."""
        size = round(rate * _FRAME)
        for start in range(0, samples.size, size):
            frame = samples[start : start + size]
            if level_dbov(frame) < SPEECH_DBOV:
                continue
            moment = at + start / rate
            if self.speaking and moment - self._ended >= PAUSE:
                self._close()
            if not self.speaking:
                self.speaking = True
                self._began = moment
            self._ended = moment + frame.size / rate
        if self.speaking and at + samples.size / rate - self._ended >= PAUSE:
            self._close()

    def finish(self) -> None:
        """No samples will come any more: an utterance that goes on has ended."""
        if self.speaking:
            self._close()

    def _close(self) -> None:
        self.speaking = False
        if self._ended - self._began >= SHORTEST:
            self._closed.append(Segment(self._who, self._began, self._ended))

    @property
    def closed(self) -> list[Segment]:
        """The utterances that have ended."""
        return self._closed

    @property
    def segments(self) -> list[Segment]:
        """The utterances so far; one that goes on ends with the last audio."""
        last = Segment(self._who, self._began, self._ended)
        going_on = [last] if self.speaking and last.seconds >= SHORTEST else []
        return [*self._closed, *going_on]


def with_texts(segments: Sequence[Segment], texts: Iterable[Segment]) -> list[Segment]:
    """The segments, with those of known text in place of what was found by level alone."""
    known = sorted(texts, key=lambda s: s.began)

    def meets(a: Segment, b: Segment) -> bool:
        return a.began < b.ended and b.began < a.ended

    rest = [s for s in segments if not any(meets(s, k) for k in known)]
    return sorted([*rest, *known], key=lambda s: s.began)


def labelled(segments: Sequence[Segment], texts: Iterable[Segment]) -> list[Segment]:
    """The segments, each with the text that was said in it; one of several texts is as many."""
    known = sorted(texts, key=lambda s: s.began)
    result: list[Segment] = []
    for segment in segments:
        inside = [k for k in known if segment.began < k.ended and k.began < segment.ended]
        if not inside:
            result.append(segment)
        for number, text in enumerate(inside):
            began = segment.began if number == 0 else text.began
            ended = segment.ended if number == len(inside) - 1 else text.ended
            result.append(replace(segment, began=began, ended=ended, text=text.text))
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """The measures of a call, so far or at its end.

    Attributes:
        dialled: when its INVITE was sent or received, in Unix seconds.
        answered: when it was answered, in Unix seconds; 0 if it was not.
        ended: when it ended, or until when it was heard, in Unix seconds.
        segments: the utterances of both sides, by their beginning.
    """

    dialled: float
    answered: float
    ended: float
    segments: Sequence[Segment] = field(default_factory=tuple)

    def of(self, who: Side) -> Sequence[Segment]:
        """The utterances of one side."""
        return tuple(s for s in self.segments if s.who == who)

    @property
    def time_to_answer(self) -> float | None:
        """From the INVITE to the 200, in seconds; None if it was not answered."""
        return self.answered - self.dialled if self.answered else None

    @property
    def time_to_first_word(self) -> float | None:
        """From the answer to the remote side's first word, in seconds; None if there was none.

        Negative for early media.
        """
        theirs = self.of("remote")
        return theirs[0].began - self.answered if theirs and self.answered else None

    @property
    def replies(self) -> Sequence[Reply]:
        """Each utterance of the phone that the remote side answered before the phone went on.

        None is one over whose end the remote side talked on, for 0.1 s at least: one that it was
        interrupted by, and stopped at, is.
        """
        found: list[Reply] = []
        for segment in self.of("phone"):
            end = segment.ended
            talked_on = any(s.began < end <= s.ended - TURN for s in self.of("remote"))
            following = next((s for s in self.segments if s.began >= end), None)
            if not talked_on and following is not None and following.who == "remote":
                found.append(Reply(segment, following))
        return tuple(found)

    @property
    def latencies(self) -> Sequence[float]:
        """The response latency of each turn, in seconds; see `Reply.latency`."""
        return tuple(reply.latency for reply in self.replies)

    @property
    def interruptions(self) -> Sequence[Interruption]:
        """Each time that one side began while the other spoke, and for 0.1 s at least both did."""
        found: list[Interruption] = []
        for number, first in enumerate(self.segments):
            for second in self.segments[number + 1 :]:
                if second.began >= first.ended or second.who == first.who:
                    continue
                # Who stops as the other ends has given way.
                stopped = first if first.ended < second.ended + TURN else second
                if stopped.ended - second.began < TURN:
                    continue
                found.append(
                    Interruption(
                        second.who, second.began, stopped.who, stopped.ended - second.began
                    )
                )
        return tuple(found)

    @property
    def overlap(self) -> float:
        """How long both spoke at once, in seconds."""
        return float(
            sum(
                max(0.0, min(a.ended, b.ended) - max(a.began, b.began))
                for a in self.of("phone")
                for b in self.of("remote")
            )
        )

    def silences(self, longer_than: float = 2.0) -> Sequence[tuple[float, float]]:
        """When nobody spoke for longer than `longer_than` seconds, from the answer to the end.

        Returns:
            Of each the beginning, in Unix seconds, and the length, in seconds.
        """
        if not self.answered:
            return ()
        found: list[tuple[float, float]] = []
        quiet_since = self.answered
        for segment in [*self.segments, Segment("phone", self.ended, self.ended)]:
            if segment.began - quiet_since > longer_than:
                found.append((quiet_since, segment.began - quiet_since))
            quiet_since = max(quiet_since, segment.ended)
        return tuple(found)

    def speaking(self, who: Side) -> float:
        """How long one side spoke, in seconds."""
        return float(np.sum([s.seconds for s in self.of(who)]))

    def __str__(self) -> str:
        start = self.answered or self.dialled
        lines = [
            f"{s.began - start:+8.2f} s  {s.who:<6} {s.seconds:5.2f} s  {s.text}".rstrip()
            for s in self.segments
        ]
        return "\n".join(lines) or "nobody spoke"
