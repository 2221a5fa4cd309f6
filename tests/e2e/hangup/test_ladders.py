"""Whole calls, message by message, against the ladders in the repository."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from livekit import api

from sandbox import Sandbox
from tests.e2e.conftest import Connect

AssertLadder = Callable[..., Awaitable[None]]


async def test_a_call_that_is_answered_and_hung_up(
    sandbox: Sandbox, connect: Connect, assert_ladder: AssertLadder
) -> None:
    """A call that is answered and that the phone hangs up: every message of it, in order.

    (S-BYE-01)
    """
    talk = await connect(await sandbox.inbound())
    await talk.call.hang_up()
    await assert_ladder(talk.call, "answered-and-hung-up")


async def test_a_call_that_is_cancelled_while_it_rings(
    sandbox: Sandbox, assert_ladder: AssertLadder
) -> None:
    """A call that the phone gives up while it rings: CANCEL, its 200, 487, and the ACK.

    (S-ANS-05)
    """
    call = await sandbox.phone.dial(await sandbox.inbound())
    await call.ringing(within=3)
    await sandbox.joined(call)
    await call.cancel()
    await assert_ladder(call, "cancelled")


async def test_a_call_out_that_is_rejected(sandbox: Sandbox, assert_ladder: AssertLadder) -> None:
    """A call out that is busy: the INVITE with its From and its offer, 486, and the ACK.

    (S-OUT-10)
    """
    line = await sandbox.phone.line()
    await line.rejects(486)
    trunk = await sandbox.outbound_trunk(line.address)
    await sandbox.call_out(trunk, line.number)
    call = await line.incoming()
    await assert_ladder(call, "rejected-outbound", headers=["From", "To"])


async def test_a_call_that_the_room_hangs_up(
    sandbox: Sandbox, connect: Connect, assert_ladder: AssertLadder
) -> None:
    """DeleteRoom: the SIP service sends BYE, and the phone answers it. (S-BYE-04)"""
    talk = await connect(await sandbox.inbound())
    await sandbox.api.room.delete_room(api.DeleteRoomRequest(room=talk.room.name))
    await assert_ladder(talk.call, "hung-up-by-the-room", headers=["Reason"])
