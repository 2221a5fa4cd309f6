"""Digest credentials that are sent another way than they are asked for."""

from __future__ import annotations

import asyncio

import pytest
from livekit import api

from sandbox import Credentials, Sandbox
from tests.e2e.conftest import PEER_TONE, Connect, assert_rings_in
from tests.e2e.wire import Wire, WireCall


def digest(user: str) -> str:
    """The credentials of `user`, made without having been asked."""
    return (
        f'Digest username="{user}", realm="LiveKit", nonce="1", uri="sip:x", '
        'response="00000000000000000000000000000000", algorithm=MD5'
    )


async def test_the_realm_can_be_chosen(sandbox: Sandbox, connect: Connect) -> None:
    """auth_realm is the realm of the challenge, and credentials for it get through. (S-AUTH-01)"""
    number = await sandbox.inbound(
        auth_username="pbx", auth_password="right", auth_realm="pbx.example"
    )
    talk = await connect(number, credentials=Credentials("pbx", "right", realm="pbx.example"))
    challenge = (await talk.call.response(407)).header("Proxy-Authenticate")
    assert challenge is not None
    assert challenge.startswith('Digest realm="pbx.example", ')


async def test_the_nonce_is_the_time_and_the_call_id(sandbox: Sandbox) -> None:
    """The nonce of a challenge ends with the Call-ID of its INVITE. (S-AUTH-01)"""
    number = await sandbox.inbound(auth_username="pbx", auth_password="right")
    call = await sandbox.phone.dial(number)
    challenge = (await call.rejected(407, within=2)).header("Proxy-Authenticate")
    assert challenge is not None
    nonce = challenge.partition('nonce="')[2].partition('"')[0]
    time, _, call_id = nonce.partition("-")
    assert time.isdigit()
    assert call_id == call.sip_call_id


async def test_credentials_in_authorization_are_not_read(sandbox: Sandbox) -> None:
    """Credentials in Authorization, which answers a 401, are challenged with 407. (S-AUTH-04)"""
    number = await sandbox.inbound(auth_username="pbx", auth_password="right")
    call = await sandbox.phone.dial(number, headers={"Authorization": digest("pbx")})
    await call.rejected(407, within=2)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (digest("pbx"), "Bad credentials"),
        (digest("nobody"), "Unauthorized"),
        ("Basic cGJ4OnJpZ2h0", "Bad credentials"),
    ],
    ids=["right user", "wrong user", "no digest"],
)
async def test_credentials_that_nobody_asked_for_are_refused(
    sandbox: Sandbox, value: str, reason: str
) -> None:
    """Proxy-Authorization on a Call-ID that was not challenged: 401, never a challenge.

    So a PBX that answers a challenge in a call of a new Call-ID cannot get in. (S-AUTH-05)
    """
    number = await sandbox.inbound(auth_username="pbx", auth_password="right")
    call = await sandbox.phone.dial(number, headers={"Proxy-Authorization": value})
    final = await call.rejected(401, within=2)
    assert final.reason == reason
    assert final.header("WWW-Authenticate") is None


async def test_challenges_of_calls_at_once_do_not_mix(sandbox: Sandbox) -> None:
    """Four callers at once are challenged each with its own nonce, and all get in. (S-AUTH-06)"""
    number = await sandbox.inbound(kind="individual", auth_username="pbx", auth_password="right")
    calls = await asyncio.gather(
        *(sandbox.phone.dial(number, credentials=Credentials("pbx", "right")) for _ in range(4))
    )
    await asyncio.gather(*(assert_rings_in(sandbox, call) for call in calls))
    challenges = {(await call.response(407)).header("Proxy-Authenticate") for call in calls}
    assert len(challenges) == 4


def repeated(wire: Wire, call: WireCall) -> str:
    """The INVITE of `call` once more, as a new transaction with its Call-ID and tag."""
    return wire.build(
        "INVITE",
        call.uri,
        from_=call.local,
        call_id=call.call_id,
        cseq=2,
        body=call.sent.partition("\r\n\r\n")[2],
    )


@pytest.mark.sandbox_allow(
    "log-line",
    match="Multiple (default )?SIP Trunks matched|Dispatch rule for the same trunk",
    reason="the conflict is what the test is about, and the SIP service logs it",
)
async def test_an_error_is_repeated_for_the_same_call_id(sandbox: Sandbox, wire: Wire) -> None:
    """An INVITE with the Call-ID and tag of one that got 503 gets 503, without a new look.

    So a PBX that repeats a call under its old Call-ID goes on to fail for a minute after the
    cause is gone. 404 and 400 are repeated too. (S-SEC-04, S-TRK-11)
    """
    number = await sandbox.inbound()
    caller = sandbox.number()
    rival = await sandbox.inbound(number=number.number, allowed_numbers=[caller])
    first = await wire.invite(number, caller=caller)
    assert (await first.final()).status == 503
    await sandbox.api.sip.delete_trunk(api.DeleteSIPTrunkRequest(sip_trunk_id=rival.trunk_id))
    again = await wire.exchange(repeated(wire, first))
    assert again.start.endswith("503 Try again later")
    other = await sandbox.phone.dial(number, caller=caller)
    await assert_rings_in(sandbox, other)


@pytest.mark.sandbox_allow(
    "log-line",
    match="max participants|closed by media|bad handshake|could not (establish|join)",
    reason="the room is full: the join fails, and both services log it",
)
async def test_a_busy_is_not_repeated_for_the_same_call_id(sandbox: Sandbox, wire: Wire) -> None:
    """An INVITE with the Call-ID and tag of one that got 486 is looked at anew. (S-SEC-04)"""
    number = await sandbox.inbound()
    assert number.room is not None
    await number.room.create(max_participants=1)
    peer = await number.room.join(tone=PEER_TONE)
    first = await wire.invite(number)
    assert (await first.final()).status == 486
    await number.room.delete()
    await number.room.left(peer.identity)
    await wire.send(repeated(wire, first))
    first.over = False
    first.cseq = 2
    await first.joined(within=3)
    await number.room.delete()
    first.over = True


async def test_a_flood_of_strange_requests_does_not_touch_a_call(
    sandbox: Sandbox, wire: Wire, connect: Connect
) -> None:
    """200 OPTIONS, REGISTERs and broken messages during a call leave its audio alone. (S-SEC-03)"""
    talk = await connect(await sandbox.inbound(), tone=440)
    await talk.peer.hears_tone(440, of=talk.identity)
    uri = f"sip:{sandbox.endpoints.sip_address}"
    for _ in range(70):
        await wire.send(wire.build("OPTIONS", uri))
        await wire.send(wire.build("REGISTER", uri))
        await wire.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await wire.ask("OPTIONS")).status == 200
    await talk.call.play_tone(1000)
    await talk.peer.hears_tone(1000, of=talk.identity)
    assert talk.call.state == "answered"


async def test_a_repeated_invite_is_one_call(sandbox: Sandbox, wire: Wire) -> None:
    """The same INVITE three times, as UDP may bring it, is one call with one caller. (S-OUT-13)"""
    number = await sandbox.inbound()
    call = await wire.invite(number)
    await call.provisional(100)
    await wire.send(call.sent)
    await wire.send(call.sent)
    await call.joined()
    assert number.room is not None
    assert set(await number.room.participants()) == {call.identity}
    assert len({m.to_tag for m in call.responses(180)}) == 1
    assert call.responses(486) == []
