"""What becomes of a call that the callee refuses: the API's error, and what the room sees.

The golden matrix. Each row is a recorded outcome of livekit-sip v1.11.0 with livekit-server
v1.13.5; both halves of it (with and without `wait_until_answered`) are asserted of every row.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from livekit import api

from sandbox import Sandbox

_REASON = api.DisconnectReason
REJECTED = _REASON.USER_REJECTED
UNAVAILABLE = _REASON.USER_UNAVAILABLE
# A surprise: of a trunk's or carrier's failure the room sees the reason of an orderly leave.
ORDERLY = _REASON.CLIENT_INITIATED

#: These statuses are worded differently from all others.
WORDED = (400, 404, 480, 486, 488)


@dataclass(frozen=True)
class Row:
    """A refusal: its status and reason phrase, the API's HTTP status and code, the room's view."""

    status: int
    reason: str
    http: int
    code: str
    seen: int

    @property
    def message(self) -> str:
        """The text of the API's error."""
        prefix = (
            "INVITE failed" if self.status in WORDED else "unexpected status from INVITE response"
        )
        return f"twirp error unknown: {prefix}: sip status: {self.status}: {self.reason}"


MATRIX = [
    Row(302, "Moved Temporarily", 404, "not_found", ORDERLY),
    Row(403, "Forbidden", 403, "permission_denied", REJECTED),
    Row(404, "Not Found", 404, "not_found", UNAVAILABLE),
    Row(408, "Request Timeout", 408, "deadline_exceeded", UNAVAILABLE),
    Row(410, "Gone", 404, "not_found", REJECTED),
    Row(429, "Provide Referrer Identity", 400, "invalid_argument", REJECTED),
    Row(480, "Temporarily Unavailable", 412, "failed_precondition", UNAVAILABLE),
    # Not recorded; by livekit's own table of statuses.
    Row(482, "Loop Detected", 412, "failed_precondition", REJECTED),
    Row(484, "Address Incomplete", 400, "invalid_argument", REJECTED),
    Row(486, "Busy Here", 412, "failed_precondition", REJECTED),
    Row(487, "Request Terminated", 409, "aborted", REJECTED),
    Row(488, "Not Acceptable Here", 400, "invalid_argument", REJECTED),
    Row(500, "Server Internal Error", 412, "failed_precondition", ORDERLY),
    Row(502, "Bad Gateway", 412, "failed_precondition", ORDERLY),
    Row(503, "Service Unavailable", 412, "failed_precondition", ORDERLY),
    Row(504, "Gateway Time-out", 408, "deadline_exceeded", ORDERLY),
    Row(600, "Busy Everywhere", 429, "resource_exhausted", REJECTED),
    Row(603, "Decline", 403, "permission_denied", REJECTED),
    Row(607, "Unwanted", 403, "permission_denied", REJECTED),
    Row(699, "Strange", 400, "invalid_argument", REJECTED),
]

rows = pytest.mark.parametrize("row", MATRIX, ids=[str(row.status) for row in MATRIX])


@rows
async def test_a_waiting_request_fails_with_the_status(sandbox: Sandbox, row: Row) -> None:
    """wait_until_answered: the callee's status is the API's error, its code, text and meta.

    One INVITE is sent, whatever the status: 302 is not followed, 408 and 503 are not retried.
    (S-OUT-10, S-OUT-13, S-OUT-26)
    """
    line = await sandbox.phone.line()
    await line.rejects(row.status, row.reason)
    trunk = await sandbox.outbound_trunk(line.address)
    room = sandbox.room()
    with pytest.raises(api.SipCallError) as caught:
        await sandbox.call_out(trunk, line.number, room=room, wait=True)
    error = caught.value
    assert (error.status, error.code, error.message) == (row.http, row.code, row.message)
    assert (error.sip_status_code, error.sip_status) == (row.status, row.reason)
    assert error.metadata["sip_status_code"] == str(row.status)
    assert error.metadata["sip_status"] == row.reason
    gone = await room.left(f"sip_{line.number}", within=3)
    assert gone.disconnect_reason == row.seen
    call = await line.incoming(within=2)
    assert len(line.calls) == 1
    invites = [m for m in call.messages if m.is_request and m.method == "INVITE"]
    assert len({m.raw for m in invites}) == 1
    await call.request("ACK", within=1)


@rows
async def test_without_waiting_only_the_room_learns_of_it(sandbox: Sandbox, row: Row) -> None:
    """Without wait_until_answered the API succeeds, and the participant leaves with a reason.

    The reasons are coarse: a redirect and a 5xx look like an orderly leave. sip.callStatus stays
    at its last value, and never says hangup. (S-OUT-10, S-OUT-26, Q1)
    """
    line = await sandbox.phone.line()
    await line.rejects(row.status, row.reason)
    out = await sandbox.call_out(await sandbox.outbound_trunk(line.address), line.number)
    assert out.call_id.startswith("SCL_")
    gone = await out.room.left(out.identity, within=4)
    assert gone.disconnect_reason == row.seen
    assert gone.attributes["sip.callStatus"] in ("dialing", "ringing")


async def test_the_reason_phrase_is_passed_through(sandbox: Sandbox) -> None:
    """A reason phrase of the callee's own is in the text and the meta of the error. (S-OUT-11)"""
    line = await sandbox.phone.line()
    await line.rejects(486, "User is sleeping", headers={"Reason": "Q.850;cause=17"})
    trunk = await sandbox.outbound_trunk(line.address)
    with pytest.raises(api.SipCallError) as caught:
        await sandbox.call_out(trunk, line.number, wait=True)
    assert caught.value.sip_status == "User is sleeping"
    assert caught.value.message == (
        "twirp error unknown: INVITE failed: sip status: 486: User is sleeping"
    )


@pytest.mark.parametrize("status", WORDED)
async def test_a_body_says_more_than_the_reason_phrase(sandbox: Sandbox, status: int) -> None:
    """The body of a 400, 404, 480, 486 or 488 takes the place of its reason phrase. (S-OUT-11)"""
    line = await sandbox.phone.line()
    await line.rejects(status, "No", body="the number is not in service")
    trunk = await sandbox.outbound_trunk(line.address)
    with pytest.raises(api.SipCallError) as caught:
        await sandbox.call_out(trunk, line.number, wait=True)
    assert caught.value.sip_status_code == status
    assert caught.value.sip_status == "the number is not in service"


async def test_the_body_of_other_refusals_is_ignored(sandbox: Sandbox) -> None:
    """The body of a 603 says nothing to LiveKit: its reason phrase stays. (S-OUT-11)"""
    line = await sandbox.phone.line()
    await line.rejects(603, "Decline", body="never call again")
    trunk = await sandbox.outbound_trunk(line.address)
    with pytest.raises(api.SipCallError) as caught:
        await sandbox.call_out(trunk, line.number, wait=True)
    assert caught.value.sip_status == "Decline"


async def test_twilios_error_header_says_more_than_the_reason_phrase(sandbox: Sandbox) -> None:
    """X-Twilio-Error takes the place of the reason phrase of a 404. (S-OUT-11)"""
    line = await sandbox.phone.line()
    await line.rejects(404, "Not Found", headers={"X-Twilio-Error": "13224 Invalid phone number"})
    trunk = await sandbox.outbound_trunk(line.address)
    with pytest.raises(api.SipCallError) as caught:
        await sandbox.call_out(trunk, line.number, wait=True)
    assert caught.value.sip_status == "13224 Invalid phone number"
    assert caught.value.sip_status_code == 404


async def test_a_body_beats_twilios_error_header(sandbox: Sandbox) -> None:
    """Of a body and an X-Twilio-Error the body is taken. (S-OUT-11)"""
    line = await sandbox.phone.line()
    await line.rejects(
        404, "Not Found", headers={"X-Twilio-Error": "13224 Invalid"}, body="from the body"
    )
    trunk = await sandbox.outbound_trunk(line.address)
    with pytest.raises(api.SipCallError) as caught:
        await sandbox.call_out(trunk, line.number, wait=True)
    assert caught.value.sip_status == "from the body"


async def test_a_fraud_block_of_twilio_has_no_words_of_its_own(sandbox: Sandbox) -> None:
    """X-Twilio-Error 32203 (blocked as fraud) is reported as the bare status. (S-OUT-11)"""
    line = await sandbox.phone.line()
    await line.rejects(
        603, "Decline", headers={"X-Twilio-Error": "32203 Call blocked as potential fraud"}
    )
    trunk = await sandbox.outbound_trunk(line.address)
    room = sandbox.room()
    with pytest.raises(api.SipCallError) as caught:
        await sandbox.call_out(trunk, line.number, room=room, wait=True)
    assert caught.value.message == "twirp error unknown: sip status: 603: Decline"
    assert (caught.value.status, caught.value.code) == (403, "permission_denied")
    gone = await room.left(f"sip_{line.number}", within=3)
    assert gone.disconnect_reason == REJECTED


@pytest.mark.parametrize("status", [401, 407])
async def test_a_challenge_without_credentials_is_an_error(sandbox: Sandbox, status: int) -> None:
    """401 and 407 to a trunk without credentials: 412, without a SIP status; USER_REJECTED.

    (S-OUT-10, S-AUTH-07)
    """
    line = await sandbox.phone.line()
    await line.challenges("lk", "secret", proxy=status == 407)
    trunk = await sandbox.outbound_trunk(line.address)
    room = sandbox.room()
    with pytest.raises(api.ServerError) as caught:
        await sandbox.call_out(trunk, line.number, room=room, wait=True)
    assert (caught.value.status, caught.value.code, caught.value.message) == (
        412,
        "failed_precondition",
        "twirp error unknown: sip server required auth, but no username or password was provided",
    )
    assert not isinstance(caught.value, api.SipCallError)
    gone = await room.left(f"sip_{line.number}", within=3)
    assert gone.disconnect_reason == REJECTED


async def test_nobody_answers_and_nobody_waits(sandbox: Sandbox) -> None:
    """ringing_timeout without waiting: CANCEL, and the room sees USER_UNAVAILABLE. (S-OUT-08)"""
    line = await sandbox.phone.line()
    await line.rings()
    trunk = await sandbox.outbound_trunk(line.address)
    out = await sandbox.call_out(trunk, line.number, ringing_timeout=1)
    call = await line.incoming(within=3)
    gone = await out.room.left(out.identity, within=3)
    assert gone.disconnect_reason == UNAVAILABLE
    assert gone.attributes["sip.callStatus"] == "ringing"
    cancel = await call.request("CANCEL", within=1)
    assert cancel.header("CSeq") == "1 CANCEL"


@pytest.mark.parametrize("how", ["participant removed", "room deleted"])
async def test_a_call_taken_back_while_it_rings(sandbox: Sandbox, how: str) -> None:
    """RemoveParticipant and DeleteRoom while it rings: CANCEL, and 408 canceled for who waits.

    (S-OUT-07)
    """
    line = await sandbox.phone.line()
    await line.rings()
    trunk = await sandbox.outbound_trunk(line.address)
    room = sandbox.room()
    waiting = sandbox.call_out(trunk, line.number, room=room, wait=True)
    task = asyncio.create_task(waiting)
    call = await line.incoming(within=3)
    await room.participant(f"sip_{line.number}")
    if how == "room deleted":
        await room.delete()
    else:
        await room.remove(f"sip_{line.number}")
    with pytest.raises(api.ServerError) as caught:
        await task
    assert (caught.value.status, caught.value.code) == (408, "canceled")
    assert caught.value.message == "twirp error unknown: sip request timed out"
    await call.request("CANCEL", within=2)
