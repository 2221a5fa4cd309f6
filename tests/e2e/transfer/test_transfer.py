"""TransferSIPParticipant: the REFER, its outcomes, and what becomes of the call."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from livekit import api

from sandbox import Sandbox
from sandbox.telephony.inbound import duration
from tests.e2e.conftest import (
    CALLER_TONE,
    PEER_TONE,
    Connect,
    Talk,
    assert_rings_in,
    assert_timed_out,
    refer_policy,
)

TARGET = "tel:+15551111"


async def transfer(sandbox: Sandbox, talk: Talk, to: str = TARGET, **fields: Any) -> None:
    """TransferSIPParticipant of the caller of `talk`."""
    if "ringing_timeout" in fields:
        fields["ringing_timeout"] = duration(fields["ringing_timeout"])
    await sandbox.api.sip.transfer_sip_participant(
        api.TransferSIPParticipantRequest(
            room_name=talk.room.name, participant_identity=talk.identity, transfer_to=to, **fields
        )
    )


async def test_a_completed_transfer_ends_the_call(sandbox: Sandbox, connect: Connect) -> None:
    """REFER accepted, NOTIFY 200: the API succeeds, and livekit hangs up a second later.

    (S-XFR-01)
    """
    target = await sandbox.phone.line()
    await target.answers()
    talk = await connect(await sandbox.inbound())
    await refer_policy(talk.call, 202)
    await transfer(sandbox, talk, target.uri)
    refer = await talk.call.request("REFER")
    assert refer.header("Refer-To") == f"<{target.uri}>"
    assert refer.header("Referred-By") is None
    await target.incoming(within=3)
    await talk.call.request("BYE", within=3)


@pytest.mark.parametrize(
    ("status", "reason", "http", "code"),
    [
        (603, "Decline", 403, "permission_denied"),
        (405, "Method Not Allowed", 400, "invalid_argument"),
        (481, "Call/Transaction Does Not Exist", 404, "not_found"),
        (501, "Not Implemented", 412, "failed_precondition"),
    ],
)
async def test_a_refused_refer_is_the_exact_api_error(
    sandbox: Sandbox, connect: Connect, status: int, reason: str, http: int, code: str
) -> None:
    """REFER refused: its status is the API's error, and the call goes on. (S-XFR-05)"""
    talk = await connect(await sandbox.inbound(), tone=CALLER_TONE)
    await refer_policy(talk.call, status)
    with pytest.raises(api.SipCallError) as caught:
        await transfer(sandbox, talk)
    error = caught.value
    assert (error.status, error.code, error.sip_status_code) == (http, code, status)
    assert error.message == f"twirp error unknown: sip status: {status}: {reason}"
    assert talk.call.state != "ended"
    mark = sandbox.timeline.mark()
    await asyncio.gather(
        talk.call.hears_tone(PEER_TONE, within=4),
        talk.peer.hears_tone(CALLER_TONE, of=talk.identity, within=4),
    )
    assert mark <= sandbox.timeline.mark()


async def test_hanging_up_before_the_outcome_counts_as_success(
    sandbox: Sandbox, connect: Connect
) -> None:
    """202 and then the phone's BYE without a NOTIFY: the transfer has succeeded. (S-XFR-02)"""
    talk = await connect(await sandbox.inbound())
    await refer_policy(talk.call, 202, dial=False)
    running = asyncio.create_task(transfer(sandbox, talk))
    await talk.call.transfer_requested(within=3)
    await talk.call.hang_up()
    await asyncio.wait_for(running, 3)


async def test_without_an_outcome_the_transfer_times_out(
    sandbox: Sandbox, connect: Connect
) -> None:
    """202 and no NOTIFY: after ringing_timeout the API gives 408, and the call goes on.

    (S-XFR-09)
    """
    talk = await connect(await sandbox.inbound())
    await refer_policy(talk.call, 202, dial=False)
    await assert_timed_out(transfer(sandbox, talk, ringing_timeout=1))
    assert talk.call.state != "ended"


async def test_a_second_transfer_meanwhile_is_refused(sandbox: Sandbox, connect: Connect) -> None:
    """While a transfer runs, one to another target is refused. (S-XFR-11)"""
    talk = await connect(await sandbox.inbound())
    await refer_policy(talk.call, 202, dial=False)
    first = asyncio.create_task(transfer(sandbox, talk, "tel:+1"))
    await talk.call.transfer_requested(within=3)
    with pytest.raises(api.ServerError) as caught:
        await transfer(sandbox, talk, "tel:+2")
    assert (caught.value.status, caught.value.code) == (400, "invalid_argument")
    assert caught.value.message == ("twirp error unknown: call already being transferred elsewhere")
    await talk.call.hang_up()
    await asyncio.wait_for(first, 3)


@pytest.mark.parametrize(
    ("target", "refer_to"),
    [
        ("tel:+15551111", "tel:+15551111"),
        ("sip:+15551111@pbx.example", "<sip:+15551111@pbx.example>"),
        ("<sip:bob@pbx.example>", "<sip:bob@pbx.example>"),
        ("sip:bob@pbx.example;transport=tcp", "<sip:bob@pbx.example;transport=tcp>"),
        ("sips:bob@pbx.example", "<sips:bob@pbx.example>"),
    ],
)
async def test_the_target_is_the_refer_to(
    sandbox: Sandbox, connect: Connect, target: str, refer_to: str
) -> None:
    """A SIP URI is put in angle brackets, a tel URI is not. (S-XFR-03)"""
    talk = await connect(await sandbox.inbound())
    await refer_policy(talk.call, 603)
    with pytest.raises(api.SipCallError):
        await transfer(sandbox, talk, target)
    assert (await talk.call.request("REFER")).header("Refer-To") == refer_to


@pytest.mark.parametrize("target", ["+15551111", "bob", "http://x", '"D" <sip:bob@x>'])
async def test_other_targets_are_refused(sandbox: Sandbox, connect: Connect, target: str) -> None:
    """A bare number, a name and another scheme are refused before any REFER.

    (S-XFR-03, S-XFR-17)
    """
    talk = await connect(await sandbox.inbound())
    with pytest.raises(api.ServerError) as caught:
        await transfer(sandbox, talk, target)
    assert (caught.value.status, caught.value.code) == (400, "invalid_argument")
    assert caught.value.message == (
        "transfer_to must be a valid SIP(s) or TEL URI (sip:, sips: or tel:)"
    )


async def test_headers_of_the_request_and_mapped_attributes_are_on_the_refer(
    sandbox: Sandbox, connect: Connect
) -> None:
    """headers and attributes_to_headers are on the REFER. (S-XFR-07, S-HDR-10)"""
    number = await sandbox.inbound(
        attributes={"tier": "gold"}, attributes_to_headers={"tier": "X-Tier"}
    )
    talk = await connect(number)
    await refer_policy(talk.call, 603)
    with pytest.raises(api.SipCallError):
        await transfer(sandbox, talk, headers={"X-Reason": "escalation"})
    refer = await talk.call.request("REFER")
    assert refer.header("X-Reason") == "escalation"
    assert refer.header("X-Tier") == "gold"


async def test_a_ringing_call_cannot_be_transferred(sandbox: Sandbox) -> None:
    """Before the answer a transfer is 412. (S-XFR-12)"""
    call = await sandbox.phone.dial(await sandbox.inbound())
    room, caller = await assert_rings_in(sandbox, call)
    with pytest.raises(api.ServerError) as caught:
        await sandbox.api.sip.transfer_sip_participant(
            api.TransferSIPParticipantRequest(
                room_name=room.name, participant_identity=caller.identity, transfer_to=TARGET
            )
        )
    assert (caught.value.status, caught.value.code) == (412, "failed_precondition")
    assert caught.value.message == ("twirp error unknown: can't transfer non established call")


async def test_a_webrtc_participant_cannot_be_transferred(sandbox: Sandbox) -> None:
    """A participant without a SIP call is refused, and an unknown one not found. (S-XFR-04)"""
    room = sandbox.room()
    peer = await room.join()

    async def refused(identity: str) -> tuple[int, str, str]:
        with pytest.raises(api.ServerError) as caught:
            await sandbox.api.sip.transfer_sip_participant(
                api.TransferSIPParticipantRequest(
                    room_name=room.name, participant_identity=identity, transfer_to=TARGET
                )
            )
        return caught.value.status, caught.value.code, caught.value.message

    assert await refused(peer.identity) == (
        400,
        "invalid_argument",
        "twirp error unknown: no SIP session associated with participant",
    )
    assert await refused("nobody") == (
        404,
        "not_found",
        "twirp error unknown: participant does not exist",
    )
