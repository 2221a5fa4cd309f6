"""What silence does: no RTP from the phone ends a call, silence from the room does not."""

from __future__ import annotations

import pytest
from livekit import api

from sandbox import DeadlineMissed, Sandbox
from sandbox.telephony.inbound import duration
from tests.e2e.conftest import PEER_TONE
from tests.e2e.wire import Wire

Reason = api.DisconnectReason


def quick() -> api.SIPMediaConfig:
    """A media timeout of one second."""
    return api.SIPMediaConfig(media_timeout=duration(1))


@pytest.mark.sandbox_allow(
    "log-line", reason="the phone falls silent: livekit-sip warns of it", match="media-timeout"
)
async def test_a_phone_that_stops_its_rtp_is_hung_up_on(sandbox: Sandbox, wire: Wire) -> None:
    """After the trunk's media_timeout without RTP from the phone: BYE, hangup, CLIENT_INITIATED.

    (S-MED-16, S-BYE-10, Q21)
    """
    number = await sandbox.inbound(media=quick())
    assert number.room is not None
    peer = await number.room.join(tone=PEER_TONE)
    call = await (await wire.invite(number)).answered()
    await peer.hears_tone(440, of=call.identity)
    call.media.stop()
    await call.received("BYE", within=3)
    gone = await number.room.left(call.identity)
    assert gone.disconnect_reason == Reason.CLIENT_INITIATED
    assert gone.attributes["sip.callStatus"] == "hangup"


@pytest.mark.sandbox_allow(
    "log-line", reason="the phone falls silent: livekit-sip warns of it", match="media-timeout"
)
async def test_the_media_timeout_of_the_rule_counts_as_well(sandbox: Sandbox, wire: Wire) -> None:
    """media_timeout of the dispatch rule ends the call as the trunk's does. (S-MED-16)"""
    number = await sandbox.inbound(rule={"media": quick()})
    assert number.room is not None
    peer = await number.room.join(tone=PEER_TONE)
    call = await (await wire.invite(number)).answered()
    await peer.hears_tone(440, of=call.identity)
    call.media.stop()
    await call.received("BYE", within=3)


async def test_a_callee_that_stops_its_rtp_is_hung_up_on(sandbox: Sandbox, wire: Wire) -> None:
    """On a call out the media timeout leaves sip.callStatus active: no hangup is ever seen.

    (S-MED-16)
    """
    room = sandbox.room()
    peer = await room.join(tone=PEER_TONE)
    trunk = await sandbox.outbound_trunk(wire.address, media=quick())
    out = await sandbox.call_out(trunk, "callee", room=room)
    call = await wire.incoming()
    await call.answer_with()
    await peer.hears_tone(440, of=out.identity)
    call.media.stop()
    await call.received("BYE", within=5)
    gone = await room.left(out.identity)
    assert gone.disconnect_reason == Reason.CLIENT_INITIATED
    assert gone.attributes["sip.callStatus"] == "active"


async def test_silence_of_the_room_ends_nothing(sandbox: Sandbox, wire: Wire) -> None:
    """The peer leaves and nobody speaks: as long as the phone sends RTP, the call stays.

    (S-MED-17, livekit/sip#812)
    """
    number = await sandbox.inbound(media=quick())
    assert number.room is not None
    peer = await number.room.join(tone=PEER_TONE)
    call = await (await wire.invite(number)).answered()
    await peer.sees(call.identity)
    await peer.leave()
    await number.room.left(peer.identity)
    with pytest.raises(DeadlineMissed):
        await call.received("BYE", within=1.5)
    assert set(await number.room.participants()) == {call.identity}
