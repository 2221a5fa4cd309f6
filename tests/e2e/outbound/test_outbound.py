"""Calls that livekit places: CreateSIPParticipant, seen from the phone and from the room."""

from __future__ import annotations

import asyncio

import pytest
from livekit import api

from sandbox import Sandbox
from tests.e2e.conftest import PEER_TONE

pytestmark = pytest.mark.core

Reason = api.DisconnectReason


async def test_an_answered_call_talks_both_ways(sandbox: Sandbox) -> None:
    """With wait_until_answered the API returns after the 200, and audio goes both ways.

    (S-OUT-03)
    """
    line = await sandbox.phone.line()
    await line.answers(tone=440)
    room = sandbox.room()
    peer = await room.join(tone=PEER_TONE)
    out = await sandbox.call_out(
        await sandbox.outbound_trunk(line.address), line.number, room=room, wait=True
    )
    call = await line.incoming(within=2)
    await call.answered(within=2)
    assert out.call_id.startswith("SCL_")
    assert out.identity == f"sip_{line.number}"
    await asyncio.gather(
        call.hears_tone(PEER_TONE, within=4),
        peer.hears_tone(440, of=out.identity, within=4),
    )


async def test_the_status_goes_from_dialing_over_ringing_to_active(sandbox: Sandbox) -> None:
    """sip.callStatus: dialing, ringing on the 180, active on the 200, hangup on the BYE.

    (S-OUT-02)
    """
    line = await sandbox.phone.line()
    await line.manual()
    room = sandbox.room()
    peer = await room.join()
    out = await sandbox.call_out(await sandbox.outbound_trunk(line.address), line.number, room=room)
    call = await line.incoming(within=3)
    await peer.attribute(out.identity, "sip.callStatus", "dialing")
    await call.ring()
    await peer.attribute(out.identity, "sip.callStatus", "ringing")
    await call.answer()
    await peer.attribute(out.identity, "sip.callStatus", "active")
    await call.hang_up()
    await peer.attribute(out.identity, "sip.callStatus", "hangup")
    assert peer.values(out.identity, "sip.callStatus") == [
        "dialing",
        "ringing",
        "active",
        "hangup",
    ]


async def test_the_invite_says_who_calls_whom(sandbox: Sandbox) -> None:
    """The INVITE's Request-URI, From, To and tag are those of the call. (S-OUT-01)"""
    line = await sandbox.phone.line()
    await line.rejects(486, "Busy Here")
    trunk = await sandbox.outbound_trunk(line.address, transport=api.SIPTransport.SIP_TRANSPORT_UDP)
    out = await sandbox.call_out(trunk, line.number)
    call = await line.incoming(within=3)
    invite = call.invite
    number = trunk.numbers[0]
    host, port = line.address.split(":")
    assert invite.start_line == f"INVITE sip:{line.number}@{host}:{port};transport=udp SIP/2.0"
    assert invite.header("From") == (
        f'"{number}" <sip:{number}@{sandbox.endpoints.sip_host};transport=udp>;tag={out.call_id}'
    )
    assert invite.header("To") == f"<sip:{line.number}@{line.address};transport=udp>"
    assert invite.header("CSeq") == "1 INVITE"
    assert invite.header("Max-Forwards") == "70"
    assert invite.header("User-Agent") is None
    media = next(line for line in invite.body.splitlines() if line.startswith("m="))
    assert media.endswith("RTP/AVP 9 0 8 101")


async def test_the_participant_has_the_attributes_of_the_call(sandbox: Sandbox) -> None:
    """An outbound SIP participant joins with its numbers, its trunk and what was asked for.

    (S-OUT-17)
    """
    line = await sandbox.phone.line()
    await line.rings()
    trunk = await sandbox.outbound_trunk(line.address)
    out = await sandbox.call_out(
        trunk,
        line.number,
        participant_identity="callee",
        participant_name="The callee",
        participant_metadata="meta",
        participant_attributes={"purpose": "reminder"},
    )
    info = await out.room.participant("callee")
    assert info.name == "The callee"
    assert info.metadata == "meta"
    assert info.kind == api.ParticipantInfo.Kind.SIP
    attributes = dict(info.attributes)
    assert attributes.pop("sip.callStatus") in ("dialing", "ringing")
    assert attributes == {
        "purpose": "reminder",
        "sip.callID": out.call_id,
        "sip.hostname": line.address,
        "sip.phoneNumber": line.number,
        "sip.trunkID": trunk.sip_trunk_id,
        "sip.trunkPhoneNumber": trunk.numbers[0],
    }


@pytest.mark.parametrize(
    ("status", "reason", "http", "code", "prefix"),
    [
        (486, "Busy Here", 412, "failed_precondition", "INVITE failed"),
        (603, "Decline", 403, "permission_denied", "unexpected status from INVITE response"),
        (404, "Not Found", 404, "not_found", "INVITE failed"),
        (480, "Temporarily Unavailable", 412, "failed_precondition", "INVITE failed"),
        (503, "Service Unavailable", 412, "failed_precondition",
         "unexpected status from INVITE response"),
    ],
)  # fmt: skip
async def test_a_refusal_is_the_exact_api_error(
    sandbox: Sandbox, status: int, reason: str, http: int, code: str, prefix: str
) -> None:
    """wait_until_answered: the callee's SIP status is the API's error, its text and meta.

    (S-OUT-10)
    """
    line = await sandbox.phone.line()
    await line.rejects(status, reason)
    trunk = await sandbox.outbound_trunk(line.address)
    with pytest.raises(api.SipCallError) as caught:
        await sandbox.call_out(trunk, line.number, wait=True)
    error = caught.value
    assert error.sip_status_code == status
    assert error.sip_status == reason
    assert (error.status, error.code) == (http, code)
    assert error.message == f"twirp error unknown: {prefix}: sip status: {status}: {reason}"


@pytest.mark.parametrize(
    ("status", "reason", "seen"),
    [
        (486, "Busy Here", Reason.USER_REJECTED),
        (603, "Decline", Reason.USER_REJECTED),
        (404, "Not Found", Reason.USER_UNAVAILABLE),
        (480, "Temporarily Unavailable", Reason.USER_UNAVAILABLE),
    ],
)
async def test_without_waiting_a_refusal_is_only_seen_in_the_room(
    sandbox: Sandbox, status: int, reason: str, seen: int
) -> None:
    """Without wait_until_answered the API succeeds; the participant leaves with a reason.

    (S-OUT-10, Q1)
    """
    line = await sandbox.phone.line()
    await line.rejects(status, reason)
    out = await sandbox.call_out(await sandbox.outbound_trunk(line.address), line.number)
    assert out.call_id.startswith("SCL_")
    gone = await out.room.left(out.identity, within=4)
    assert gone.disconnect_reason == seen


async def test_nobody_answers_within_the_ringing_timeout(sandbox: Sandbox) -> None:
    """ringing_timeout: CANCEL to the phone, 408 canceled to the API. (S-OUT-08)"""
    line = await sandbox.phone.line()
    await line.rings()
    trunk = await sandbox.outbound_trunk(line.address)
    with pytest.raises(api.ServerError) as caught:
        await sandbox.call_out(trunk, line.number, wait=True, ringing_timeout=1)
    assert (caught.value.status, caught.value.code) == (408, "canceled")
    assert caught.value.message == "twirp error unknown: sip request timed out"
    call = await line.incoming(within=1)
    await call.request("CANCEL", within=2)


async def test_removing_the_participant_cancels_the_ringing_call(sandbox: Sandbox) -> None:
    """RemoveParticipant while it rings is a CANCEL for the phone. (S-OUT-07)"""
    line = await sandbox.phone.line()
    await line.rings()
    out = await sandbox.call_out(await sandbox.outbound_trunk(line.address), line.number)
    call = await line.incoming(within=3)
    await call.ringing(within=2)
    await out.room.remove(out.identity)
    await call.request("CANCEL", within=2)


async def test_request_headers_override_trunk_headers(sandbox: Sandbox) -> None:
    """Trunk and request headers are on the INVITE; of one name the request's wins. (S-HDR-12)"""
    line = await sandbox.phone.line()
    await line.rejects(486, "Busy Here")
    trunk = await sandbox.outbound_trunk(
        line.address, headers={"X-Campaign": "trunk", "X-Trunk": "t"}
    )
    await sandbox.call_out(trunk, line.number, headers={"X-Campaign": "request", "X-Req": "r"})
    call = await line.incoming(within=3)
    invite = call.invite
    assert invite.headers_all("X-Campaign") == ["request"]
    assert invite.header("X-Trunk") == "t"
    assert invite.header("X-Req") == "r"


async def test_headers_of_the_200_become_attributes(sandbox: Sandbox) -> None:
    """headers_to_attributes of an outbound trunk read the 200, and not the 180. (S-HDR-06)"""
    line = await sandbox.phone.line()
    await line.manual()
    room = sandbox.room()
    peer = await room.join()
    trunk = await sandbox.outbound_trunk(
        line.address, headers_to_attributes={"X-Agent": "callee.agent"}
    )
    out = await sandbox.call_out(trunk, line.number, room=room)
    call = await line.incoming(within=3)
    await call.ring(headers={"X-Agent": "from the 180"})
    await peer.attribute(out.identity, "sip.callStatus", "ringing")
    await call.answer(headers={"X-Agent": "from the 200"})
    await peer.attribute(out.identity, "callee.agent", "from the 200")
    assert peer.values(out.identity, "callee.agent") == ["from the 200"]


async def test_a_trunk_with_credentials_answers_the_challenge(sandbox: Sandbox) -> None:
    """A callee that asks for digest credentials gets them, and the call is answered. (S-AUTH-07)"""
    line = await sandbox.phone.line()
    await line.challenges("lk", "secret", realm="pbx")
    trunk = await sandbox.outbound_trunk(line.address, auth_username="lk", auth_password="secret")
    await sandbox.call_out(trunk, line.number, wait=True)
    call = await line.incoming(within=2)
    await call.answered(within=2)
    invites = [m for m in call.messages if m.is_request and m.method == "INVITE"]
    assert len(invites) == 2
    answer = invites[1].header("Authorization")
    assert answer is not None
    assert answer.startswith('Digest username="lk", realm="pbx"')


async def test_without_credentials_a_challenge_is_an_error(sandbox: Sandbox) -> None:
    """A challenge to a trunk without credentials is 412 with a text that says so. (S-AUTH-07)"""
    line = await sandbox.phone.line()
    await line.challenges("lk", "secret", proxy=True)
    trunk = await sandbox.outbound_trunk(line.address)
    with pytest.raises(api.ServerError) as caught:
        await sandbox.call_out(trunk, line.number, wait=True)
    assert (caught.value.status, caught.value.code) == (412, "failed_precondition")
    assert (
        "sip server required auth, but no username or password was provided" in caught.value.message
    )


async def test_an_unknown_trunk_is_not_found(sandbox: Sandbox) -> None:
    """CreateSIPParticipant with an unknown trunk is 404. (S-API-16)"""
    with pytest.raises(api.ServerError) as caught:
        await sandbox.call_out("ST_doesnotexist", sandbox.number())
    assert (caught.value.status, caught.value.code) == (404, "not_found")
    assert caught.value.message == "requested sip trunk does not exist"
