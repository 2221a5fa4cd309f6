"""What the scenarios share: a call that is answered, and the silence of a dropped one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from livekit import api

from sandbox import Call, DeadlineMissed, Inbound, Peer, Room, Sandbox
from tests.e2e.wire import Wire

#: The tones of the scenarios, in Hz: far enough apart to be told from each other.
CALLER_TONE = 440.0
PEER_TONE = 700.0
#: What a job says when its room was deleted: livekit-server ends both, in either order.
ROOM_ENDED = ("room disconnected", "parent process shutdown")


@dataclass(frozen=True)
class Talk:
    """A call that is up, and the WebRTC peer at its other end."""

    call: Call
    peer: Peer
    room: Room
    identity: str


Connect = Callable[..., Awaitable[Talk]]


@pytest.fixture
def connect(sandbox: Sandbox) -> Connect:
    """Join the room of a direct rule with a peer that makes a tone, dial, and wait for the call."""

    async def place(number: Inbound, **dial: Any) -> Talk:
        assert number.room is not None, "connect() needs a direct rule"
        peer = await number.room.join(tone=PEER_TONE)
        call = await sandbox.phone.dial(number, **dial)
        await call.answered(within=5)
        room, participant = await sandbox.joined(call)
        # Until the ACK has arrived the call cannot be transferred, for one.
        await peer.attribute(participant.identity, "sip.callStatus", "active")
        return Talk(call, peer, room, participant.identity)

    return place


@pytest_asyncio.fixture(loop_scope="session")
async def wire(sandbox: Sandbox) -> AsyncIterator[Wire]:
    """A SIP user agent of raw sockets, for what PJSIP will not send."""
    wire = await Wire(sandbox.endpoints, sandbox.timeline).open()
    yield wire
    await wire.close()


async def assert_dropped(call: Call, *, window: float = 0.6) -> None:
    """The call gets 100 and 180 and then nothing: what livekit does when no rule takes it.

    Silence can only be observed for a while: `window` is how long, in seconds. A refusal that
    did come takes a few milliseconds.
    """
    await call.ringing(within=2)
    with pytest.raises(DeadlineMissed):
        await call.rejected(within=window)


async def assert_rings_in(sandbox: Sandbox, call: Call) -> tuple[Room, Any]:
    """The call rings, and its caller is in a room."""
    await call.ringing(within=2)
    return await sandbox.joined(call)


def tones_heard(sandbox: Sandbox, call: Call) -> set[int]:
    """The tones that the phone has heard on `call`, in Hz, rounded to 50."""
    return {
        round(event.data["hz"] / 50) * 50
        for event in sandbox.timeline.since(sandbox.mark)
        if event.call == call.id and event.name == "media.tone" and event.data["on"]
    }


async def assert_timed_out(transfer: Awaitable[object]) -> None:
    """A transfer whose ringing_timeout passed is the API's 408.

    Its code is `deadline_exceeded` (recorded). livekit-sip answers `canceled` now and then: two
    timers of the same length race, livekit-server's and its own.
    """
    with pytest.raises(api.ServerError) as caught:
        await transfer
    error = caught.value
    assert (error.status, error.code) in ((408, "deadline_exceeded"), (408, "canceled"))
    if error.code == "deadline_exceeded":
        assert error.message == "twirp error unknown: request timed out"


async def refer_policy(call: Call, status: int, *, dial: bool = True) -> None:
    """How the phone answers a REFER on the line of `call`."""
    assert call.line is not None
    await call.line.refer_policy(status, dial=dial)
