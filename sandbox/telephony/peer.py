"""A WebRTC participant that joins a room to look, to listen and to make a tone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from livekit import rtc

from sandbox.audio import Samples, ToneDetector, resample
from sandbox.errors import UsageError
from sandbox.talk import Backlog, Chunk, Take, Talks
from sandbox.telephony.microphone import FRAME_MS, RATE, Microphone
from sandbox.timeline import Event, Match, Timeline, now
from sandbox.track_audio import samples_of

__all__ = ["Peer"]

_NOTHING = np.zeros(0, dtype=np.int16)


class Peer(Talks):
    """A participant of ours in a room; made by `Room.join`.

    What it sees lands on the timeline with source `room`: `room.participant_connected`,
    `room.participant_disconnected`, `room.attributes`, `room.track_subscribed`, `room.dtmf`,
    `room.tone` and so on, each with `room`, `peer` (this identity) and `identity` (whom it is
    about).
    """

    def __init__(self, identity: str, room: str, timeline: Timeline) -> None:
        self.identity = identity
        self.room = room
        #: The livekit.rtc.Room, for all that this class does not cover.
        self.rtc = rtc.Room()
        self._timeline = timeline
        self._mark = timeline.mark()
        self._tasks: set[asyncio.Task[None]] = set()
        self._microphone = Microphone(
            self.rtc, f"{identity}-tone", lambda **data: self._record("published", identity, **data)
        )
        self._backlog = Backlog()
        self._attach()

    # --- events ----------------------------------------------------------------------------

    def _record(self, name: str, identity: str = "", /, **data: Any) -> None:
        self._timeline.record(
            "room", f"room.{name}", room=self.room, peer=self.identity, identity=identity, **data
        )

    def _attach(self) -> None:
        room = self.rtc

        def connected(participant: rtc.RemoteParticipant) -> None:
            self._record(
                "participant_connected",
                participant.identity,
                name=participant.name,
                kind=participant.kind,
                metadata=participant.metadata,
                attributes=dict(participant.attributes),
            )

        def disconnected(participant: rtc.RemoteParticipant) -> None:
            reason = participant.disconnect_reason
            self._record(
                "participant_disconnected",
                participant.identity,
                reason=rtc.DisconnectReason.Name(reason) if reason is not None else "",
                attributes=dict(participant.attributes),
            )

        def attributes(changed: Mapping[str, str], participant: rtc.Participant) -> None:
            self._record("attributes", participant.identity, changed=dict(changed))

        def subscribed(
            track: rtc.Track, publication: rtc.RemoteTrackPublication, who: rtc.RemoteParticipant
        ) -> None:
            self._record(
                "track_subscribed", who.identity, track=publication.name, mime=publication.mime_type
            )
            if track.kind == rtc.TrackKind.KIND_AUDIO:
                self._spawn(self._listen(track, who.identity))

        def unsubscribed(
            track: rtc.Track, publication: rtc.RemoteTrackPublication, who: rtc.RemoteParticipant
        ) -> None:
            self._record("track_unsubscribed", who.identity, track=publication.name)

        def dtmf(press: rtc.SipDTMF) -> None:
            who = press.participant.identity if press.participant else ""
            self._record("dtmf", who, digit=press.digit, code=press.code)

        def closed(reason: Any) -> None:
            self._record("disconnected", self.identity, reason=rtc.DisconnectReason.Name(reason))

        room.on("participant_connected", connected)
        room.on("participant_disconnected", disconnected)
        room.on("participant_attributes_changed", attributes)
        room.on("track_subscribed", subscribed)
        room.on("track_unsubscribed", unsubscribed)
        room.on("sip_dtmf_received", dtmf)
        room.on("disconnected", closed)
        room.on("local_track_subscribed", lambda track: self._record("heard", self.identity))

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- joining and leaving ---------------------------------------------------------------

    async def connect(self, url: str, token: str, *, auto_subscribe: bool = True) -> None:
        """Join; participants who are already there are recorded as connected."""
        await self.rtc.connect(url, token, rtc.RoomOptions(auto_subscribe=auto_subscribe))
        self._record("joined", self.identity)
        for participant in self.rtc.remote_participants.values():
            self._record(
                "participant_connected",
                participant.identity,
                name=participant.name,
                kind=participant.kind,
                metadata=participant.metadata,
                attributes=dict(participant.attributes),
                already=True,
            )

    async def leave(self) -> None:
        """Leave the room; safe to call twice."""
        await self._microphone.stop()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.rtc.isconnected():
            await self.rtc.disconnect()
        await self._microphone.close()

    # --- audio -----------------------------------------------------------------------------

    async def publish_tone(self, hz: float, *, level_dbov: float = -12.0) -> None:
        """Publish a microphone track with a sine; called again, it changes the tone.

        Args:
            hz: its frequency, in Hz.
            level_dbov: its level, in dBov (RFC 6464: 0 is the loudest square wave).
        """
        await self._microphone.tone(hz, level_dbov)

    async def publish_silence(self) -> None:
        """Publish a microphone track with nothing on it, until something is said."""
        await self._microphone.open()

    async def unpublish(self) -> None:
        """Take the track back."""
        await self._microphone.unpublish()

    async def _listen(self, track: rtc.Track, identity: str) -> None:
        detector = ToneDetector(RATE)
        async for samples in samples_of(track, rate=RATE, frame_ms=FRAME_MS):
            self._backlog.add(Chunk(now() - FRAME_MS / 1000, RATE, samples, _NOTHING, identity))
            for edge in detector.feed(samples):
                self._record("tone", identity, hz=edge.hz, on=edge.on, level_dbov=edge.level_dbov)

    # --- as an end of a conversation (sandbox.talk.Audible) --------------------------------

    @property
    def end_name(self) -> str:
        """What it is called in errors."""
        return f"peer {self.identity}"

    async def play_samples(self, samples: Samples, rate: int) -> bool:
        """Publish a track, if there is none, and play `samples` on it.

        Args:
            samples: 16-bit mono PCM.
            rate: samples a second.

        Returns:
            After the last of them: True, or False when something else is played before.
        """
        return await self._microphone.play(resample(samples, rate, RATE))

    async def listen(self, take: Take) -> None:
        """Give `take` what was heard in the last minute, and from now on each chunk."""
        self._backlog.listen(take)

    def note(self, name: str, /, *, at: float, of: str = "", **data: Any) -> Event:
        """Put an event of this peer on the timeline, about participant `of`."""
        told = {"room": self.room, "peer": self.identity, "identity": of, **data}
        event = Event(source="room", name=name, at=at, data=told)
        self._timeline.add(event)
        return event

    async def noted(
        self, match: Match, *, within: float, expected: str, since: int = 0, about: Match
    ) -> Event:
        """Wait for an event of this peer.

        Raises:
            DeadlineMissed: it did not come, or the peer has left.
        """
        return await self._timeline.wait(
            lambda e: self._mine(e) and match(e),
            within=within,
            expected=f"{self.identity} {expected}",
            since=max(since, self._mark),
            about=lambda e: self._mine(e) and about(e),
            unless=lambda e: self._mine(e) and e.name == "room.disconnected",
        )

    def notes(self, since: int = 0) -> list[tuple[int, Event]]:
        """Its events after position `since` of the timeline, each with its own position."""
        since = max(since, self._mark)
        events = enumerate(self._timeline.since(since), start=since)
        return [(at, event) for at, event in events if self._mine(event)]

    def _mine(self, event: Event) -> bool:
        return event.source == "room" and event.data.get("peer") == self.identity

    async def hears_tone(
        self,
        hz: float,
        *,
        of: str | None = None,
        within: float = 5.0,
        tolerance_hz: float = 12.0,
        since: int | None = None,
    ) -> Event:
        """Wait until a tone of `hz` is heard, from anybody or from the track of `of`.

        Raises:
            DeadlineMissed: it was not heard; the error shows what was.
        """

        def match(event: Event) -> bool:
            return (
                self._mine(event)
                and event.name == "room.tone"
                and bool(event.data["on"])
                and (of is None or event.data["identity"] == of)
                and abs(float(event.data["hz"]) - hz) <= tolerance_hz
            )

        return await self._timeline.wait(
            match,
            within=within,
            expected=f"{self.identity} to hear {hz:g} Hz" + (f" from {of}" if of else ""),
            since=self._mark if since is None else since,
            about=self._mine,
        )

    def heard(self, *, of: str | None = None) -> set[int]:
        """The tones heard so far, rounded to 10 Hz."""
        return {
            round(event.data["hz"] / 10) * 10
            for event in self._timeline.since(self._mark)
            if self._mine(event)
            and event.name == "room.tone"
            and event.data["on"]
            and (of is None or event.data["identity"] == of)
        }

    # --- DTMF ------------------------------------------------------------------------------

    async def publish_dtmf(self, digits: str) -> None:
        """Send `digits` to every SIP participant of the room, a data packet for each."""
        codes = "0123456789*#ABCD"
        for digit in digits:
            code = codes.find(digit.upper())
            if code < 0:
                raise UsageError(f"{digit!r} is no DTMF digit; there are {codes}")
            await self.rtc.local_participant.publish_dtmf(code=code, digit=digit)

    def digits(self, *, of: str | None = None) -> str:
        """The digits received so far."""
        return "".join(
            event.data["digit"]
            for event in self._timeline.since(self._mark)
            if self._mine(event)
            and event.name == "room.dtmf"
            and (of is None or event.data["identity"] == of)
        )

    async def dtmf(self, digits: str, *, of: str | None = None, within: float = 5.0) -> None:
        """Wait until exactly `digits` have been received since joining.

        Raises:
            DeadlineMissed: others came, or fewer.
        """

        def match(event: Event) -> bool:
            return self._mine(event) and event.name == "room.dtmf" and self.digits(of=of) == digits

        await self._timeline.wait(
            match,
            within=within,
            expected=f"{self.identity} to receive the DTMF digits {digits!r}",
            since=self._mark,
            about=lambda e: self._mine(e) and e.name == "room.dtmf",
        )

    # --- participants and attributes -------------------------------------------------------

    async def sees(self, identity: str, *, within: float = 5.0) -> Event:
        """Wait until participant `identity` is there (it may have been there before us).

        Raises:
            DeadlineMissed: it did not come.
        """
        return await self._timeline.wait(
            lambda e: (
                self._mine(e)
                and e.name == "room.participant_connected"
                and e.data["identity"] == identity
            ),
            within=within,
            expected=f"{self.identity} to see {identity}",
            since=self._mark,
            about=self._mine,
        )

    async def sees_leave(self, identity: str, *, within: float = 5.0) -> Event:
        """Wait until participant `identity` is gone.

        Raises:
            DeadlineMissed: it is still there.
        """
        return await self._timeline.wait(
            lambda e: (
                self._mine(e)
                and e.name == "room.participant_disconnected"
                and e.data["identity"] == identity
            ),
            within=within,
            expected=f"{self.identity} to see {identity} leave",
            since=self._mark,
            about=self._mine,
        )

    async def attribute(self, identity: str, key: str, value: str, *, within: float = 5.0) -> Event:
        """Wait until attribute `key` of `identity` is, or was since we joined, `value`.

        Raises:
            DeadlineMissed: it never was.
        """

        def match(event: Event) -> bool:
            if not self._mine(event) or event.data.get("identity") != identity:
                return False
            if event.name == "room.attributes":
                return bool(event.data["changed"].get(key) == value)
            return event.name == "room.participant_connected" and bool(
                event.data["attributes"].get(key) == value
            )

        return await self._timeline.wait(
            match,
            within=within,
            expected=f"attribute {key} of {identity} to be {value!r}",
            since=self._mark,
            about=lambda e: self._mine(e) and e.data.get("identity") == identity,
        )

    def values(self, identity: str, key: str) -> Sequence[str]:
        """All values that attribute `key` of `identity` has had since we joined, in order."""
        result: list[str] = []
        for event in self._timeline.since(self._mark):
            if not self._mine(event) or event.data.get("identity") != identity:
                continue
            if event.name == "room.participant_connected":
                changed = event.data["attributes"]
            elif event.name == "room.attributes":
                changed = event.data["changed"]
            else:
                continue
            if key in changed:
                result.append(changed[key])
        return result
