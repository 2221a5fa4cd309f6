"""Plays a recording again: does what was done, each step once what came before it has been seen."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import string
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from livekit import api

from sandbox.stack.endpoints import Endpoints
from sandbox.telephony.numbers import NumberBlock
from sandbox.telephony.peer import Peer
from sandbox.timeline import Event, Timeline

from .cases import FallSilent, Press, Publish, Tune
from .line import Line, open_line
from .media import Media
from .message import (
    Message,
    digest_fields,
    digest_response,
    sdp_audio,
    with_content_length,
)
from .recording import SERVICE, Recording, Step
from .snapshot import rooms_now, snapshot_differences
from .twirp import ALL_RIGHTS, Twirp
from .volatile import Names

__all__ = ["Answer", "Ground", "Key", "Replay", "collapsed"]

#: Seconds a step is waited for beyond the time it took when it was recorded.
_PATIENCE = 3.0
#: The same once something has been missed: the rest is likely to be missed too.
_IMPATIENCE = 0.4
_PEER_HZ = 700.0

#: A transaction as one side sees it: Call-ID, CSeq, whether it holds requests, our tag.
Key = tuple[str, str, bool, str]


@dataclass(frozen=True, slots=True)
class Ground:
    """What a replay stands on: a running stack."""

    endpoints: Endpoints
    timeline: Timeline
    http: aiohttp.ClientSession
    host: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What an API call gave."""

    http: int
    body: Any
    asked: float
    answered: float


@dataclass(slots=True)
class _Seen:
    """What a replay has seen so far."""

    answers: dict[int, Answer] = field(default_factory=dict)
    messages: dict[Key, list[Message]] = field(default_factory=lambda: defaultdict(list))
    moments: dict[str, float] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    ringing: dict[Key, list[float]] = field(default_factory=lambda: defaultdict(list))
    snaps: dict[int, list[str]] = field(default_factory=dict)


def collapsed(messages: list[Message]) -> list[Message]:
    """`messages` with the repetitions of a provisional response left out."""
    result: list[Message] = []
    for message in messages:
        if not (result and 100 < message.status < 200 and result[-1].status == message.status):
            result.append(message)
    return result


def _word(length: int) -> str:
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(length))


class Replay:
    """One recording, played against the SIP service of a stack.

    Attributes:
        recording: what is played.
        names: the recorded names of things and what they are called in this run.
        seen: what came back.
        media: the RTP ports, in the order of the recording's.
        missed: what was waited for in vain.
        mark: where on the timeline this replay began.
    """

    def __init__(self, recording: Recording, tune: Tune, ground: Ground) -> None:
        self.recording = recording
        self.tune = tune
        self.names = Names()
        self.seen = _Seen()
        self.media: list[Media] = []
        self.missed: list[str] = []
        self._ground = ground
        self._timeline = ground.timeline
        self._twirp = Twirp(ground.endpoints, ground.http)
        self.mark = self._timeline.mark()
        self._end: int | None = None
        self._lines: dict[str, Line] = {}
        self._line_of: dict[str, str] = {}
        self._media_of: dict[str, Media] = {}
        self._peers: dict[str, Peer] = {}
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._made: list[tuple[str, dict[str, str]]] = []
        self._changed = asyncio.Event()
        self._parsed = recording.messages()
        self._keys = [self._recorded_key(i) for i in range(len(self._parsed))]
        self._recorded_rx: dict[Key, list[int]] = defaultdict(list)
        for index, entry in enumerate(recording.sip):
            if entry["dir"] == "rx":
                self._recorded_rx[self._keys[index]].append(index)
        self._answers_due = {
            (message.call_id, message.cseq, message.is_request)
            for entry, message in zip(recording.sip, self._parsed, strict=True)
            if entry["dir"] == "tx"
        }
        self._sent: set[tuple[str, str, bool]] = set()
        self._watched: set[int] = set()

    # --- names -----------------------------------------------------------------------------

    def _recorded_key(self, index: int) -> Key:
        message = self._parsed[index]
        theirs = message.is_request and self.recording.sip[index]["dir"] == "rx"
        tag = message.to_tag if theirs else message.from_tag
        return message.call_id, message.cseq, message.is_request, tag

    async def _open(self) -> None:
        """Bind our ports, and name what is ours before anything is sent."""
        recording, ends, host = self.recording, self._ground.endpoints, self._ground.host
        service = (ends.sip_host, ends.sip_port)
        spoken = json.dumps(recording.sip)
        for recorded, transport in recording.own_ports().items():
            # A port that is only named in a trunk had nobody there who recorded.
            receive = self._receive if f":{recorded}" in spoken else lambda text, at: None
            line = await open_line(transport, host, service, receive)
            self._lines[recorded] = line
            self.names.learn("ua", f"127.0.0.1:{recorded}", f"{host}:{line.port}")
        for recorded in recording.media_ports():
            media = Media()
            await media.open(host)
            self.media.append(media)
            self._media_of[recorded] = media
        for text in self.tune.alike:
            self.names.alike(text)
        self.names.learn("sip", SERVICE, ends.sip_address, numbered=False)
        if host != "127.0.0.1":
            self.names.learn("host", "127.0.0.1", host)
        number = NumberBlock().take()
        self.names.learn("number", recording.number.lstrip("+"), number.lstrip("+"), numbered=False)
        self.names.learn("room", recording.room, f"cf-{_word(8)}", numbered=False)
        theirs: set[str] = set()
        for entry, message in zip(recording.sip, self._parsed, strict=True):
            if entry["dir"] != "tx":
                if message.call_id and not self.names.knows(message.call_id):
                    theirs.add(message.call_id)
                continue
            own_tag = message.from_tag if message.is_request else message.to_tag
            if message.is_request:
                if message.call_id not in theirs:
                    self.names.learn("call-id", message.call_id, _word(16) + "@sandbox")
                self.names.learn("branch", message.branch, "z9hG4bK" + _word(12))
            if own_tag and not own_tag.startswith("SCL_"):
                self.names.learn("tag", own_tag, _word(max(8, len(own_tag))))
            if message.is_request and message.get("via"):
                port = re.search(r"127\.0\.0\.1:(\d+)", message.get("via"))
                if port and port[1] in self._lines:
                    self._line_of.setdefault(message.call_id, port[1])

    # --- running ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Play the recording to its end."""
        unsubscribe = self._timeline.subscribe(lambda event: self._changed.set())
        try:
            await self._open()
            await self._play()
        finally:
            # What taking down brings about is not part of it.
            self._end = self._timeline.mark()
            unsubscribe()
            await self._close()

    async def _play(self) -> None:
        steps = self.recording.steps(Step(at, "do", action) for at, action in self.tune.do)
        waiting: list[Step] = []
        last = 0.0
        for position, step in enumerate(steps):
            if step.at > self.tune.until:
                break
            if not step.ours:
                waiting.append(step)
                continue
            await self._see(waiting, last)
            await self._watch_silence(step.at)
            if step.kind == "api" and step.data["method"].startswith("RoomService/"):
                await self._until(self._settled, _IMPATIENCE)
            gap = step.at - (steps[position - 1].at if position else 0.0)
            pause = gap if self.tune.pace is None else min(gap, self.tune.pace)
            if self.tune.pace is None:
                pause = max(0.0, self._began + step.at - time.monotonic()) if last else 0.0
            if step.kind == "leave":
                pause = 0.0
            if pause > 0:
                await asyncio.sleep(pause)
            if not last:
                self._began = time.monotonic() - step.at
            await self._do(step)
            last = step.at
        await self._see(waiting, last)
        await self._watch_silence(float("inf"))

    async def _do(self, step: Step) -> None:
        if step.kind == "api":
            self._calls[step.index] = asyncio.create_task(self._call(step.index, step.data))
            await asyncio.sleep(0)
        elif step.kind == "tx":
            await self._send(step.index)
        elif step.kind == "join":
            await self._join(step.data)
        elif step.kind == "publish":
            await self._peers[step.data["who"]].publish_tone(_PEER_HZ)
        elif step.kind == "leave":
            await self._peers[step.data["who"]].leave()
        elif step.kind == "snap":
            await self._snap(step)
        elif isinstance(step.data, Press):
            self._moment("key", time.monotonic())
            media = next(m for m in reversed(self.media) if m.sending)
            for key in step.data.keys:
                media.press(key, step.data.milliseconds)
            await asyncio.wait_for(media.pressed.wait(), 10)
            self._moment("pressed", time.monotonic())
        elif isinstance(step.data, FallSilent):
            for media in self.media:
                media.stop()
        elif isinstance(step.data, Publish):
            await next(iter(self._peers.values())).publish_dtmf(step.data.digits)

    # --- waiting ---------------------------------------------------------------------------

    async def _see(self, waiting: list[Step], last: float) -> None:
        """Wait until everything of `waiting` has been seen, or is given up."""
        for step in waiting:
            patience = _IMPATIENCE if self.missed else _PATIENCE + max(0.0, step.at - last)
            if step.kind == "answered":
                done = await asyncio.wait({self._calls[step.index]}, timeout=patience)
                if not done[0]:
                    self.missed.append(f"the answer of API call {step.index}")
                continue
            if not await self._until(self._sight(step), patience):
                self.missed.append(self._describe(step))
        waiting.clear()

    async def _until(self, true: Callable[[], bool], within: float) -> bool:
        deadline = time.monotonic() + within
        while not true():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._changed.clear()
            try:
                # Media is not on the timeline: look again from time to time.
                await asyncio.wait_for(self._changed.wait(), min(left, 0.04))
            except TimeoutError:
                continue
        return True

    def _settled(self) -> bool:
        """Whether a SIP participant has joined, if a call is under way."""
        return not self.seen.messages or any(
            event.name == "webhook.participant_joined"
            and event.data.get("participant", {}).get("kind") == "SIP"
            for event in self._events()
        )

    def _describe(self, step: Step) -> str:
        if step.kind == "rx":
            return f"SIP {self._parsed[step.index].start} [{self._parsed[step.index].cseq}]"
        if step.kind == "keys":
            return f"telephone-event {step.data} at the phone"
        if step.kind == "hears":
            return f"audio at the phone (stream {step.index})"
        data = {k: v for k, v in step.data.items() if k not in ("t", "who", "attributes")}
        return f"room event {self.names.recorded_view(json.dumps(data))}"

    def _sight(self, step: Step) -> Callable[[], bool]:
        """Tells whether what `step` is about has been seen."""
        if step.kind == "rx":
            key = self._keys[step.index]
            before = [i for i in self._recorded_rx[key] if i <= step.index]
            wanted = len(collapsed([self._parsed[i] for i in before]))
            return lambda: len(collapsed(self.seen.messages[key])) >= wanted
        if step.kind == "keys":
            keys = self.media[step.index].keys
            return lambda: sum(key.ended for key in keys.values()) >= int(step.data)
        if step.kind == "hears":
            media = self.media[step.index] if step.index < len(self.media) else None
            return lambda: media is None or self._phone_hears(step.index)
        event = step.data
        if event["event"] == "first_audible_audio":
            if not self.caller_is_audible():
                return lambda: True
            return lambda: any(
                e.name == "room.tone" and e.data["on"] for e in self.room_events(event["identity"])
            )
        if event["event"] == "sip_dtmf":
            wanted = sum(
                1 for e in self.recording.room_events
                if e["event"] == "sip_dtmf" and e["t"] <= event["t"]
            )  # fmt: skip
            return lambda: len(self.digits()) >= wanted
        if event["event"] == "participant_disconnected":
            return lambda: self.webhook("participant_left", event["identity"]) is not None
        changed = event.get("changed", {})
        if not changed:
            return lambda: any(
                e.name == "room.participant_connected" for e in self.room_events(event["identity"])
            )
        return lambda: all(
            self.names.recorded_view(value)
            in [self.names.live_view(v) for v in self.values(event["identity"], key)]
            for key, value in changed.items()
        )

    async def _watch_silence(self, until: float) -> None:
        """Give a request that was never answered the time to be answered now."""
        for index, entry in enumerate(self.recording.sip):
            message = self._parsed[index]
            if entry["dir"] != "tx" or entry["t"] >= until or index in self._watched:
                continue
            if not message.is_request or message.method == "ACK":
                continue
            self._watched.add(index)
            call_id, cseq, _, tag = self._keys[index]
            answers = self._recorded_rx[call_id, cseq, False, tag]
            if not any(self._parsed[i].status >= 200 for i in answers):
                await asyncio.sleep(self.tune.window)
                return

    def key_of(self, index: int) -> Key:
        """The transaction that a recorded message belongs to."""
        return self._keys[index]

    def message(self, index: int) -> Message:
        """A recorded message, parsed."""
        return self._parsed[index]

    # --- what was seen ---------------------------------------------------------------------

    def caller_is_audible(self) -> bool:
        """Whether our phone sends a tone that can be told."""
        return any(stream["sent"] and "9" not in stream["pts"] for stream in self.recording.rtp)

    def _phone_hears(self, index: int) -> bool:
        tone = self.recording.rtp[index].get("freq_last_1s") or 0
        if self.recording.group != "pin" and (690 < tone < 710 or tone > 1000):
            return any(abs(hz - _PEER_HZ) < 15 for hz in self.media[index].tones)
        return self.media[index].loud_at is not None

    def _events(self) -> Sequence[Event]:
        """What happened on the timeline while this was played."""
        events = self._timeline.since(self.mark)
        return events if self._end is None else events[: self._end - self.mark]

    def moments(self) -> Mapping[str, float]:
        """When what happened, on the monotonic clock."""
        joined = next(
            (
                event
                for event in self._events()
                if event.name == "room.participant_connected" and event.data["kind"] == 3
            ),
            None,
        )
        clock = time.time() - time.monotonic()
        return self.seen.moments | ({"joined": joined.at - clock} if joined else {})

    def room_events(self, identity: str) -> list[Event]:
        """What our peers saw of the participant whose recorded identity is `identity`."""
        wanted = self.names.recorded_view(identity)
        return [
            event
            for event in self._events()
            if event.source == "room"
            and self.names.live_view(str(event.data.get("identity", ""))) == wanted
        ]

    def values(self, identity: str, key: str) -> list[str]:
        """The values that an attribute has had, as our peers saw it."""
        result: list[str] = []
        for event in self.room_events(identity):
            changed = event.data.get("changed") or event.data.get("attributes") or {}
            if event.name != "room.participant_disconnected" and key in changed:
                result.append(changed[key])
        return result

    def digits(self) -> list[tuple[str, int]]:
        """The DTMF that our peers received."""
        return [
            (event.data["digit"], event.data["code"])
            for event in self._events()
            if event.name == "room.dtmf"
        ]

    def tones(self) -> list[float]:
        """The tones that our peers heard, in Hz."""
        return [
            float(event.data["hz"])
            for event in self._events()
            if event.name == "room.tone" and event.data["on"]
        ]

    def webhook(self, name: str, identity: str) -> Mapping[str, Any] | None:
        """The participant of the last webhook `name` about the recorded `identity`."""
        wanted = self.names.recorded_view(identity)
        for event in reversed(self._events()):
            who = event.data.get("participant", {}) if event.name == f"webhook.{name}" else {}
            if who and self.names.live_view(who.get("identity", "")) == wanted:
                return dict(who)
        return None

    # --- SIP -------------------------------------------------------------------------------

    def _receive(self, text: str, at: float) -> None:
        if self._end is not None:
            return
        message = Message.parse(text)
        call_id = self.names.recorded(message.call_id)
        if call_id == message.call_id and message.is_request:
            call_id = self._new_dialog(message)
        theirs = message.to_tag if message.is_request else message.from_tag
        key = (call_id, message.cseq, message.is_request, self.names.recorded(theirs))
        known = self._recorded_rx.get(key, [])
        if known:
            position = min(len(self.seen.messages[key]), len(known) - 1)
            self._pair(self._parsed[known[position]], message)
        if self._too_slow(key, text):
            return
        self.seen.messages[key].append(message)
        if message.status == 180:
            self.seen.ringing[key].append(at)
        if message.status == 200 and message.method == "INVITE":
            self._start_media(call_id, outbound=False)
        self._moment(f"rx {message.status or message.method}", at)
        self._changed.set()

    def _too_slow(self, key: Key, text: str) -> bool:
        """Whether this repeats what we answered when it was recorded, and have yet to answer now.

        A busy machine makes us late; the repetition is our doing.
        """
        before = self.seen.messages[key]
        if not before or before[-1].text != text:
            return False
        call_id, cseq, is_request, _ = key
        number = cseq.split(" ")[0]
        wanted = (call_id, cseq, False) if is_request else (call_id, f"{number} ACK", True)
        if not is_request and before[-1].status != 200:
            return False
        return wanted in self._answers_due and wanted not in self._sent

    def _moment(self, name: str, at: float) -> None:
        """Note when something happened: for the first time, and for the how manieth."""
        self.seen.moments.setdefault(name, at)
        self.seen.counts[name] += 1
        self.seen.moments[f"{name} #{self.seen.counts[name]}"] = at

    def _new_dialog(self, message: Message) -> str:
        """The recorded Call-ID that a call out to us stands for, or its own."""
        for index, entry in enumerate(self.recording.sip):
            recorded = self._parsed[index]
            if entry["dir"] != "rx" or recorded.method != message.method:
                continue
            if recorded.is_request and not self.names.knows(recorded.call_id):
                self.names.learn("call-id", recorded.call_id, message.call_id)
                port = re.search(r"127\.0\.0\.1:(\d+)", recorded.uri)
                if port:
                    self._line_of[recorded.call_id] = port[1]
                return recorded.call_id
        return message.call_id

    def _pair(self, recorded: Message, live: Message) -> None:
        """Learn what the service calls things from a message and its recorded counterpart."""
        if live.is_request:
            self.names.learn("branch", recorded.branch, live.branch)
            ours, theirs = recorded.from_tag, live.from_tag
        else:
            ours, theirs = recorded.to_tag, live.to_tag
        kind = "SCL" if ours.startswith("SCL_") else "tag"
        self.names.learn(kind, ours, theirs)
        for header in ("proxy-authenticate", "www-authenticate"):
            nonce = digest_fields(recorded.get(header)).get("nonce", "")
            self.names.learn("nonce", nonce, digest_fields(live.get(header)).get("nonce", ""))

    async def _send(self, index: int) -> None:
        recorded = self.recording.sip[index]["raw"]
        message = self._parsed[index]
        text = self._authorized(self.names.live(recorded), message)
        audio = sdp_audio(message.body)
        if audio and str(audio[1]) in self._media_of:
            port = self._media_of[str(audio[1])].port
            text = text.replace(f"m=audio {audio[1]} ", f"m=audio {port} ")
        text = with_content_length(text, recorded)
        line = self._lines[self._line_of.get(message.call_id, next(iter(self._lines)))]
        name = message.method if message.is_request else str(message.status)
        self._moment(f"tx {name}", time.monotonic())
        self._sent.add((message.call_id, message.cseq, message.is_request))
        await line.send(text)
        if not message.is_request and message.status == 200 and audio:
            self._start_media(message.call_id, outbound=True)

    def _authorized(self, text: str, recorded: Message) -> str:
        """`text` with a digest that is right for the live challenge if the recorded one was."""
        for header in ("proxy-authorization", "authorization"):
            fields = digest_fields(recorded.get(header))
            if not fields:
                continue
            passwords = self.recording.passwords()
            right = next(
                (p for p in passwords
                 if digest_response(fields, recorded.method, p) == fields.get("response")),
                None,
            )  # fmt: skip
            live = digest_fields(Message.parse(text).get(header))
            response = digest_response(live, recorded.method, right or "wrong")
            text = text.replace(live["response"], response)
        return text

    def _start_media(self, call_id: str, *, outbound: bool) -> None:
        """Send to where the other side's SDP says, if the recorded phone sent."""
        remote = None
        for (known, _, is_request, _), messages in self.seen.messages.items():
            if known == call_id and is_request == outbound:
                for message in messages:
                    remote = sdp_audio(message.body) or remote
        own, types = None, remote[2] if remote else ()
        for entry, message in zip(self.recording.sip, self._parsed, strict=True):
            if entry["dir"] == "tx" and message.call_id == call_id:
                audio = sdp_audio(message.body)
                if audio and str(audio[1]) in self._media_of:
                    own = own or str(audio[1])
                    types = audio[2] if outbound else types
        if remote is None or own is None or "SAVP" in str(types):
            return
        index = list(self._media_of).index(own)
        if index < len(self.recording.rtp) and self.recording.rtp[index]["sent"] > 1:
            self._media_of[own].start((remote[0], remote[1]), types[0])

    # --- API and rooms ---------------------------------------------------------------------

    async def _call(self, index: int, call: Mapping[str, Any]) -> None:
        request = json.loads(self.names.live(json.dumps(call["req"])))
        grants = self.tune.grants
        rights = grants[index] if index < len(grants) else ALL_RIGHTS
        asked = time.monotonic()
        self.seen.moments[f"api {index}"] = asked
        status, body = await self._twirp(call["method"], request, rights)
        self.seen.moments[f"answered {index}"] = time.monotonic()
        self.seen.answers[index] = Answer(status, body, asked, time.monotonic())
        self.names.learn_ids(call.get("resp"), body)
        if status == 200 and "/CreateSIP" in call["method"]:
            for key in ("sip_trunk_id", "sip_dispatch_rule_id"):
                if key in body and "Participant" not in call["method"]:
                    kind = "Trunk" if key == "sip_trunk_id" else "DispatchRule"
                    self._made.append((f"SIP/DeleteSIP{kind}", {key: body[key]}))
        self._changed.set()

    async def _join(self, event: Mapping[str, Any]) -> None:
        ends, who = self._ground.endpoints, event["who"]
        room = self.names.live(event["room"])
        peer = Peer(who, room, self._timeline)
        token = (
            api.AccessToken(ends.api_key, ends.api_secret)
            .with_identity(who)
            .with_grants(api.VideoGrants(room_join=True, room=room))
        )
        await peer.connect(ends.livekit_url, token.to_jwt())
        self._peers[who] = peer

    async def _snap(self, step: Step) -> None:
        """Look at the rooms until they are as recorded, or patience ends."""
        deadline = time.monotonic() + (_IMPATIENCE if self.missed else 1.5)
        prefix = self.names.live(self.recording.room) if self._foreign else ""
        while True:
            rooms = await rooms_now(self._twirp, prefix)
            for snap in step.data["rooms"]:
                for room in rooms:
                    self.names.learn_ids(snap, room)
            found = snapshot_differences(step.data["rooms"], rooms, self.names)
            self.seen.snaps[step.index] = found
            if not found or time.monotonic() > deadline:
                return
            await asyncio.sleep(0.05)

    @property
    def _foreign(self) -> bool:
        return self._ground.endpoints.engine == "attach"

    async def _close(self) -> None:
        for task in self._calls.values():
            task.cancel()
        await asyncio.gather(*self._calls.values(), return_exceptions=True)
        prefix = self.names.live(self.recording.room) if self._foreign else ""
        for room in await rooms_now(self._twirp, prefix, look_inside=False):
            self._made.append(("RoomService/DeleteRoom", {"room": room["room"]["name"]}))
        for method, request in reversed(self._made):
            await self._twirp(method, request)
        for peer in self._peers.values():
            await peer.leave()
        for media in self.media:
            media.close()
        for line in self._lines.values():
            line.close()
