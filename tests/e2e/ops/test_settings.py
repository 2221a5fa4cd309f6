"""Settings of the SIP service that change what a phone sees."""

from __future__ import annotations

import pytest
from livekit import api

from sandbox import DeadlineMissed
from tests.conformance.message import sdp_audio
from tests.e2e.conftest import PEER_TONE
from tests.e2e.ops.conftest import Side
from tests.e2e.wire import OFFER, WireCall, media_line, sdp


async def answered(side: Side, *, tone: bool = True, **offer: object) -> WireCall:
    """A call to a room in which somebody speaks."""
    number = await side.sandbox.inbound()
    assert number.room is not None
    await number.room.join(tone=PEER_TONE)
    call = await side.wire.invite(number, **offer)  # type: ignore[arg-type]
    return await call.answered(tone=tone)


async def test_a_codec_that_is_switched_off_is_not_answered(side: Side) -> None:
    """`codecs: {"G722/8000": false}`: an offer of G722 and PCMU gets PCMU. (S-MED-08)"""
    await side.start(codecs={"G722/8000": False})
    call = await answered(side, lines=("9 0 101", "a=rtpmap:9 G722/8000", *OFFER[1:]))
    assert call.answer is not None
    assert media_line(call.answer) == "m=audio * RTP/AVP 0 101"


async def test_a_phone_that_never_sends_rtp_is_hung_up_on(side: Side) -> None:
    """media_timeout_initial is how long a phone may take to send its first RTP. (S-MED-16)"""
    await side.start(media_timeout="1s", media_timeout_initial="1s")
    call = await answered(side, tone=False)
    await call.received("BYE", within=5)


async def test_nobody_is_hurried_at_the_pin(side: Side) -> None:
    """A caller who presses nothing at the prompt is not hung up on, as long as RTP comes; without
    RTP the media timeout ends the call.

    (S-PIN-05)
    """
    await side.start(media_timeout="1s", media_timeout_initial="1s")
    call = await (await side.wire.invite(await side.sandbox.inbound(pin="12"))).answered()
    with pytest.raises(DeadlineMissed):
        await call.received("BYE", within=2.5)
    call.media.stop()
    await call.received("BYE", within=5)


async def test_symmetric_rtp_answers_where_the_audio_comes_from(side: Side) -> None:
    """With symmetric_rtp the SDP's address does not matter once RTP came from another.

    (S-MED-18)
    """
    await side.start(symmetric_rtp=True)
    elsewhere = await side.wire.media()
    try:
        call = await answered(side, body=sdp(elsewhere.port, side.wire.host))
        await side.wire.event("wire.rtp", port=call.media.port)
        await side.wire.event("wire.tone", hz=PEER_TONE)
    finally:
        elsewhere.close()


async def test_without_symmetric_rtp_the_sdp_counts(side: Side) -> None:
    """By default audio goes to the SDP's address, wherever the phone's RTP comes from.

    (S-MED-18)
    """
    await side.start()
    elsewhere = await side.wire.media()
    try:
        call = await answered(side, body=sdp(elsewhere.port, side.wire.host))
        await side.wire.event("wire.rtp", port=elsewhere.port)
        with pytest.raises(DeadlineMissed):
            await side.wire.event("wire.rtp", port=call.media.port, within=0.4)
    finally:
        elsewhere.close()


async def test_audio_dtmf_is_heard_as_well(side: Side) -> None:
    """audio_dtmf: a digit from the room is both telephone-event and a tone in the audio.

    (S-DTM-11)
    """
    await side.start(audio_dtmf=True)
    number = await side.sandbox.inbound()
    assert number.room is not None
    peer = await number.room.join(tone=PEER_TONE)
    call = await (await side.wire.invite(number)).answered()
    await peer.unpublish()
    await peer.sees(call.identity)
    await peer.publish_dtmf("1")
    await side.wire.event("wire.dtmf", digit="1")
    loud = [hz for hz in call.media.tones if abs(hz - PEER_TONE) > 20 or abs(hz - 697) < 20]
    assert loud


async def test_the_contact_has_the_outer_port(side: Side) -> None:
    """sip_port is what peers are told, sip_port_listen what is bound. (S-NET-02)"""
    inner = side.sandbox.endpoints.sip_port
    await side.start(sip_port=5999, sip_port_listen=inner)
    call = await answered(side)
    assert call.answer is not None
    host = side.sandbox.endpoints.sip_host
    assert call.answer.get("contact") == f"<sip:{host}:5999;transport=udp>"


async def test_media_may_have_an_address_of_its_own(side: Side) -> None:
    """media_nat_1_to_1_ip is in the SDP, nat_1_to_1_ip in the Contact. (S-NET-03)"""
    await side.start(media_nat_1_to_1_ip="192.0.2.7")
    call = await answered(side, tone=False)
    assert call.answer is not None
    audio = sdp_audio(call.answer.body)
    assert audio is not None
    assert audio[0] == "192.0.2.7"
    assert call.answer.get("contact").startswith(f"<sip:{side.sandbox.endpoints.sip_host}:")


async def test_a_large_invite_over_udp_is_not_sent(side: Side) -> None:
    """A call out whose INVITE is over 1300 bytes fails on UDP; nothing is sent, TCP is not tried.

    (S-SIP-07)
    """
    await side.start()
    trunk = await side.sandbox.outbound_trunk(side.wire.address, headers={"X-Long": "x" * 1000})
    with pytest.raises(api.ServerError):
        await side.sandbox.call_out(trunk, "callee", wait=True, headers={"X-More": "y" * 500})
    assert [m for m in side.wire.messages if m.method == "INVITE"] == []


async def test_udp_max_payload_lets_a_large_invite_through(side: Side) -> None:
    """With udp_max_payload raised, the same INVITE is one UDP datagram. (S-SIP-07)"""
    await side.start(udp_max_payload=4000)
    trunk = await side.sandbox.outbound_trunk(side.wire.address, headers={"X-Long": "x" * 1000})
    room = side.sandbox.room()
    out = await side.sandbox.call_out(trunk, "callee", room=room, headers={"X-More": "y" * 500})
    call = await side.wire.incoming()
    assert call.offer is not None
    assert call.offer.get("x-more") == "y" * 500
    await side.wire.respond(call.offer, 486, "Busy Here", tag=call.tag)
    call.over = True
    await room.left(out.identity)


async def test_without_free_rtp_ports_a_call_is_refused(side: Side) -> None:
    """Where the ports of rtp_port are in use, the next call is refused. (S-MED-20)"""
    await side.start(rtp_port=side.one_rtp_port())
    number = await side.sandbox.inbound()
    assert number.room is not None
    await number.room.join(tone=PEER_TONE)
    calls = [await side.wire.invite(number) for _ in range(3)]
    finals = [(await call.final(within=5)).status for call in calls]
    for call in calls:
        if call.responses(200):
            await call.answered()
    # Which of the three gets the one port is not said.
    assert sorted(status >= 400 for status in finals) == [False, True, True]
