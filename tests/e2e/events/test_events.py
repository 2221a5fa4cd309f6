"""What livekit-server tells of calls: webhooks, active speakers, and messages to a phone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from livekit import rtc

from sandbox import Sandbox
from tests.e2e.conftest import CALLER_TONE, PEER_TONE, Connect


def told(sandbox: Sandbox, room: str, identity: str = "") -> list[dict[str, Any]]:
    """The webhooks about a room and, in it, about nobody or about `identity`."""
    return [
        dict(event.data)
        for event in sandbox.timeline.since(sandbox.mark)
        if event.source == "webhook"
        and event.data.get("room", {}).get("name") == room
        and event.data.get("participant", {}).get("identity", "") in ("", identity)
    ]


async def test_the_webhooks_of_a_call_in(sandbox: Sandbox) -> None:
    """room_started, participant_joined with kind SIP and the attributes, track_published, and at
    the end track_unpublished and participant_left with the reason.

    (S-EVT-01)
    """
    number = await sandbox.inbound(attributes={"tier": "gold"})
    assert number.room is not None
    call = await sandbox.phone.dial(number)
    room, caller = await sandbox.joined(call)
    await number.room.join(tone=PEER_TONE)
    await call.answered(within=3)
    await call.hang_up()
    await room.left(caller.identity)
    events = told(sandbox, room.name, caller.identity)
    names = [event["event"] for event in events]
    assert names[:2] == ["room_started", "participant_joined"]
    assert set(names[2:]) >= {"track_published", "participant_left"}
    joined = events[1]["participant"]
    assert (joined["kind"], joined["name"]) == ("SIP", caller.name)
    assert joined["attributes"]["tier"] == "gold"
    assert joined["attributes"]["sip.callStatus"] == "ringing"
    left = next(e["participant"] for e in events if e["event"] == "participant_left")
    assert left["disconnect_reason"] == "CLIENT_INITIATED"
    assert left["attributes"]["sip.callStatus"] == "hangup"


async def test_the_webhooks_of_a_call_out_that_fails(sandbox: Sandbox) -> None:
    """A callee who refuses: the participant is told of, and why it left. (S-EVT-01)"""
    line = await sandbox.phone.line()
    await line.rejects(486)
    out = await sandbox.call_out(await sandbox.outbound_trunk(line.address), line.number)
    gone = await out.room.left(out.identity)
    events = told(sandbox, out.room.name, out.identity)
    assert events[0]["event"] == "room_started"
    assert gone.attributes["sip.callStatus"] == "dialing"
    last = events[-1]["participant"]
    assert (last["kind"], last["disconnect_reason"]) == ("SIP", "USER_REJECTED")


async def test_a_phone_is_never_an_active_speaker(sandbox: Sandbox, connect: Connect) -> None:
    """livekit-sip sends no audio level: a peer that speaks is told of as speaking, a phone not.

    (S-EVT-02, livekit/sip#200)
    """
    number = await sandbox.inbound()
    assert number.room is not None
    listener = await number.room.join()
    spoke: set[str] = set()
    anybody = asyncio.Event()

    def speakers(who: list[rtc.Participant]) -> None:
        spoke.update(p.identity for p in who)
        if spoke:
            anybody.set()

    listener.rtc.on("active_speakers_changed", speakers)
    talk = await connect(number, tone=CALLER_TONE)
    await listener.hears_tone(CALLER_TONE, of=talk.identity)
    await asyncio.wait_for(anybody.wait(), 4)
    assert spoke == {talk.peer.identity}


async def test_an_unknown_rpc_to_a_phone_is_refused(sandbox: Sandbox, connect: Connect) -> None:
    """A SIP participant knows its own two RPC methods: every other is error 1400. (S-EVT-03)"""
    talk = await connect(await sandbox.inbound())
    await talk.peer.sees(talk.identity)
    with pytest.raises(rtc.RpcError) as caught:
        await talk.peer.rtc.local_participant.perform_rpc(
            destination_identity=talk.identity, method="greet", payload="hello"
        )
    assert (caught.value.code, caught.value.message) == (
        1400,
        "Method not supported at destination",
    )


async def test_text_to_a_phone_is_ignored(sandbox: Sandbox, connect: Connect) -> None:
    """A text stream and data to a SIP participant are taken by nobody, and harm nothing.

    (S-EVT-03)
    """
    talk = await connect(await sandbox.inbound(), tone=CALLER_TONE)
    await talk.peer.sees(talk.identity)
    me = talk.peer.rtc.local_participant
    await me.send_text("hello", destination_identities=[talk.identity], topic="lk.chat")
    await me.publish_data(b"hello", destination_identities=[talk.identity])
    await talk.peer.publish_dtmf("5")
    await talk.call.dtmf("5")
    assert talk.call.state == "answered"
