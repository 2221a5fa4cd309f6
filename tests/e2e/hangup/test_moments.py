"""Calls that end while their caller is still on the way into the room."""

from __future__ import annotations

import asyncio

import pytest
from livekit import api

from sandbox import Sandbox
from sandbox.stack.readiness import until
from tests.e2e.wire import Wire

#: Calls of a test, how many at a time, and how much later each is given up than the one before.
CALLS, AT_A_TIME, STEP = 36, 3, 0.004
#: The webhooks that say of a participant that it is not in the room, or not any more.
GONE = ("webhook.participant_connection_aborted", "webhook.participant_left")


@pytest.mark.parametrize("moment", ["joining", "joined"])
async def test_a_call_given_up_on_its_way_into_the_room_leaves_nobody_there(
    sandbox: Sandbox, wire: Wire, moment: str
) -> None:
    """CANCEL at any moment between the 180 and the room: no caller stays behind. (S-ANS-05)

    livekit-server may go on listing, as active and until its room ends, a participant of whom it
    has said itself that the joining was aborted, or that it left (its track was published just
    then). That one is not counted. livekit-sip v1.11.0 itself leaves one behind now and then: there
    the callers' 487 is what holds, and that no call is counted.
    """
    mark = sandbox.timeline.mark()
    number = await sandbox.inbound(kind="individual")

    async def one(after: float) -> None:
        call = await wire.invite(number)
        await call.provisional(180)
        if moment == "joined":
            await call.joined()
        else:
            await asyncio.sleep(after)
        await call.cancel()
        assert (await call.final()).status == 487

    for first in range(0, CALLS, AT_A_TIME):
        await asyncio.gather(*(one((first + k) * STEP) for k in range(AT_A_TIME)))

    left: list[str] = []

    async def empty() -> bool:
        gone = {
            e.data["participant"]["identity"]
            for e in sandbox.timeline.since(mark)
            if e.name in GONE
        }
        rooms = (await sandbox.api.room.list_rooms(api.ListRoomsRequest())).rooms
        requests = (api.ListParticipantsRequest(room=room.name) for room in rooms)
        listed = await asyncio.gather(*map(sandbox.api.room.list_participants, requests))
        # At the deadline the last whole look is told.
        left[:] = (
            f"{who.identity}, state {who.state}, in {room.name}"
            for room, there in zip(rooms, listed, strict=True)
            for who in there.participants
            if who.identity not in gone
        )
        return not left

    # On livekit-sip one may be left: see sandbox/telephony/arrivals.py.
    if sandbox.endpoints.is_stand_in:
        assert await until(empty, within=10), left or "a look at all rooms took too long"
