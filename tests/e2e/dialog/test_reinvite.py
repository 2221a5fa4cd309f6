"""re-INVITE and what else a phone asks in a call: hold, new addresses, other codecs, timers."""

from __future__ import annotations

import pytest
from livekit import api

from sandbox import DeadlineMissed, Peer, Sandbox
from sandbox.telephony.inbound import duration
from tests.e2e.conftest import PEER_TONE
from tests.e2e.wire import OFFER, Wire, WireCall, sdp


async def up(sandbox: Sandbox, wire: Wire, **trunk: object) -> tuple[WireCall, Peer]:
    """A call that is up and heard in the room."""
    number = await sandbox.inbound(**trunk)  # type: ignore[arg-type]
    assert number.room is not None
    peer = await number.room.join(tone=PEER_TONE)
    call = await (await wire.invite(number)).answered()
    await peer.hears_tone(440, of=call.identity)
    return call, peer


@pytest.mark.parametrize("direction", ["sendonly", "inactive"])
async def test_hold_is_answered_sendrecv_and_audio_goes_on(
    sandbox: Sandbox, wire: Wire, direction: str
) -> None:
    """Hold is answered with the old SDP, sendrecv, and the room goes on to send audio.

    (S-RIV-02, livekit/sip#96)
    """
    call, _ = await up(sandbox, wire)
    offer = sdp(call.media.port, wire.host, direction=direction)
    answer = await call.request("INVITE", body=offer)
    assert answer.start == "SIP/2.0 200 OK"
    assert call.answer is not None
    assert answer.body == call.answer.body
    packets = call.media.payload_types[0]
    await wire.event("wire.tone", hz=PEER_TONE)
    with pytest.raises(DeadlineMissed):
        await call.received("BYE", within=0.4)
    assert call.media.payload_types[0] > packets + 10


async def test_hold_with_an_empty_address_keeps_the_audio_where_it_was(
    sandbox: Sandbox, wire: Wire
) -> None:
    """The old hold, c=IN IP4 0.0.0.0, is answered sendrecv and its address not followed.

    (S-RIV-02)
    """
    call, _ = await up(sandbox, wire)
    offer = sdp(call.media.port, "0.0.0.0", direction="")
    answer = await call.request("INVITE", body=offer)
    assert answer.body.splitlines()[-1] == "a=sendrecv"
    packets = call.media.payload_types[0]
    with pytest.raises(DeadlineMissed):
        await call.received("BYE", within=0.4)
    assert call.media.payload_types[0] > packets + 10


@pytest.mark.sandbox_allow(
    "log-line", reason="the phone falls silent: livekit-sip warns of it", match="media-timeout"
)
async def test_a_phone_that_stays_silent_on_hold_is_hung_up_on(
    sandbox: Sandbox, wire: Wire
) -> None:
    """A phone that sends no RTP while it holds is ended by the media timeout. (S-RIV-02)"""
    media = api.SIPMediaConfig(media_timeout=duration(1))
    call, _ = await up(sandbox, wire, media=media)
    await call.request("INVITE", body=sdp(call.media.port, wire.host, direction="sendonly"))
    call.media.stop()
    await call.received("BYE", within=3)


async def test_audio_follows_a_new_port(sandbox: Sandbox, wire: Wire) -> None:
    """A re-INVITE with another RTP port moves the audio there at once. (S-RIV-03)"""
    call, _ = await up(sandbox, wire)
    moved = await wire.media()
    try:
        answer = await call.request("INVITE", body=sdp(moved.port, wire.host))
        assert call.answer is not None
        assert answer.body == call.answer.body
        await wire.event("wire.rtp", port=moved.port)
        packets = call.media.payload_types[0]
        with pytest.raises(DeadlineMissed):
            await call.received("BYE", within=0.3)
        assert call.media.payload_types[0] == packets
    finally:
        moved.close()


@pytest.mark.parametrize(
    "lines",
    [("8 101", *OFFER[2:]), ("18", "a=rtpmap:18 G729/8000")],
    ids=["pcma", "g729"],
)
async def test_another_codec_is_ignored(
    sandbox: Sandbox, wire: Wire, lines: tuple[str, ...]
) -> None:
    """A re-INVITE with another codec gets the old answer, even where there is none in common.

    (S-RIV-04)
    """
    call, _ = await up(sandbox, wire)
    answer = await call.request("INVITE", body=sdp(call.media.port, wire.host, lines))
    assert answer.start == "SIP/2.0 200 OK"
    assert call.answer is not None
    assert answer.body == call.answer.body


async def test_a_re_invite_without_sdp_gets_the_old_answer(sandbox: Sandbox, wire: Wire) -> None:
    """A re-INVITE without SDP is 200 with the SDP of the first answer. (S-RIV-08)"""
    call, _ = await up(sandbox, wire)
    answer = await call.request("INVITE")
    assert answer.start == "SIP/2.0 200 OK"
    assert call.answer is not None
    assert answer.body == call.answer.body


async def test_session_timers_are_the_phones_own(sandbox: Sandbox, wire: Wire) -> None:
    """Session-Expires is not answered with one, and each refresh of the phone's is 200.

    (S-RIV-05)
    """
    timers = {"Supported": "timer", "Session-Expires": "90;refresher=uac", "Min-SE": "90"}
    number = await sandbox.inbound()
    assert number.room is not None
    await number.room.join(tone=PEER_TONE)
    call = await (await wire.invite(number, headers=timers)).answered()
    assert call.answer is not None
    answers = [call.answer]
    for _ in range(2):
        body = sdp(call.media.port, wire.host)
        answers.append(await call.request("INVITE", headers=timers, body=body))
    assert [a.status for a in answers] == [200, 200, 200]
    assert {(a.get("session-expires"), a.get("supported")) for a in answers} == {("", "")}


async def test_a_callee_may_hold_ask_and_hang_up(sandbox: Sandbox, wire: Wire) -> None:
    """On a call out: re-INVITE 200, OPTIONS 200, UPDATE and INFO 405, and BYE 200. (S-RIV-06)"""
    room = sandbox.room()
    peer = await room.join(tone=PEER_TONE)
    out = await sandbox.call_out(await sandbox.outbound_trunk(wire.address), "callee", room=room)
    call = await wire.incoming()
    await call.answer_with()
    await peer.hears_tone(440, of=out.identity)
    hold = await call.request("INVITE", body=sdp(call.media.port, wire.host, direction="sendonly"))
    assert hold.start == "SIP/2.0 200 OK"
    assert hold.body.splitlines()[-1] == "a=sendrecv"
    starts = [(await call.request(m)).start for m in ("UPDATE", "OPTIONS", "INFO", "BYE")]
    assert starts == [
        "SIP/2.0 405 Method Not Allowed",
        "SIP/2.0 200 OK",
        "SIP/2.0 405 Method Not Allowed",
        "SIP/2.0 200 OK",
    ]
    await room.left(out.identity)


async def test_prack_and_refer_are_refused_in_a_call(sandbox: Sandbox, wire: Wire) -> None:
    """PRACK, SUBSCRIBE and REFER in a call are 405, too. (S-RIV-07)"""
    call, _ = await up(sandbox, wire)
    answers = [await call.request(method) for method in ("PRACK", "SUBSCRIBE", "REFER")]
    assert {a.start for a in answers} == {"SIP/2.0 405 Method Not Allowed"}


async def test_an_invite_of_the_same_call_id_is_a_new_call(sandbox: Sandbox, wire: Wire) -> None:
    """An INVITE with the Call-ID and From tag of a call, a higher CSeq and no To tag is another
    call, which throws the first one out of the room: duplicate identity.

    (S-RIV-01, livekit/sip#426)
    """
    call, _ = await up(sandbox, wire)
    body = sdp(call.media.port, wire.host)
    await wire.send(
        wire.build(
            "INVITE", call.uri, to=f"<{call.uri}>", from_=call.local, call_id=call.call_id,
            cseq=2, body=body,
        )
    )  # fmt: skip
    await call.received("BYE")
    second = await wire.message(
        lambda m: m.call_id == call.call_id and m.cseq == "2 INVITE" and m.status == 200,
        expected="the 200 of the second INVITE",
    )
    assert call.answer is not None
    assert second.to_tag != call.answer.to_tag
    await call.acknowledge(second)
    call.remote, call.over = second.get("to"), False
    await call.bye(cseq=3)
