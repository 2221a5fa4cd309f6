"""What happens inside a dialog: re-INVITE, hold, unsupported methods, TCP."""

from __future__ import annotations

import asyncio

import pytest

from sandbox import Call, Sandbox, SipMessage
from tests.e2e.conftest import CALLER_TONE, PEER_TONE, Connect
from tests.e2e.wire import Wire


async def answers(call: Call) -> tuple[SipMessage, SipMessage]:
    """The 200 to the INVITE and the 200 to the re-INVITE."""
    first = await call.response(200)
    reinvite = next(m for m in call.messages if m.method == "INVITE" and m.cseq > first.cseq)
    second = await call.reply(reinvite, within=2)
    return first, second


async def test_a_re_invite_gets_the_answer_of_before(sandbox: Sandbox, connect: Connect) -> None:
    """A re-INVITE is answered 200 with the same SDP as the first INVITE. (S-RIV-01)"""
    talk = await connect(await sandbox.inbound())
    await talk.call.reinvite()
    first, second = await answers(talk.call)
    assert second.cseq > first.cseq
    assert second.body == first.body


@pytest.mark.sandbox_allow(
    "answer-fits-offer",
    match="a=sendonly answered by a=sendrecv",
    reason="livekit-sip answers a hold with sendrecv, which is what the test shows",
)
async def test_hold_is_answered_sendrecv(sandbox: Sandbox, connect: Connect) -> None:
    """Hold is not understood: a sendonly re-INVITE is answered sendrecv.

    (S-RIV-02, livekit/sip#96)
    """
    talk = await connect(await sandbox.inbound())
    await talk.call.hold()
    _, answer = await answers(talk.call)
    assert "a=sendrecv" in answer.body.splitlines()
    await talk.call.unhold()
    await talk.call.hears_tone(PEER_TONE, within=4)


@pytest.mark.parametrize("method", ["INFO", "MESSAGE", "UPDATE"])
async def test_other_methods_are_refused(sandbox: Sandbox, wire: Wire, method: str) -> None:
    """INFO, MESSAGE and UPDATE in a call are 405, whatever Allow says. (S-RIV-07)"""
    number = await sandbox.inbound()
    assert number.room is not None
    await number.room.join(tone=PEER_TONE)
    call = await (await wire.invite(number)).answered()
    answer = await call.request(method, body="x", headers={"Content-Type": "text/plain"})
    assert answer.start == "SIP/2.0 405 Method Not Allowed"


async def test_a_whole_call_over_tcp(sandbox: Sandbox, connect: Connect) -> None:
    """A call over TCP is answered, heard and ended like one over UDP. (S-SIP-04)"""
    talk = await connect(await sandbox.inbound(), transport="tcp", tone=CALLER_TONE)
    assert {m.transport for m in talk.call.messages} == {"tcp"}
    contact = (await talk.call.response(200)).header("Contact")
    assert contact == f"<sip:{sandbox.endpoints.sip_address};transport=tcp>"
    await asyncio.gather(
        talk.call.hears_tone(PEER_TONE, within=4),
        talk.peer.hears_tone(CALLER_TONE, of=talk.identity, within=4),
    )
    await talk.room.delete()
    await talk.call.request("BYE", within=2)
