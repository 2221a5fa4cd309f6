"""Which offers are answered, and with what: codecs, telephone-event, directions, odd SDP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from livekit import api

from sandbox import Inbound, Sandbox
from tests.e2e.conftest import PEER_TONE
from tests.e2e.wire import OFFER, Wire, WireCall, media_line, sdp

ANSWER_TAIL = ["a=ptime:20", "a=sendrecv"]


async def answered(number: Inbound, wire: Wire, **offer: Any) -> WireCall:
    """The call of an offer to a room in which somebody speaks."""
    assert number.room is not None
    await number.room.join(tone=PEER_TONE)
    return await (await wire.invite(number, **offer)).answered()


async def refused(call: WireCall) -> None:
    """The INVITE rings, and is then refused with 400 and no reason phrase."""
    final = await call.final()
    assert final.start == "SIP/2.0 400 "
    assert len(call.responses(180)) == 1


@pytest.mark.parametrize(
    ("offered", "answer"),
    [
        (("8 0 101", *OFFER[1:]), ["0 101", "a=rtpmap:0 PCMU/8000"]),
        (("8 101", *OFFER[2:]), ["8 101", "a=rtpmap:8 PCMA/8000"]),
        (("0 9 101", *OFFER[1:]), ["9 101", "a=rtpmap:9 G722/8000"]),
        (("8 9 101", *OFFER[2:]), ["9 101", "a=rtpmap:9 G722/8000"]),
        (
            ("96 8 101", "a=rtpmap:96 opus/48000/2", *OFFER[2:]),
            ["8 101", "a=rtpmap:8 PCMA/8000"],
        ),
    ],
    ids=["pcma-pcmu", "pcma", "pcmu-g722", "pcma-g722", "opus-pcma"],
)
async def test_one_codec_is_answered_by_livekits_own_order(
    sandbox: Sandbox, wire: Wire, offered: Sequence[str], answer: Sequence[str]
) -> None:
    """The answer has one codec: G722 before PCMU before PCMA, whatever the order of the offer.

    (S-MED-01, S-MED-02, S-MED-03, S-MED-06)
    """
    call = await answered(await sandbox.inbound(), wire, lines=offered)
    assert call.answer is not None
    lines = call.answer.body.splitlines()
    types, rtpmap = answer
    assert media_line(call.answer) == f"m=audio * RTP/AVP {types}"
    assert lines[2] == "s=LiveKit"
    assert lines[6:] == [
        rtpmap, "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16", *ANSWER_TAIL
    ]  # fmt: skip


@pytest.mark.parametrize(
    "offered",
    [
        ("18 3", "a=rtpmap:18 G729/8000", "a=rtpmap:3 GSM/8000"),
        ("96", "a=rtpmap:96 opus/48000/2"),
        ("97", "a=rtpmap:97 iLBC/8000"),
    ],
    ids=["g729-gsm", "opus", "ilbc"],
)
async def test_no_common_codec_is_400(sandbox: Sandbox, wire: Wire, offered: Sequence[str]) -> None:
    """An offer of codecs that livekit lacks is 400 with no reason phrase, not 488. (S-MED-05)"""
    await refused(await wire.invite(await sandbox.inbound(), lines=offered))


async def test_an_invite_without_sdp_is_400(sandbox: Sandbox, wire: Wire) -> None:
    """A late offer is not supported: an INVITE without SDP is 400. (S-ANS-09)"""
    await refused(await wire.invite(await sandbox.inbound(), body=""))


async def test_a_body_that_is_no_sdp_is_400(sandbox: Sandbox, wire: Wire) -> None:
    """A body that cannot be read as SDP is 400. (S-ANS-09)"""
    await refused(await wire.invite(await sandbox.inbound(), body="this is no sdp\r\n"))


async def test_an_audio_port_of_zero_is_400(sandbox: Sandbox, wire: Wire) -> None:
    """An offer that rejects its own audio, with port 0, is 400. (S-MED-22)"""
    await refused(await wire.invite(await sandbox.inbound(), body=sdp(0, wire.host)))


async def test_the_content_type_is_not_looked_at(sandbox: Sandbox, wire: Wire) -> None:
    """SDP without a Content-Type is taken as SDP. (S-ANS-09)"""
    call = await answered(await sandbox.inbound(), wire, without=["Content-Type"])
    assert call.answer is not None
    assert media_line(call.answer) == "m=audio * RTP/AVP 0 101"


async def test_static_payload_types_need_no_rtpmap(sandbox: Sandbox, wire: Wire) -> None:
    """Payload type 0 without an rtpmap is PCMU. (S-MED-07)"""
    number = await sandbox.inbound()
    call = await answered(number, wire, lines=["0"])
    assert call.answer is not None
    assert call.answer.body.splitlines()[5:] == [
        call.answer.body.splitlines()[5], "a=rtpmap:0 PCMU/8000", *ANSWER_TAIL
    ]  # fmt: skip
    assert media_line(call.answer) == "m=audio * RTP/AVP 0"


async def test_telephone_event_keeps_the_offered_payload_type(sandbox: Sandbox, wire: Wire) -> None:
    """The answer has telephone-event under the number of the offer, and keys arrive by it.

    (S-MED-07)
    """
    number = await sandbox.inbound()
    assert number.room is not None
    peer = await number.room.join(tone=PEER_TONE)
    call = await wire.invite(
        number,
        event_type=110,
        lines=["0 110", "a=rtpmap:0 PCMU/8000", "a=rtpmap:110 telephone-event/8000"],
    )
    await call.answered()
    assert call.answer is not None
    assert media_line(call.answer) == "m=audio * RTP/AVP 0 110"
    assert "a=rtpmap:110 telephone-event/8000" in call.answer.body.splitlines()
    await peer.sees(call.identity)
    call.media.press("4")
    await peer.dtmf("4", of=call.identity)


async def test_without_telephone_event_the_answer_has_none(sandbox: Sandbox, wire: Wire) -> None:
    """An offer without telephone-event is answered without it. (S-DTM-10)"""
    call = await answered(await sandbox.inbound(), wire, lines=["0", "a=rtpmap:0 PCMU/8000"])
    assert call.answer is not None
    assert "telephone-event" not in call.answer.body
    await wire.event("wire.tone", hz=PEER_TONE)


@pytest.mark.parametrize("direction", ["sendonly", "recvonly", "inactive", ""])
async def test_the_offered_direction_is_ignored(
    sandbox: Sandbox, wire: Wire, direction: str
) -> None:
    """Every offer is answered sendrecv, and audio goes to a phone that asked for none.

    (S-MED-22, livekit/sip#96)
    """
    call = await answered(await sandbox.inbound(), wire, direction=direction)
    assert call.answer is not None
    assert call.answer.body.splitlines()[-1] == "a=sendrecv"
    await wire.event("wire.tone", hz=PEER_TONE)


async def test_the_answer_repeats_the_offers_session_id(sandbox: Sandbox, wire: Wire) -> None:
    """The o= line repeats the session id of the offer; its version is that id plus two.

    (S-MED-22)
    """
    call = await answered(await sandbox.inbound(), wire)
    assert call.answer is not None
    origin = call.answer.body.splitlines()[1].split()
    assert origin[:3] == ["o=-", "4711", "4713"]


async def test_only_listed_codecs_narrow_the_answer(sandbox: Sandbox, wire: Wire) -> None:
    """A trunk whose media config lists PCMA alone answers PCMA, though PCMU is offered first.

    (S-MED-08)
    """
    media = api.SIPMediaConfig(
        only_listed_codecs=True, codecs=[api.SIPCodec(name="PCMA", rate=8000)]
    )
    call = await answered(await sandbox.inbound(media=media), wire, lines=("0 8 101", *OFFER[1:]))
    assert call.answer is not None
    assert media_line(call.answer) == "m=audio * RTP/AVP 8 101"


async def test_a_codec_that_is_not_listed_is_400(sandbox: Sandbox, wire: Wire) -> None:
    """Where only PCMA is listed, an offer of PCMU is 400. (S-MED-08)"""
    media = api.SIPMediaConfig(
        only_listed_codecs=True, codecs=[api.SIPCodec(name="PCMA", rate=8000)]
    )
    await refused(await wire.invite(await sandbox.inbound(media=media)))


async def test_an_address_for_the_audio_alone_is_followed(sandbox: Sandbox, wire: Wire) -> None:
    """A c= line of the audio section counts before that of the session. (S-MED-22)"""
    number = await sandbox.inbound()
    call = await answered(
        number,
        wire,
        session=["c=IN IP4 192.0.2.1"],
        lines=[OFFER[0], f"c=IN IP4 {wire.host}", *OFFER[1:]],
    )
    assert call.answer is not None
    await wire.event("wire.tone", hz=PEER_TONE)
