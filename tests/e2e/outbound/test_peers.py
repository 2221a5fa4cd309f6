"""Callees that do not answer as they should: seen by a user agent of raw sockets."""

from __future__ import annotations

import asyncio
import re

import pytest
from livekit import api

from sandbox import Event, Sandbox
from sandbox.telephony.inbound import duration
from tests.conformance.message import Message
from tests.e2e.api.conftest import refused
from tests.e2e.conftest import PEER_TONE
from tests.e2e.wire import Wire, sdp

Reason = api.DisconnectReason
CHALLENGE = 'Digest realm="pbx", nonce="n1", algorithm=MD5'


def parameter(name: str, header: str) -> str:
    """A parameter of a Digest header."""
    found = re.search(rf'{name}="?([^",]+)"?', header)
    assert found, header
    return found[1]


async def invites(wire: Wire, count: int) -> Message:
    """Wait for the INVITE number `count`, which may be of one call."""
    seen: list[int] = []

    def match(message: Message) -> bool:
        if message.is_request and message.method == "INVITE":
            seq = int(message.cseq.split()[0])
            if seq not in seen:
                seen.append(seq)
        return (
            message.method == "INVITE" and message.is_request and message.cseq == f"{count} INVITE"
        )

    return await wire.message(match, within=4, expected=f"INVITE number {count}")


# --- answers that are none --------------------------------------------------------------------


async def test_an_answer_without_sdp_ends_the_call(sandbox: Sandbox, wire: Wire) -> None:
    """A 200 without SDP: 412 for who waits, BYE for the callee, USER_REJECTED in the room.

    The BYE comes without an ACK to the 200. (S-OUT-19)
    """
    trunk = await sandbox.outbound_trunk(wire.address)
    room = sandbox.room()
    task = asyncio.create_task(sandbox.call_out(trunk, "callee", room=room, wait=True))
    call = await wire.incoming()
    assert call.offer is not None
    await wire.respond(call.offer, 200, "OK", tag=call.tag)
    await refused(task, 412, "failed_precondition", "twirp error unknown: no audio in sdp")
    await call.received("BYE")
    assert not call.seen("ACK")
    gone = await room.left("sip_callee", within=2)
    assert gone.disconnect_reason == Reason.USER_REJECTED


async def test_an_answer_without_a_common_codec_ends_the_call(sandbox: Sandbox, wire: Wire) -> None:
    """A 200 with a codec that was not offered: 412, and BYE. (S-OUT-19)"""
    trunk = await sandbox.outbound_trunk(wire.address)
    task = asyncio.create_task(sandbox.call_out(trunk, "callee", wait=True))
    call = await wire.incoming()
    assert call.offer is not None
    body = sdp(call.media.port, wire.host, ("18", "a=rtpmap:18 G729/8000"))
    await wire.respond(call.offer, 200, "OK", body=body, tag=call.tag)
    await refused(
        task, 412, "failed_precondition", "twirp error unknown: common audio codec not found"
    )
    await call.received("BYE")


async def test_a_202_answers_nothing(sandbox: Sandbox, wire: Wire) -> None:
    """A 202 to the INVITE is a failure, 500 "unknown" with the status in the meta.

    2xx other than 200 has no code of its own in the API. No ACK is sent. (S-OUT-10)
    """
    trunk = await sandbox.outbound_trunk(wire.address)
    task = asyncio.create_task(sandbox.call_out(trunk, "callee", wait=True))
    call = await wire.incoming()
    assert call.offer is not None
    body = sdp(call.media.port, wire.host)
    await wire.respond(call.offer, 202, "Accepted", body=body, tag=call.tag)
    with pytest.raises(api.SipCallError) as caught:
        await task
    assert (caught.value.status, caught.value.code) == (500, "unknown")
    assert caught.value.sip_status_code == 202
    assert caught.value.message == (
        "twirp error unknown: unexpected status from INVITE response: sip status: 202: Accepted"
    )
    assert not call.seen("ACK")
    call.over = True


async def test_the_route_of_the_answer_is_followed(sandbox: Sandbox, wire: Wire) -> None:
    """ACK and BYE go to the Contact of the 200 by way of its Record-Route. (S-OUT-20)"""
    proxy = await Wire(sandbox.endpoints, sandbox.timeline).open()
    trunk = await sandbox.outbound_trunk(wire.address)
    room = sandbox.room()
    try:
        out = await sandbox.call_out(trunk, "callee", room=room)
        call = await wire.incoming()
        assert call.offer is not None
        route = f"<sip:{proxy.address};lr>"
        body = sdp(call.media.port, wire.host)
        await wire.respond(
            call.offer, 200, "OK", body=body, tag=call.tag, headers={"Record-Route": route}
        )
        ack = await proxy.message(lambda m: m.method == "ACK" and m.is_request, expected="an ACK")
        assert ack.get("route") == route
        assert ack.start.startswith(f"ACK sip:wire@{wire.address}")
        await room.participant(out.identity)
        await room.remove(out.identity)
        bye = await proxy.message(lambda m: m.method == "BYE" and m.is_request, expected="a BYE")
        assert bye.get("route") == route
        call.over = True
    finally:
        await proxy.close()


async def test_a_200_that_crosses_the_cancel_is_hung_up(sandbox: Sandbox, wire: Wire) -> None:
    """A 200 that crosses the CANCEL is acknowledged and hung up: no zombie. (S-OUT-09)"""
    trunk = await sandbox.outbound_trunk(wire.address)
    room = sandbox.room()
    out = await sandbox.call_out(trunk, "callee", room=room)
    call = await wire.incoming()
    assert call.offer is not None
    await wire.respond(call.offer, 180, "Ringing", tag=call.tag)
    await room.participant(out.identity)
    await room.remove(out.identity)
    await call.received("CANCEL")
    body = sdp(call.media.port, wire.host)
    await wire.respond(call.offer, 200, "OK", body=body, tag=call.tag)
    await call.received("ACK")
    bye = await call.received("BYE")
    assert bye.get("user-agent") == "LiveKit"


async def test_media_timeout_of_the_request_ends_a_silent_call(
    sandbox: Sandbox, wire: Wire
) -> None:
    """media.media_timeout of the request: no RTP from the callee for so long ends the call.

    (S-MED-16)
    """
    room = sandbox.room()
    peer = await room.join(tone=PEER_TONE)
    trunk = await sandbox.outbound_trunk(wire.address)
    media = api.SIPMediaConfig(media_timeout=duration(0.5))
    out = await sandbox.call_out(trunk, "callee", room=room, media=media)
    call = await wire.incoming()
    await call.answer_with()
    await peer.hears_tone(440, of=out.identity)
    call.media.stop()
    await call.received("BYE", within=4)


# --- digest -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "ask", "answer"),
    [
        (401, "WWW-Authenticate", "authorization"),
        (407, "Proxy-Authenticate", "proxy-authorization"),
    ],
)
@pytest.mark.parametrize("qop", ["", ', qop="auth"'], ids=["plain", "qop"])
@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
async def test_a_challenge_is_answered_in_its_own_header(
    sandbox: Sandbox, wire: Wire, status: int, ask: str, answer: str, qop: str, algorithm: str
) -> None:
    """401 is answered in Authorization, 407 in Proxy-Authorization; with qop and SHA-256 too.

    The second INVITE has the same Call-ID and From tag, and the next CSeq. (S-AUTH-07)
    """
    trunk = await sandbox.outbound_trunk(wire.address, auth_username="lk", auth_password="secret")
    await sandbox.call_out(trunk, "callee")
    call = await wire.incoming()
    assert call.offer is not None
    challenge = CHALLENGE.replace("MD5", algorithm) + qop
    await wire.respond(call.offer, status, "Unauthorized", headers={ask: challenge}, tag=call.tag)
    again = await invites(wire, 2)
    value = again.get(answer)
    assert again.call_id == call.offer.call_id
    assert again.get("from") == call.offer.get("from")
    assert parameter("username", value) == "lk"
    assert parameter("algorithm", value) == algorithm
    assert ("nc=00000001" in value) == bool(qop)
    await wire.respond(again, 486, "Busy Here", tag=call.tag)
    await call.received("ACK")
    call.over = True


async def test_the_digest_is_of_the_to_and_not_of_the_request_uri(
    sandbox: Sandbox, wire: Wire
) -> None:
    """The uri of the digest is that of the response's To header, not the Request-URI.

    A strict registrar refuses it where a proxy has changed the To. (S-AUTH-08, livekit/sip#817)
    """
    trunk = await sandbox.outbound_trunk(wire.address, auth_username="lk", auth_password="secret")
    await sandbox.call_out(trunk, "callee")
    call = await wire.incoming()
    assert call.offer is not None
    changed = call.offer.get("to").replace("callee", "other")
    raw = call.offer
    call.offer = Message(
        raw.start, tuple((n, changed if n.lower() == "to" else v) for n, v in raw.headers), raw.body
    )
    await wire.respond(
        call.offer, 401, "Unauthorized", headers={"WWW-Authenticate": CHALLENGE}, tag=call.tag
    )
    again = await invites(wire, 2)
    assert parameter("uri", again.get("authorization")) == f"sip:other@{wire.address}"
    await wire.respond(again, 486, "Busy Here", tag=call.tag)
    await call.received("ACK")
    call.over = True


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, "no auth header in sip invite response"),
        ({"WWW-Authenticate": 'DIGEST realm="pbx", nonce="n"'}, "invalid challenge "),
        ({"WWW-Authenticate": 'Basic realm="pbx"'}, "invalid challenge "),
    ],
    ids=["none", "DIGEST", "Basic"],
)
async def test_a_challenge_that_cannot_be_read_is_an_error(
    sandbox: Sandbox, wire: Wire, headers: dict[str, str], message: str
) -> None:
    """A 401 without a challenge, or of another scheme than `Digest`, so spelled, is 412.

    `DIGEST` is legal, and not understood. (S-AUTH-09, livekit/sip#856)
    """
    trunk = await sandbox.outbound_trunk(wire.address, auth_username="lk", auth_password="secret")
    task = asyncio.create_task(sandbox.call_out(trunk, "callee", wait=True, ringing_timeout=2))
    call = await wire.incoming()
    assert call.offer is not None
    await wire.respond(call.offer, 401, "Unauthorized", headers=headers, tag=call.tag)
    with pytest.raises(api.ServerError) as caught:
        await task
    call.over = True
    assert (caught.value.status, caught.value.code) == (412, "failed_precondition")
    assert caught.value.message.startswith(f"twirp error unknown: {message}")


async def test_a_wrong_password_is_tried_five_times(sandbox: Sandbox) -> None:
    """A callee that goes on challenging gets five INVITEs, and then the API an error.

    (S-AUTH-07, S-AUTH-10)
    """
    line = await sandbox.phone.line()
    await line.challenges("lk", "secret", proxy=True)
    trunk = await sandbox.outbound_trunk(line.address, auth_username="lk", auth_password="wrong")
    await refused(
        sandbox.call_out(trunk, line.number, wait=True),
        412,
        "failed_precondition",
        "twirp error unknown: max auth retry attempts reached for SIP invite",
    )

    def invite(event: Event) -> bool:
        raw = str(event.data.get("raw", "")) if event.name == "sip.received" else ""
        return raw.startswith("INVITE ") and "CSeq: 5 INVITE" in raw

    await sandbox.timeline.wait(invite, within=2, expected="the fifth INVITE", since=sandbox.mark)
    assert not [
        event
        for event in sandbox.timeline.since(sandbox.mark)
        if "CSeq: 6 INVITE" in str(event.data.get("raw", ""))
    ]
