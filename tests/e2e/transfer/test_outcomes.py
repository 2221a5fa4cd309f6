"""How a transfer ends: what the NOTIFYs say, who else may ask, and odd NOTIFYs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from livekit import api

from sandbox import Room, Sandbox
from sandbox.telephony.inbound import duration
from sandbox.timeline import now
from tests.e2e.conftest import CALLER_TONE, PEER_TONE, Connect, assert_timed_out, refer_policy
from tests.e2e.wire import Wire, WireCall

TARGET = "tel:+15551111"


async def up(sandbox: Sandbox, wire: Wire) -> tuple[WireCall, Room]:
    """A call that is up, and its room."""
    number = await sandbox.inbound()
    assert number.room is not None
    peer = await number.room.join(tone=PEER_TONE)
    call = await (await wire.invite(number)).answered()
    await peer.attribute(call.identity, "sip.callStatus", "active")
    return call, number.room


def transfer(
    sandbox: Sandbox, room: Room, identity: str, to: str = TARGET, **fields: Any
) -> asyncio.Task[Any]:
    """TransferSIPParticipant, on its way."""
    if "ringing_timeout" in fields:
        fields["ringing_timeout"] = duration(fields["ringing_timeout"])
    return asyncio.create_task(
        sandbox.api.sip.transfer_sip_participant(
            api.TransferSIPParticipantRequest(
                room_name=room.name, participant_identity=identity, transfer_to=to, **fields
            )
        )
    )


@pytest.mark.parametrize(
    ("status", "reason", "http", "code"),
    [
        (603, "Decline", 403, "permission_denied"),
        (503, "Service Unavailable", 412, "failed_precondition"),
        (486, "Busy Here", 412, "failed_precondition"),
        (408, "Request Timeout", 408, "deadline_exceeded"),
        (202, "Accepted", 500, "unknown"),
    ],
)
async def test_a_notify_of_failure_is_the_exact_api_error(
    sandbox: Sandbox, wire: Wire, status: int, reason: str, http: int, code: str
) -> None:
    """The status of the NOTIFY is the API's error, and the call goes on; 202 is one as well.

    (S-XFR-06)
    """
    call, room = await up(sandbox, wire)
    running = transfer(sandbox, room, call.identity)
    refer = await call.received("REFER")
    await wire.respond(refer, 202, "Accepted")
    assert (await call.notify("SIP/2.0 100 Trying")).start == "SIP/2.0 200 success"
    assert (await call.notify(f"SIP/2.0 {status} {reason}")).start == "SIP/2.0 200 success"
    with pytest.raises(api.SipCallError) as caught:
        await running
    error = caught.value
    assert (error.status, error.code, error.sip_status_code) == (http, code, status)
    assert error.message == (
        f"twirp error unknown: call transfer failed: sip status: {status}: {reason}"
    )
    assert call.seen("BYE") == []
    await wire.event("wire.tone", hz=PEER_TONE)


@pytest.mark.parametrize("status", [200, 202])
async def test_a_refer_may_be_accepted_with_200_or_202(
    sandbox: Sandbox, wire: Wire, status: int
) -> None:
    """REFER 200 or 202 and NOTIFY 200: success, and BYE a second later. (S-XFR-01)"""
    call, room = await up(sandbox, wire)
    running = transfer(sandbox, room, call.identity)
    refer = await call.received("REFER")
    assert (refer.get("refer-to"), refer.get("referred-by")) == (TARGET, "")
    await wire.respond(refer, status, "Whatever")
    await call.notify("SIP/2.0 180 Ringing")
    await call.notify("SIP/2.0 200 OK")
    done = now()
    await asyncio.wait_for(running, 2)
    assert (await call.received("BYE", within=3)).cseq == "3 BYE"
    bye = await wire.event("wire.received", title="BYE")
    assert 0.6 < bye.at - done < 1.6


async def test_a_transfer_of_a_call_out(sandbox: Sandbox, wire: Wire) -> None:
    """A callee is transferred as a caller is. (S-XFR-15)"""
    room = sandbox.room()
    await room.join(tone=PEER_TONE)
    out = await sandbox.call_out(await sandbox.outbound_trunk(wire.address), "callee", room=room)
    call = await wire.incoming()
    await call.answer_with()
    running = transfer(sandbox, room, out.identity)
    await wire.respond(await call.received("REFER"), 202, "Accepted")
    await call.notify("SIP/2.0 200 OK")
    await asyncio.wait_for(running, 2)
    bye = await call.received("BYE", within=3)
    assert (bye.cseq, bye.get("user-agent")) == ("3 BYE", "LiveKit")


async def test_the_end_of_the_subscription_is_not_heeded(sandbox: Sandbox, wire: Wire) -> None:
    """Subscription-State: terminated without a final status is ignored: the transfer waits on.

    (S-XFR-10)
    """
    call, room = await up(sandbox, wire)
    running = transfer(sandbox, room, call.identity, ringing_timeout=1)
    await wire.respond(await call.received("REFER"), 202, "Accepted")
    headers = {
        "Event": "refer",
        "Subscription-State": "terminated;reason=noresource",
        "Content-Type": "message/sipfrag;version=2.0",
    }
    await call.notify("SIP/2.0 100 Trying", headers=headers)
    await assert_timed_out(running)


async def test_a_refer_that_is_not_answered_times_out(sandbox: Sandbox, wire: Wire) -> None:
    """A REFER without a response is repeated, and the API gives 408 after ringing_timeout.

    (S-XFR-09)
    """
    call, room = await up(sandbox, wire)
    running = transfer(sandbox, room, call.identity, ringing_timeout=1)
    await call.received("REFER")
    await assert_timed_out(running)
    assert len(call.seen("REFER")) > 1
    assert call.seen("BYE") == []


async def test_a_second_request_for_the_same_target_shares_the_first(
    sandbox: Sandbox, wire: Wire
) -> None:
    """Two requests for one target are one REFER, and both succeed with it. (S-XFR-11)"""
    call, room = await up(sandbox, wire)
    first = transfer(sandbox, room, call.identity)
    refer = await call.received("REFER")
    mark = sandbox.timeline.mark()
    second = transfer(sandbox, room, call.identity)
    await sandbox.timeline.wait(
        lambda e: e.name == "api.request", within=2, expected="the second request", since=mark
    )
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(second), 0.3)
    await wire.respond(refer, 202, "Accepted")
    await call.notify("SIP/2.0 200 OK")
    await asyncio.wait_for(asyncio.gather(first, second), 2)
    assert {refer.cseq for refer in call.seen("REFER")} == {refer.cseq}  # repeats are no second


async def test_a_dialtone_takes_the_place_of_the_room(sandbox: Sandbox, connect: Connect) -> None:
    """play_dialtone: while the transfer runs the caller hears ringing, and not the room.

    (S-XFR-08)
    """
    talk = await connect(await sandbox.inbound(), tone=CALLER_TONE)
    await talk.call.hears_tone(PEER_TONE, within=4)
    await refer_policy(talk.call, 202, dial=False)
    running = transfer(sandbox, talk.room, talk.identity, play_dialtone=True)
    await talk.call.transfer_requested(within=3)
    await talk.call.hears_tone(425, within=4)
    await talk.call.hears_no_tone(PEER_TONE, for_=0.3)
    await talk.call.hang_up()
    await asyncio.wait_for(running, 3)


async def test_after_a_failure_the_room_is_heard_again(sandbox: Sandbox, wire: Wire) -> None:
    """play_dialtone and a refusal: the room is heard both ways as before. (S-XFR-06, S-XFR-08)"""
    number = await sandbox.inbound()
    assert number.room is not None
    peer = await number.room.join(tone=PEER_TONE)
    call = await (await wire.invite(number)).answered()
    await peer.attribute(call.identity, "sip.callStatus", "active")
    running = transfer(sandbox, number.room, call.identity, play_dialtone=True)
    await wire.respond(await call.received("REFER"), 603, "Decline")
    with pytest.raises(api.SipCallError):
        await running
    await wire.event("wire.tone", hz=PEER_TONE)
    await peer.hears_tone(440, of=call.identity)
    assert call.seen("BYE") == []


async def test_odd_notifies_are_refused(sandbox: Sandbox, wire: Wire) -> None:
    """NOTIFY without Event is 400, of another event 501, and for an unknown call 481.

    (S-XFR-16)
    """
    call, _ = await up(sandbox, wire)
    body = "SIP/2.0 200 OK"
    without = await call.notify(body, headers={"Content-Type": "message/sipfrag"})
    other = await call.notify(body, headers={"Event": "presence"})
    stray = await call.notify(body, to=f"<{call.uri}>;tag=SCL_unknown")
    assert without.start == "SIP/2.0 400 no event in NOTIFY request"
    assert other.start == "SIP/2.0 501 unknown event"
    assert stray.start == "SIP/2.0 481 Call does not exist"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", "not enough tokens"),
        ("hello", "not enough tokens"),
        ("HTTP/1.1 200 OK", "wrong prefix or SIP version"),
    ],
)
async def test_a_notify_that_says_nothing_is_400(
    sandbox: Sandbox, wire: Wire, body: str, words: str
) -> None:
    """NOTIFY of a transfer whose body is no SIP status line is 400. (S-XFR-16)"""
    call, _ = await up(sandbox, wire)
    assert (await call.notify(body)).start == f"SIP/2.0 400 invalid notify body: {words}"


async def test_a_transfer_needs_room_admin(sandbox: Sandbox, wire: Wire) -> None:
    """A token without roomAdmin is refused: 401 permissions denied. (S-XFR-15)"""
    call, room = await up(sandbox, wire)
    ends = sandbox.endpoints
    token = (
        api.AccessToken(ends.api_key, ends.api_secret)
        .with_grants(api.VideoGrants(room=room.name))
        .with_sip_grants(api.SIPGrants(admin=True, call=True))
    )
    async with api.LiveKitAPI(ends.livekit_url, token=token.to_jwt()) as client:
        with pytest.raises(api.ServerError) as caught:
            await client.sip.transfer_sip_participant(
                api.TransferSIPParticipantRequest(
                    room_name=room.name, participant_identity=call.identity, transfer_to=TARGET
                )
            )
    assert (caught.value.status, caught.value.code) == (401, "unauthenticated")
    assert caught.value.message == "permissions denied"


async def test_a_call_that_is_over_cannot_be_transferred(sandbox: Sandbox, wire: Wire) -> None:
    """After the BYE the participant is not there any more: 404. (S-XFR-15)"""
    call, room = await up(sandbox, wire)
    await call.bye()
    await room.left(call.identity)
    with pytest.raises(api.ServerError) as caught:
        await transfer(sandbox, room, call.identity)
    assert (caught.value.status, caught.value.code) == (404, "not_found")
    assert caught.value.message == "twirp error unknown: participant does not exist"


async def test_a_transfer_needs_a_participant_and_a_target(sandbox: Sandbox, wire: Wire) -> None:
    """Without an identity and without a target the request is 400. (S-XFR-03)"""
    call, room = await up(sandbox, wire)
    for identity, target, message in (
        ("", TARGET, "twirp error unknown: Missing participant identity"),
        (call.identity, "", "missing transfer to"),
    ):
        with pytest.raises(api.ServerError) as caught:
            await transfer(sandbox, room, identity, target)
        assert (caught.value.status, caught.value.code) == (400, "invalid_argument")
        assert caught.value.message == message


async def test_a_third_party_is_dialled_into_the_room(sandbox: Sandbox) -> None:
    """A consultation: a colleague called into the caller's room, and all three hear each other.

    (S-XFR-14)
    """
    number = await sandbox.inbound()
    assert number.room is not None
    peer = await number.room.join(tone=PEER_TONE)
    caller = await sandbox.phone.dial(number, tone=1100)
    await caller.answered(within=5)
    line = await sandbox.phone.line()
    await line.answers(tone=1700)
    out = await sandbox.call_out(
        await sandbox.outbound_trunk(line.address), line.number, room=number.room
    )
    colleague = await line.incoming()
    await colleague.answered(within=3)
    await peer.hears_tone(1700, of=out.identity, within=5)
    await peer.leave()
    await asyncio.gather(caller.hears_tone(1700, within=5), colleague.hears_tone(1100, within=5))


async def test_a_consultation_in_a_room_of_its_own_stays_there(
    sandbox: Sandbox, wire: Wire
) -> None:
    """A colleague called into another room hears and is heard there alone. (S-XFR-18)"""
    call, room = await up(sandbox, wire)
    other = sandbox.room()
    agent = await other.join(tone=1100)
    line = await sandbox.phone.line()
    await line.answers(tone=1700)
    out = await sandbox.call_out(
        await sandbox.outbound_trunk(line.address), line.number, room=other
    )
    colleague = await line.incoming()
    await colleague.answered(within=3)
    await agent.hears_tone(1700, of=out.identity)
    await colleague.hears_tone(1100, within=4)
    await agent.sees(out.identity)
    await colleague.send_dtmf("1")
    await agent.dtmf("1", of=out.identity)
    assert set(await room.participants()) & {out.identity, agent.identity} == set()
    assert all(abs(hz - 1700) > 50 and abs(hz - 1100) > 50 for hz in call.media.tones)
    assert call.keys == []


async def test_a_participant_cannot_be_moved_to_another_room(sandbox: Sandbox, wire: Wire) -> None:
    """MoveParticipant, which a warm transfer is built on, is not there in open-source LiveKit.

    (S-XFR-13)
    """
    call, room = await up(sandbox, wire)
    with pytest.raises(api.ServerError) as caught:
        await sandbox.api.room.move_participant(
            api.MoveParticipantRequest(
                room=room.name, identity=call.identity, destination_room=sandbox.room().name
            )
        )
    assert "not implemented" in caught.value.message
