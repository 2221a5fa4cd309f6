"""livekit-server or redis hangs, crashes or ends while there are calls."""

from __future__ import annotations

import asyncio

import pytest
from livekit import api

from sandbox import DeadlineMissed, Inbound, Peer, Room
from tests.conformance.media import CALLER_HZ
from tests.e2e.conftest import PEER_TONE
from tests.e2e.ops.conftest import Side
from tests.e2e.ops.test_metrics import counts, scrape
from tests.e2e.wire import WireCall


async def hearing_each_other(side: Side) -> tuple[Inbound, Room, Peer, WireCall]:
    """A call that is up, of a caller and a peer who hear each other's tone."""
    await side.start()
    number = await side.sandbox.inbound()
    assert number.room is not None
    peer = await number.room.join(tone=PEER_TONE)
    call = await (await side.wire.invite(number)).answered()
    await side.wire.event("wire.tone", hz=PEER_TONE)
    await peer.hears_tone(CALLER_HZ, of=call.identity)
    return number, number.room, peer, call


async def test_a_livekit_server_that_wakes_in_time_answers_late(side: Side) -> None:
    """livekit-server hangs as the INVITE comes: 100 and nothing more, and when it goes on within
    the second that the SIP service waits, the call is answered as if nothing had been.

    (S-OPS-06)
    """
    await side.start()
    number = await side.sandbox.inbound()
    assert number.room is not None
    await number.room.join(tone=PEER_TONE)
    async with side.frozen("livekit-server"):
        call = await side.wire.invite(number)
        await call.provisional(100)
        with pytest.raises(DeadlineMissed):
            await call.final(within=0.3)
        assert call.responses(180) == []
    await call.answered()
    await side.wire.event("wire.tone", hz=PEER_TONE)


async def test_a_livekit_server_that_hangs_longer_is_503(side: Side) -> None:
    """livekit-server hangs for longer: the INVITE is 503 Try again later, without a 180, and the
    next one is answered once livekit-server goes on.

    (S-OPS-06)
    """
    await side.start()
    number = await side.sandbox.inbound()
    assert number.room is not None
    await number.room.join(tone=PEER_TONE)
    async with side.frozen("livekit-server"):
        call = await side.wire.invite(number)
        assert (await call.final(within=15)).start == "SIP/2.0 503 Try again later"
    assert call.responses(180) == []
    await (await side.wire.invite(number)).answered()


async def test_without_livekit_server_a_pin_is_the_end(side: Side) -> None:
    """livekit-server is gone when the caller presses #: BYE, dispatch-error in the metrics, and
    no room.

    (S-PIN-10)
    """
    await side.start()
    before = await scrape(side.sandbox)
    number = await side.sandbox.inbound(pin="12")
    call = await (await side.wire.invite(number)).answered()
    await side.crash("livekit-server")
    for key in "12#":
        call.media.press(key)
    await call.received("BYE", within=15)
    await counts(
        side.sandbox,
        before,
        {"calls_terminated,dir=in,reason=dispatch-error": 1, "calls_active": 0},
    )
    await side.restart("livekit-server")
    assert not (await side.sandbox.api.room.list_rooms(api.ListRoomsRequest())).rooms


async def test_a_livekit_server_that_shuts_down_hangs_up_every_call(side: Side) -> None:
    """livekit-server is made to end while rooms are in use: it puts everybody out, and the SIP
    service sends BYE.

    Not every time to everybody: it may close a connection before its last word is out, and who
    did not get it tries to come back for a while. Of three calls one at least gets it. (S-BYE-13)
    """
    number, _, peer, first = await hearing_each_other(side)
    calls = [first]
    for _ in range(2):
        calls.append(await (await side.wire.invite(number)).answered())
        await peer.attribute(calls[-1].identity, "sip.callStatus", "active")
    await side.shut_down()

    async def hung_up(call: WireCall) -> bool:
        try:
            await call.received("BYE")
        except DeadlineMissed:
            return False
        return True

    assert any(await asyncio.gather(*map(hung_up, calls))), "no caller got a BYE within 3 s"


async def test_a_call_outlives_a_crash_of_livekit_server(side: Side) -> None:
    """livekit-server crashes and is started anew: no BYE; the caller joins the room again, which is
    a new one of the same name, and both sides hear each other again after some seconds.

    (S-BYE-13)
    """
    _, room, peer, call = await hearing_each_other(side)
    await side.crash("livekit-server")
    mark = side.sandbox.timeline.mark()
    await side.restart("livekit-server")
    await side.wire.event("wire.tone", hz=PEER_TONE, since=mark, within=20)
    await peer.hears_tone(CALLER_HZ, of=call.identity, since=mark, within=20)
    assert call.seen("BYE") == []
    assert set(await room.participants()) == {peer.identity, call.identity}
    await call.bye()
    await room.left(call.identity)


async def test_a_call_outlives_a_restart_of_redis(side: Side) -> None:
    """redis goes and comes back with its data: a call that is up hears and is heard, keys arrive,
    its BYE is heard of, and the next call is answered.

    (S-OPS-05)
    """
    number, room, peer, call = await hearing_each_other(side)
    await side.crash("redis")
    # Without redis: a new tone of the room's reaches the phone, and a key of the phone's the room.
    await peer.publish_tone(1000)
    await side.wire.event("wire.tone", hz=1000)
    call.media.press("5")
    await peer.dtmf("5", of=call.identity)
    await side.restart("redis")
    assert call.seen("BYE") == []
    await (await side.wire.invite(number)).answered()
    await call.bye()
    await room.left(call.identity)
