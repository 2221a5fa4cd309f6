"""Plays a recording again: does what was done, each step once what came before it has been seen."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from livekit import api

from sandbox.agents.worker import Agent, AgentHost
from sandbox.stack.endpoints import Endpoints
from sandbox.telephony.numbers import NumberBlock
from sandbox.telephony.peer import Peer
from sandbox.timeline import Timeline

from .cases import FallSilent, Press, Publish, Tune
from .media import CALLER_HZ
from .recording import PEER_HZ, SERVICE, Recording, Step
from .snapshot import NOT_COMPARED, rooms_now, snapshot_differences
from .twirp import ALL_RIGHTS, Twirp
from .useragent import UserAgent, collapsed, word
from .volatile import Names
from .witness import Witness

__all__ = ["Answer", "Ground", "Replay"]

#: Seconds a step is waited for beyond the time it took when it was recorded.
_PATIENCE = 3.0
#: The same once something has been missed: the rest is likely to be missed too.
_IMPATIENCE = 0.4


@dataclass(frozen=True, slots=True)
class Ground:
    """What a replay stands on: a running stack, and our address as its SIP service sees it."""

    endpoints: Endpoints
    timeline: Timeline
    http: aiohttp.ClientSession
    host: str
    agents: AgentHost


@dataclass(frozen=True, slots=True)
class Answer:
    """What an API call gave."""

    http: int
    body: Any


class Replay:
    """One recording, played against the SIP service of a stack.

    Attributes:
        recording: what is played.
        tune: how.
        names: the recorded names of things and what they are called in this run.
        agent: the user agent: what came by SIP and RTP.
        witness: what was seen in the rooms.
        answers: what each API call gave.
        pictures: how each picture of the rooms differs from the recorded one.
        missed: what was waited for in vain.
    """

    def __init__(self, recording: Recording, tune: Tune, ground: Ground) -> None:
        self.recording = recording
        self.tune = tune
        self.names = Names()
        self._changed = asyncio.Event()
        self.agent = UserAgent(recording, self.names, self._changed.set)
        self.witness = Witness(ground.timeline, self.names)
        self.answers: dict[int, Answer] = {}
        self.pictures: dict[int, list[str]] = {}
        self.missed: list[str] = []
        self._ground = ground
        self._twirp = Twirp(ground.endpoints, ground.http)
        self._peers: dict[str, Peer] = {}
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._made: list[tuple[str, dict[str, str]]] = []
        self._watched: set[int] = set()
        self._began = 0.0
        self._worker: Agent | None = None

    # --- running ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Play the recording to its end, and take down what it made."""
        unsubscribe = self._ground.timeline.subscribe(lambda event: self._changed.set())
        try:
            await self._open()
            await self._play()
        finally:
            # What taking down brings about is not part of it.
            self.witness.end()
            self.agent.end()
            unsubscribe()
            await self._close()

    async def _open(self) -> None:
        ends, host = self._ground.endpoints, self._ground.host
        for text in self.tune.alike:
            self.names.alike(text)
        self.names.learn("sip", SERVICE, ends.sip_address, numbered=False)
        await self.agent.open(host, (ends.sip_host, ends.sip_port))
        # One address was both sides' when it was recorded.
        self.names.learn("host", "127.0.0.1", host, numbered=False)
        if not host.startswith("127."):
            self.names.learn("network", "127.0.0.0/8", f"{host}/8")
        self.names.learn_also("127.0.0.1", ends.sip_host)
        digits = NumberBlock().take().lstrip("+")
        self.names.learn("number", self.recording.number.lstrip("+"), digits, numbered=False)
        if self.tune.agent is not None:
            self._worker = Agent(self._ground.agents, f"cf-{word(8)}", self.tune.agent)
            self.names.learn("agent", "rec-agent", self._worker.name, numbered=False)
            await self._worker.start()
        self.names.learn("room", self.recording.room, f"cf-{word(8)}", numbered=False)

    async def _play(self) -> None:
        actions = [Step(at, "do", action) for at, action in self.tune.do]
        waiting: list[Step] = []
        last: float | None = None
        before = 0.0
        for step in self.recording.steps(actions):
            if step.at > self.tune.until:
                break
            if step.ours:
                await self._see(waiting, last or 0.0)
                await self._watch_silence(step.at)
                if step.kind == "api" and step.data["method"].startswith("RoomService/"):
                    # Somebody looked at the call before this was done.
                    await self._until(self._settled, _IMPATIENCE)
                if last is None:
                    self._began = time.monotonic() - step.at
                await self._pause(step, step.at - before)
                await self._do(step)
                last = step.at
            else:
                waiting.append(step)
            before = step.at
        await self._see(waiting, last or 0.0)
        await self._watch_silence(float("inf"))

    async def _pause(self, step: Step, gap: float) -> None:
        if step.kind == "leave":
            return
        if self.tune.pace is None:
            gap = self._began + step.at - time.monotonic()
        else:
            gap = min(gap, self.tune.pace)
        await asyncio.sleep(max(0.0, gap))

    async def _do(self, step: Step) -> None:
        if step.kind == "api":
            self._calls[step.index] = asyncio.create_task(self._call(step.index, step.data))
            await asyncio.sleep(0)
        elif step.kind == "tx":
            await self.agent.send(step.index)
        elif step.kind == "join":
            await self._join(step.data)
        elif step.kind == "publish":
            await self._peers[step.data["who"]].publish_tone(PEER_HZ)
            self.agent.moment("published", time.monotonic())
        elif step.kind == "leave":
            await self._peers[step.data["who"]].leave()
        elif step.kind == "snap":
            await self._picture(step)
        elif isinstance(step.data, Press):
            self.agent.moment("key", time.monotonic())
            media = next(m for m in reversed(self.agent.media) if m.sending)
            for key in step.data.keys:
                media.press(key, step.data.milliseconds)
            await asyncio.wait_for(media.pressed.wait(), 10)
            self.agent.moment("pressed", time.monotonic())
        elif isinstance(step.data, FallSilent):
            for media in self.agent.media:
                media.stop()
        elif isinstance(step.data, Publish):
            await next(iter(self._peers.values())).publish_dtmf(step.data.digits)

    # --- waiting ---------------------------------------------------------------------------

    async def _see(self, waiting: list[Step], last: float) -> None:
        """Wait until everything of `waiting` has been seen, or is given up."""
        for step in waiting:
            patience = _IMPATIENCE if self.missed else _PATIENCE + max(0.0, step.at - last)
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

    def _describe(self, step: Step) -> str:
        if step.kind == "rx":
            message = self.agent.recorded_message(step.index)
            return f"SIP {message.start} [{message.cseq}]"
        if step.kind == "answered":
            return f"the answer of API call {step.index} {step.data['method']}"
        if step.kind == "keys":
            return f"telephone-event {step.data} at the phone"
        if step.kind == "hears":
            return f"audio at the phone (stream {step.index})"
        data = {k: v for k, v in step.data.items() if k not in ("t", "who", "attributes")}
        return f"room event {self.names.recorded_view(json.dumps(data))}"

    def _sight(self, step: Step) -> Callable[[], bool]:
        """Tells whether what `step` is about has been seen."""
        if step.kind == "answered":
            return lambda: step.index in self.answers
        if step.kind == "rx":
            key = self.agent.key_of(step.index)
            before = [i for i in self.agent.recorded[key] if i <= step.index]
            wanted = len(collapsed([self.agent.recorded_message(i) for i in before]))
            return lambda: len(collapsed(self.agent.messages[key])) >= wanted
        if step.kind == "keys":
            keys = self.agent.media[step.index].keys
            return lambda: sum(key.ended for key in keys.values()) >= int(step.data)
        if step.kind == "hears":
            return lambda: self._phone_hears(step.index, step.data)
        return self._sight_in_room(step.data)

    def _sight_in_room(self, event: Mapping[str, Any]) -> Callable[[], bool]:
        witness = self.witness
        if event["event"] == "sip_dtmf":
            wanted = sum(
                other["event"] == "sip_dtmf" and other["t"] <= event["t"]
                for other in self.recording.room_events
            )
            return lambda: len(witness.digits()) >= wanted
        identity = event["identity"]
        if event["event"] in ("first_audible_audio", "audible"):
            if not self.caller_is_audible():
                return lambda: True
            if event["event"] == "audible":
                return lambda: witness.heard(CALLER_HZ)
            return lambda: any(
                e.name == "room.tone" and e.data["on"] for e in witness.about(identity)
            )
        if event["event"] == "participant_disconnected":
            return lambda: witness.webhook("participant_left", identity) is not None
        changed = event.get("changed", {})
        if not changed:
            return lambda: any(
                e.name == "room.participant_connected" for e in witness.about(identity)
            )
        return lambda: all(
            self.names.recorded_view(value)
            in [self.names.live_view(live) for live in witness.values(identity, key)]
            for key, value in changed.items()
            if key not in NOT_COMPARED
        )

    def _settled(self) -> bool:
        """Whether a SIP participant has joined, if a call is under way."""
        return not self.agent.messages or self.witness.caller_joined()

    async def _watch_silence(self, until: float) -> None:
        """Give a request that was never answered the time to be answered now."""
        for index, entry in enumerate(self.recording.sip):
            message = self.agent.recorded_message(index)
            if entry["dir"] != "tx" or entry["t"] >= min(until, self.tune.until):
                continue
            if index in self._watched or not message.is_request or message.method == "ACK":
                continue
            self._watched.add(index)
            call_id, cseq, _, tag = self.agent.key_of(index)
            answers = self.agent.recorded.get((call_id, cseq, False, tag), [])
            if not any(self.agent.recorded_message(i).status >= 200 for i in answers):
                await asyncio.sleep(self.tune.window)
                return

    def caller_is_audible(self) -> bool:
        """Whether our phone sends a tone that can be told."""
        return any(stream["sent"] and "9" not in stream["pts"] for stream in self.recording.rtp)

    def _phone_hears(self, index: int, tone: float | None) -> bool:
        if index >= len(self.agent.media):
            return True
        media = self.agent.media[index]
        if tone is None:
            return media.loud_at is not None
        return any(abs(hz - tone) < 15 for hz in media.tones)

    def moments(self) -> Mapping[str, float]:
        """When what happened, on the monotonic clock."""
        came = self.witness.came()
        clock = time.time() - time.monotonic()
        return self.agent.moments | ({"joined": came.at - clock} if came else {})

    # --- API and rooms ---------------------------------------------------------------------

    async def _call(self, index: int, call: Mapping[str, Any]) -> None:
        request = json.loads(self.names.live(json.dumps(call["req"])))
        grants = self.tune.grants
        self.agent.moment(f"api {index}", time.monotonic())
        status, body = await self._twirp(
            call["method"], request, grants[index] if index < len(grants) else ALL_RIGHTS
        )
        self.agent.moment(f"answered {index}", time.monotonic())
        self.names.learn_ids(call.get("resp"), body)
        if status == 200 and call["method"].endswith("Trunk") and "/Create" in call["method"]:
            self._made.append(("SIP/DeleteSIPTrunk", {"sip_trunk_id": body["sip_trunk_id"]}))
        elif status == 200 and call["method"] == "SIP/CreateSIPDispatchRule":
            wanted = {"sip_dispatch_rule_id": body["sip_dispatch_rule_id"]}
            self._made.append(("SIP/DeleteSIPDispatchRule", wanted))
        self.answers[index] = Answer(status, body)
        self._changed.set()

    async def _join(self, event: Mapping[str, Any]) -> None:
        ends, who = self._ground.endpoints, event["who"]
        room = self.names.live(event["room"])
        token = (
            api.AccessToken(ends.api_key, ends.api_secret)
            .with_identity(who)
            .with_grants(api.VideoGrants(room_join=True, room=room))
        )
        peer = self._peers[who] = Peer(who, room, self._ground.timeline)
        await peer.connect(ends.livekit_url, token.to_jwt())

    async def _picture(self, step: Step) -> None:
        """Look at the rooms until they are as recorded, or patience ends."""
        deadline = time.monotonic() + (_IMPATIENCE if self.missed else 1.5)
        while True:
            rooms = await self._rooms()
            found = snapshot_differences(
                step.data["rooms"], rooms, self.names, answered=self.recording.answered(step.at)
            )
            self.pictures[step.index] = found
            if not found or time.monotonic() > deadline:
                return
            await asyncio.sleep(0.05)

    async def _rooms(self, *, look_inside: bool = True) -> list[dict[str, Any]]:
        """The rooms of this replay: on a stack of ours all that there are."""
        foreign = self._ground.endpoints.engine == "attach"
        prefix = self.names.live(self.recording.room) if foreign else ""
        return await rooms_now(self._twirp, prefix, look_inside=look_inside)

    async def _close(self) -> None:
        for task in self._calls.values():
            task.cancel()
        await asyncio.gather(*self._calls.values(), return_exceptions=True)
        for room in await self._rooms(look_inside=False):
            self._made.append(("RoomService/DeleteRoom", {"room": room["room"]["name"]}))
        for method, request in reversed(self._made):
            await self._twirp(method, request)
        for peer in self._peers.values():
            await peer.leave()
        if self._worker is not None:
            await self._worker.stop()
        self.agent.close()
