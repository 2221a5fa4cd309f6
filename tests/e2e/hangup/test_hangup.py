"""How a call ends, from either side, and what the room sees of it."""

from __future__ import annotations

import pytest
from livekit import api

from sandbox import Sandbox
from tests.e2e.conftest import Connect, assert_rings_in

pytestmark = pytest.mark.core

Reason = api.DisconnectReason


async def test_the_phone_hangs_up(sandbox: Sandbox, connect: Connect) -> None:
    """The phone's BYE gets 200; the caller leaves with hangup and CLIENT_INITIATED. (S-BYE-01)"""
    talk = await connect(await sandbox.inbound())
    await talk.peer.attribute(talk.identity, "sip.callStatus", "active")
    await talk.call.hang_up()
    assert (await talk.call.response(200, method="BYE", within=2)).status == 200
    gone = await talk.room.left(talk.identity, within=3)
    assert gone.disconnect_reason == Reason.CLIENT_INITIATED
    assert gone.attributes["sip.callStatus"] == "hangup"
    await talk.peer.attribute(talk.identity, "sip.callStatus", "hangup")
    assert talk.peer.values(talk.identity, "sip.callStatus")[-2:] == ["active", "hangup"]


async def test_the_caller_gives_up_while_it_rings(sandbox: Sandbox) -> None:
    """CANCEL gets 200 and the INVITE 487 Request Terminated; the caller leaves. (S-ANS-05)"""
    number = await sandbox.inbound()
    call = await sandbox.phone.dial(number)
    room, caller = await assert_rings_in(sandbox, call)
    await call.cancel()
    final = await call.rejected(487, within=2)
    assert final.reason == "Request Terminated"
    assert (await call.response(200, method="CANCEL", within=2)).status == 200
    gone = await room.left(caller.identity, within=3)
    assert gone.disconnect_reason == Reason.CLIENT_INITIATED


async def test_remove_participant_hangs_up(sandbox: Sandbox, connect: Connect) -> None:
    """RemoveParticipant sends BYE; the reason is PARTICIPANT_REMOVED, without hangup. (S-BYE-03)"""
    talk = await connect(await sandbox.inbound())
    await talk.peer.attribute(talk.identity, "sip.callStatus", "active")
    await talk.room.remove(talk.identity)
    await talk.call.request("BYE", within=1)
    gone = await talk.room.left(talk.identity, within=3)
    assert gone.disconnect_reason == Reason.PARTICIPANT_REMOVED
    assert gone.attributes["sip.callStatus"] == "active"


async def test_delete_room_hangs_up(sandbox: Sandbox, connect: Connect) -> None:
    """DeleteRoom sends BYE; the reason is ROOM_DELETED. (S-BYE-04)"""
    talk = await connect(await sandbox.inbound())
    await talk.room.delete()
    await talk.call.request("BYE", within=1)
    gone = await talk.room.left(talk.identity, within=3)
    assert gone.disconnect_reason == Reason.ROOM_DELETED


async def test_remove_participant_while_it_rings_rejects(sandbox: Sandbox) -> None:
    """RemoveParticipant of a ringing caller is 486 Rejected for the phone. (S-ANS-07)"""
    call = await sandbox.phone.dial(await sandbox.inbound())
    room, caller = await assert_rings_in(sandbox, call)
    await room.remove(caller.identity)
    assert (await call.rejected(486, within=2)).reason == "Rejected"


async def test_delete_room_while_it_rings_rejects(sandbox: Sandbox) -> None:
    """DeleteRoom of a ringing caller's room is 486 Rejected for the phone. (S-ANS-07)"""
    call = await sandbox.phone.dial(await sandbox.inbound())
    room, _ = await assert_rings_in(sandbox, call)
    await room.delete()
    assert (await call.rejected(486, within=2)).reason == "Rejected"


async def test_nobody_answers_in_time(sandbox: Sandbox) -> None:
    """After the trunk's ringing_timeout an unanswered call is 486 Rejected. (S-ANS-01)"""
    number = await sandbox.inbound(ringing_timeout=1)
    call = await sandbox.phone.dial(number)
    await call.ringing(within=2)
    assert (await call.rejected(486, within=4)).reason == "Rejected"


async def test_the_call_stays_up_when_the_peer_leaves(sandbox: Sandbox, connect: Connect) -> None:
    """The last WebRTC participant leaves; the phone stays connected. (S-BYE-08)"""
    talk = await connect(await sandbox.inbound())
    await talk.peer.leave()
    await talk.room.left(talk.peer.identity, within=3)
    members = await talk.room.participants()
    assert set(members) == {talk.identity}
    assert talk.call.state != "ended"
    await talk.call.hang_up()
    await talk.room.left(talk.identity, within=3)


async def test_max_call_duration_ends_the_call(sandbox: Sandbox, connect: Connect) -> None:
    """The trunk's max_call_duration, counted from the INVITE, ends the call with BYE. (S-ANS-12)"""
    # A lost packet of the handshake with the room takes 1 s.
    talk = await connect(await sandbox.inbound(max_call_duration=2))
    await talk.call.request("BYE", within=3)
    gone = await talk.room.left(talk.identity, within=3)
    assert gone.disconnect_reason == Reason.CLIENT_INITIATED
