"""Ends of a call that are less usual: reasons, both sides at once, strangers, empty rooms."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest
from livekit import api, rtc

from sandbox import DeadlineMissed, Sandbox
from tests.e2e.conftest import PEER_TONE, Connect
from tests.e2e.wire import Wire, WireCall

Reason = api.DisconnectReason


async def up(sandbox: Sandbox, wire: Wire, **trunk: object) -> tuple[WireCall, str]:
    """A call that is up, and its room."""
    number = await sandbox.inbound(**trunk)  # type: ignore[arg-type]
    assert number.room is not None
    peer = await number.room.join(tone=PEER_TONE)
    call = await (await wire.invite(number)).answered()
    await peer.attribute(call.identity, "sip.callStatus", "active")
    return call, number.room.name


@pytest.mark.parametrize("cause", [16, 17, 31, 41])
async def test_the_cause_of_a_bye_is_not_seen_in_the_room(
    sandbox: Sandbox, wire: Wire, cause: int
) -> None:
    """Whatever the Reason header of the BYE, the caller leaves with hangup, CLIENT_INITIATED.

    (S-BYE-02)
    """
    call, name = await up(sandbox, wire)
    room = sandbox.room(name)
    answer = await call.bye(headers={"Reason": f"Q.850;cause={cause}"})
    assert answer.start == "SIP/2.0 200 OK"
    gone = await room.left(call.identity)
    assert gone.disconnect_reason == Reason.CLIENT_INITIATED
    assert gone.attributes["sip.callStatus"] == "hangup"


async def test_the_end_call_rpc_hangs_up(sandbox: Sandbox, connect: Connect) -> None:
    """The room RPC lk.sip.EndCall to the caller sends BYE, with the headers that it was given.

    The caller leaves so soon that the RPC's own answer may be lost. (S-BYE-05)
    """
    talk = await connect(await sandbox.inbound())
    await talk.peer.sees(talk.identity)
    with contextlib.suppress(rtc.RpcError):
        await talk.peer.rtc.local_participant.perform_rpc(
            destination_identity=talk.identity,
            method="lk.sip.EndCall",
            payload=json.dumps({"headers": {"X-Why": "done"}}),
        )
    bye = await talk.call.request("BYE", within=1)
    assert bye.header("X-Why") == "done"
    gone = await talk.room.left(talk.identity)
    assert gone.disconnect_reason == Reason.CLIENT_INITIATED
    assert gone.attributes["sip.callStatus"] == "hangup"


async def test_the_end_call_rpc_lets_a_call_out_ring(sandbox: Sandbox, wire: Wire) -> None:
    """lk.sip.EndCall to a callee who is called takes nothing back: it rings, and BYE comes when
    it is answered, with the headers of the RPC.

    (S-OUT-25)
    """
    room = sandbox.room()
    peer = await room.join()
    out = await sandbox.call_out(await sandbox.outbound_trunk(wire.address), "callee", room=room)
    call = await wire.incoming()
    assert call.offer is not None
    await wire.respond(call.offer, 180, "Ringing", tag=call.tag)
    await peer.attribute(out.identity, "sip.callStatus", "ringing")
    end = asyncio.create_task(
        peer.rtc.local_participant.perform_rpc(
            destination_identity=out.identity,
            method="lk.sip.EndCall",
            payload=json.dumps({"headers": {"X-Why": "done"}}),
        )
    )
    with pytest.raises(DeadlineMissed):
        await call.received("CANCEL", within=0.6)
    await call.answer_with()
    assert (await call.received("BYE")).get("x-why") == "done"
    with contextlib.suppress(rtc.RpcError):
        await end


async def test_one_of_two_callers_leaves(sandbox: Sandbox) -> None:
    """Of two callers in a room one hangs up: the other stays connected. (S-BYE-08)"""
    number = await sandbox.inbound()
    assert number.room is not None
    first, second = await asyncio.gather(
        sandbox.phone.dial(number, tone=440), sandbox.phone.dial(number, tone=900)
    )
    await asyncio.gather(first.answered(within=5), second.answered(within=5))
    (_, one), (_, two) = await asyncio.gather(sandbox.joined(first), sandbox.joined(second))
    await first.hang_up()
    await number.room.left(one.identity)
    assert set(await number.room.participants()) == {two.identity}
    assert second.state == "answered"


async def test_delete_room_hangs_up_every_caller(sandbox: Sandbox, wire: Wire) -> None:
    """DeleteRoom sends BYE to each phone in the room. (S-BYE-04)"""
    number = await sandbox.inbound()
    assert number.room is not None
    calls = [await wire.invite(number) for _ in range(3)]
    await asyncio.gather(*(call.answered() for call in calls))
    await number.room.delete()
    await asyncio.gather(*(call.received("BYE", within=1) for call in calls))


async def test_a_second_bye_is_answered_too(sandbox: Sandbox, wire: Wire) -> None:
    """A second BYE is 200 while livekit still closes the call, and 481 from then on. (S-BYE-11)"""
    call, _ = await up(sandbox, wire)
    first, second = await call.bye(), await call.bye()
    assert first.start == "SIP/2.0 200 OK"
    assert second.start in ("SIP/2.0 200 OK", "SIP/2.0 481 Call does not exist")


async def test_a_bye_of_no_call_is_481(sandbox: Sandbox, wire: Wire) -> None:
    """A BYE with a tag that is not known is 481 Call does not exist. (S-BYE-11)"""
    call, _ = await up(sandbox, wire)
    stray = await wire.ask(
        "BYE", to=f"<{call.uri}>;tag=SCL_unknown", from_=call.local, call_id=call.call_id, cseq=9
    )
    assert stray.start == "SIP/2.0 481 Call does not exist"


async def test_both_sides_hang_up_at_once(sandbox: Sandbox, wire: Wire) -> None:
    """DeleteRoom and the phone's BYE cross: it is answered, and nobody is left. (S-BYE-12)"""
    call, name = await up(sandbox, wire)
    room = sandbox.room(name)
    answer, _ = await asyncio.gather(call.bye(), room.delete())
    assert answer.status in (200, 481)
    await room.left(call.identity)


async def test_a_bye_of_livekits_has_the_next_sequence_number(sandbox: Sandbox, wire: Wire) -> None:
    """The BYE goes to the Contact, in the dialog of the INVITE, with the CSeq after its own.

    (S-BYE-04)
    """
    call, name = await up(sandbox, wire)
    await sandbox.room(name).delete()
    bye = await call.received("BYE")
    assert call.answer is not None
    assert bye.uri.startswith(f"sip:wire@{wire.address}")
    assert bye.cseq == "2 BYE"
    assert (bye.from_tag, bye.to_tag) == (call.answer.to_tag, call.tag)


async def test_the_room_ends_after_its_departure_timeout(sandbox: Sandbox, wire: Wire) -> None:
    """With the last one gone the room is closed after departure_timeout. (S-BYE-14)"""
    number = await sandbox.inbound()
    assert number.room is not None
    await number.room.create(departure_timeout=1)
    peer = await number.room.join(tone=PEER_TONE)
    call = await (await wire.invite(number)).answered()
    await peer.leave()
    await number.room.left(peer.identity)
    assert await number.room.info() is not None
    await call.bye()
    await number.room.finished(within=6)
