"""When a call in is answered, how it rings until then, and what else may end its ringing."""

from __future__ import annotations

import asyncio
import time

import pytest
from livekit import api, rtc

from sandbox import DeadlineMissed, Sandbox
from sandbox.stack.readiness import until
from tests.e2e.conftest import PEER_TONE, Connect
from tests.e2e.wire import Wire, WireCall

Reason = api.DisconnectReason


async def stays_ringing(call: WireCall, *, window: float = 0.8) -> None:
    """No final response comes for a while (an answer takes 0.1 s)."""
    await call.provisional(180)
    with pytest.raises(DeadlineMissed):
        await call.final(within=window)


async def test_it_rings_once_a_second(sandbox: Sandbox, wire: Wire) -> None:
    """180 is repeated every second until the call is answered. (S-ANS-01)"""
    call = await wire.invite(await sandbox.inbound())
    await call.provisional(100)
    await call.provisional(180)
    first = time.monotonic()
    await wire.message(
        lambda m: m.status == 180 and len(call.responses(180)) == 2,
        within=3,
        expected="a second 180",
        skip=len(wire.messages),
    )
    assert 0.8 < time.monotonic() - first < 1.5
    assert [m.start for m in call.responses(180)] == ["SIP/2.0 180 Ringing"] * 2


async def test_the_provisional_responses_name_the_call(sandbox: Sandbox, wire: Wire) -> None:
    """100 Processing and 180 Ringing have Allow, no Contact, and the call's id as To tag.

    (S-ANS-02)
    """
    number = await sandbox.inbound()
    assert number.room is not None
    call = await wire.invite(number)
    trying, ringing = await call.provisional(100), await call.provisional(180)
    who = await number.room.sip_participant()
    assert trying.start == "SIP/2.0 100 Processing"
    for message in (trying, ringing):
        assert message.to_tag == who.attributes["sip.callID"]
        assert message.get("allow")
        assert message.get("contact") == ""


async def test_an_answer_has_a_contact_and_neither_allow_nor_server(
    sandbox: Sandbox, wire: Wire
) -> None:
    """The 200 has a Contact, and no Allow, Server or User-Agent. (S-ANS-02)"""
    number = await sandbox.inbound()
    assert number.room is not None
    await number.room.join(tone=PEER_TONE)
    call = await (await wire.invite(number)).answered()
    assert call.answer is not None
    assert call.answer.start == "SIP/2.0 200 OK"
    assert call.answer.get("contact") == f"<sip:{sandbox.endpoints.sip_address};transport=udp>"
    assert [call.answer.get(name) for name in ("allow", "server", "user-agent")] == ["", "", ""]


async def test_a_listener_does_not_answer(sandbox: Sandbox, wire: Wire) -> None:
    """A participant who only listens lets it ring. (S-ANS-03)"""
    number = await sandbox.inbound()
    assert number.room is not None
    await number.room.join()
    await stays_ringing(await wire.invite(number))


async def test_video_does_not_answer(sandbox: Sandbox, wire: Wire) -> None:
    """A participant who publishes video alone lets it ring. (S-ANS-03)"""
    number = await sandbox.inbound()
    assert number.room is not None
    peer = await number.room.join()
    source = rtc.VideoSource(64, 64)
    track = rtc.LocalVideoTrack.create_video_track("camera", source)
    await peer.rtc.local_participant.publish_track(track)
    await stays_ringing(await wire.invite(number))
    await source.aclose()


async def test_a_muted_track_answers(sandbox: Sandbox, wire: Wire) -> None:
    """An audio track answers the call though it is muted. (S-ANS-03)"""
    number = await sandbox.inbound()
    assert number.room is not None
    peer = await number.room.join(tone=PEER_TONE)
    (publication,) = peer.rtc.local_participant.track_publications.values()
    assert publication.track is not None
    publication.track.mute()
    await (await wire.invite(number)).answered(within=3)


async def test_a_hidden_listener_does_not_answer(sandbox: Sandbox, wire: Wire) -> None:
    """A hidden participant is unseen by the caller, and lets it ring. (S-ANS-03, Q12)"""
    number = await sandbox.inbound()
    assert number.room is not None
    await number.room.observe()
    await stays_ringing(await wire.invite(number))


async def test_the_status_of_a_ringing_timeout_cannot_be_chosen(
    sandbox: Sandbox, wire: Wire
) -> None:
    """ringing_timeout_status is stored and not heeded: the call is 486 Rejected, not 480.

    (S-ANS-04)
    """
    number = await sandbox.inbound(ringing_timeout=1, ringing_timeout_status=480)
    assert number.trunk is not None
    assert number.trunk.ringing_timeout_status == 480
    call = await wire.invite(number)
    assert (await call.final(within=4)).start == "SIP/2.0 486 Rejected"


async def test_max_call_duration_ends_the_ringing_too(sandbox: Sandbox, wire: Wire) -> None:
    """A call that still rings after max_call_duration is 486 Rejected. (S-ANS-12)"""
    call = await wire.invite(await sandbox.inbound(max_call_duration=1))
    assert (await call.final(within=4)).start == "SIP/2.0 486 Rejected"


async def test_an_answer_without_ack_is_repeated_and_stays_up(sandbox: Sandbox, wire: Wire) -> None:
    """A 200 that is not acknowledged is sent three times; with RTP the call then stays up.

    (S-ANS-08)
    """
    number = await sandbox.inbound()
    assert number.room is not None
    await number.room.join(tone=PEER_TONE)
    call = await (await wire.invite(number)).answered(ack=False)
    await wire.message(
        lambda m: m.status == 200 and len(call.responses(200)) == 3,
        within=3,
        expected="a third 200",
        skip=len(wire.messages),
    )
    assert len({m.text for m in call.responses(200)}) == 1
    assert call.seen("BYE") == []
    assert call.identity in await number.room.participants()
    # livekit-sip answers a BYE before that with one of its own, later, and waits for its answer.
    await call.acknowledge(call.responses(200)[-1])


@pytest.mark.parametrize("extension", ["100rel", "timer", "foo"])
async def test_a_required_extension_is_ignored(
    sandbox: Sandbox, wire: Wire, extension: str
) -> None:
    """Require is not looked at: the call is answered, never 420. (S-ANS-10)"""
    number = await sandbox.inbound()
    assert number.room is not None
    await number.room.join(tone=PEER_TONE)
    await (await wire.invite(number, headers={"Require": extension})).answered()


async def test_ten_calls_at_once_are_answered_in_five_rooms(sandbox: Sandbox, wire: Wire) -> None:
    """Two callers to each of five numbers meet in the room of their number, all at once.

    (S-ANS-11, S-ANS-06)
    """
    numbers = [sandbox.number() for _ in range(5)]
    prefix = sandbox.room_name("many")
    await sandbox.inbound(numbers=numbers, kind="callee", room_prefix=prefix)
    calls = await asyncio.gather(*(wire.invite(number) for number in numbers * 2))
    await asyncio.gather(*(call.answered(within=10) for call in calls))
    for number, first, second in zip(numbers, calls, calls[5:], strict=False):
        members = await sandbox.room(f"{prefix}_{number}").participants()
        assert set(members) == {first.identity, second.identity}


async def test_a_caller_who_leaves_at_once_leaves_nobody_behind(
    sandbox: Sandbox, wire: Wire
) -> None:
    """CANCEL right behind the INVITE: 487, and no participant is left. (S-ANS-13)"""
    number = await sandbox.inbound()
    assert number.room is not None
    call = await wire.invite(number)
    await call.provisional(180)
    await call.cancel()
    assert (await call.final()).start == "SIP/2.0 487 Request Terminated"
    second = await wire.invite(number)
    room = number.room
    await room.participant(second.identity)

    async def alone() -> bool:  # who was on the way into the room may still come, and leave
        return set(await room.participants()) == {second.identity}

    assert await until(alone, within=4)


async def test_a_cancelled_call_leaves_its_room(sandbox: Sandbox, wire: Wire) -> None:
    """After CANCEL the caller leaves with hangup; the empty room stays. (S-ANS-05)"""
    number = await sandbox.inbound()
    assert number.room is not None
    call = await wire.invite(number)
    await number.room.participant(call.identity)
    cancel = await call.cancel(headers={"Reason": 'SIP;cause=200;text="Call completed elsewhere"'})
    assert cancel.start == "SIP/2.0 200 OK"
    gone = await number.room.left(call.identity)
    assert gone.disconnect_reason == Reason.CLIENT_INITIATED
    assert gone.attributes["sip.callStatus"] == "hangup"
    info = await number.room.info()
    assert info is not None
    assert info.num_participants == 0


async def test_a_bye_before_the_answer_ends_the_call_without_a_final_response(
    sandbox: Sandbox, wire: Wire
) -> None:
    """BYE in the early dialog is 200, the caller leaves, and the INVITE is never answered.

    (S-ANS-13)
    """
    number = await sandbox.inbound()
    assert number.room is not None
    call = await wire.invite(number)
    await number.room.participant(call.identity)
    call.remote = (await call.provisional(180)).get("to")
    assert (await call.bye()).start == "SIP/2.0 200 OK"
    gone = await number.room.left(call.identity)
    assert gone.attributes["sip.callStatus"] == "hangup"
    with pytest.raises(DeadlineMissed):
        await call.final(within=0.6)


async def test_a_repeated_invite_is_one_call(sandbox: Sandbox, wire: Wire) -> None:
    """The same INVITE three times over is one call and one participant.

    The repeats come after the 100, as UDP's do: 500 ms later at the earliest (RFC 3261, 17.1.1.2).
    Of INVITEs in one millisecond livekit-sip was seen to make two calls (invite_requests rose by
    two), of which neither was answered. (S-ANS-11)
    """
    number = await sandbox.inbound()
    assert number.room is not None
    await number.room.join(tone=PEER_TONE)
    call = await wire.invite(number)
    await call.provisional(100)
    await wire.send(call.sent)
    await wire.send(call.sent)
    await call.answered()
    callers = [p for p in (await number.room.participants()).values() if p.kind == 3]
    assert [p.identity for p in callers] == [call.identity]


@pytest.mark.sandbox_allow(
    "log-line",
    match="max participants|closed by media|bad handshake|could not (establish|join)",
    reason="the room is full: the join fails, and both services log it",
)
async def test_a_call_to_a_full_room_is_rejected(sandbox: Sandbox, wire: Wire) -> None:
    """A room with max_participants reached rejects the caller with 486. (S-DSP-15)"""
    number = await sandbox.inbound()
    assert number.room is not None
    await number.room.create(max_participants=1)
    await number.room.join(tone=PEER_TONE)
    call = await wire.invite(number)
    assert (await call.final()).start == "SIP/2.0 486 Rejected"


async def test_the_answer_is_active_at_once_where_rtp_flows(
    sandbox: Sandbox, connect: Connect
) -> None:
    """callStatus goes from ringing to active with the answer. (S-ANS-02)"""
    talk = await connect(await sandbox.inbound())
    await talk.peer.attribute(talk.identity, "sip.callStatus", "active", within=2)
    statuses = list(talk.peer.values(talk.identity, "sip.callStatus"))
    # livekit-server may tell the peer of both changes at once, or of the second twice.
    assert statuses in (["ringing", "active"], ["active"], ["active", "active"])
