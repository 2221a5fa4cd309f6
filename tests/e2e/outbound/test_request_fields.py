"""CreateSIPParticipant: what each further field of the request does to the call and the room."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from livekit import api
from livekit.protocol import sip

from sandbox import DeadlineMissed, Line, Sandbox
from tests.e2e.api.conftest import refused
from tests.e2e.conftest import PEER_TONE

DIALTONE = 425.0


async def answering(sandbox: Sandbox, **options: Any) -> Line:
    """A line that answers at once."""
    line = await sandbox.phone.line(
        **{k: options.pop(k) for k in ("codecs", "srtp") if k in options}
    )
    await line.answers(**options)
    return line


def offered(body: str) -> str:
    """The m= line of an SDP body, without its port."""
    line = next(line for line in body.splitlines() if line.startswith("m="))
    return " ".join([line.split()[0], *line.split()[2:]])


# --- dtmf -------------------------------------------------------------------------------------


async def test_digits_are_sent_after_the_answer(sandbox: Sandbox) -> None:
    """dtmf: the digits follow the 200, sip.callStatus is `automation` meanwhile.

    A request that waits returns only behind the last digit. (S-DTM-09)
    """
    line = await answering(sandbox)
    room = sandbox.room()
    peer = await room.join()
    trunk = await sandbox.outbound_trunk(line.address)
    out = await sandbox.call_out(trunk, line.number, room=room, dtmf="1#", wait=True)
    call = await line.incoming(within=1)
    await call.dtmf("1#", within=2)
    await peer.attribute(out.identity, "sip.callStatus", "active")
    statuses = peer.values(out.identity, "sip.callStatus")
    assert list(statuses[-2:]) == ["automation", "active"]


async def test_what_is_no_digit_is_left_out(sandbox: Sandbox) -> None:
    """dtmf with other characters: they are skipped, and the call is placed. (S-DTM-09)"""
    line = await answering(sandbox)
    trunk = await sandbox.outbound_trunk(line.address)
    await sandbox.call_out(trunk, line.number, dtmf="1x2", wait=True)
    call = await line.incoming(within=1)
    await call.dtmf("12", within=2)


async def test_a_w_waits_half_a_second(sandbox: Sandbox) -> None:
    """dtmf: each `w` is a pause of half a second. (S-DTM-09)"""
    line = await answering(sandbox)
    trunk = await sandbox.outbound_trunk(line.address)
    await sandbox.call_out(trunk, line.number, dtmf="1w2")
    call = await line.incoming(within=3)
    await call.dtmf("12", within=4)
    at = [e.at for e in sandbox.timeline.since(sandbox.mark)
          if e.name == "dtmf.received" and e.call == call.id]  # fmt: skip
    assert 0.8 < at[1] - at[0] < 1.6


# --- dial tone --------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["play_dialtone", "play_ringtone"])
async def test_the_room_hears_a_dial_tone_until_the_answer(sandbox: Sandbox, field: str) -> None:
    """play_dialtone, and its old name play_ringtone: 425 Hz in the room while it rings.

    (S-OUT-06)
    """
    line = await sandbox.phone.line()
    await line.manual()
    room = sandbox.room()
    peer = await room.join(tone=PEER_TONE)
    trunk = await sandbox.outbound_trunk(line.address)
    out = await sandbox.call_out(trunk, line.number, room=room, **{field: True})
    call = await line.incoming(within=3)
    await call.ring()
    await peer.hears_tone(DIALTONE, of=out.identity, within=4)
    await call.answer(tone=880)
    await peer.hears_tone(880, of=out.identity, within=4)


async def test_without_a_dial_tone_the_room_hears_nothing(sandbox: Sandbox) -> None:
    """Without play_dialtone the room is silent until the answer. (S-OUT-06)"""
    line = await sandbox.phone.line()
    await line.manual()
    room = sandbox.room()
    peer = await room.join(tone=PEER_TONE)
    trunk = await sandbox.outbound_trunk(line.address)
    out = await sandbox.call_out(trunk, line.number, room=room)
    call = await line.incoming(within=3)
    await call.ring()
    await peer.attribute(out.identity, "sip.callStatus", "ringing")
    await call.answer(tone=880)
    await peer.hears_tone(880, of=out.identity, within=4)
    # As a tone begins its frequency is not yet exact.
    assert all(abs(hz - 880) < 50 for hz in peer.heard(of=out.identity))


async def test_early_media_stays_outside(sandbox: Sandbox) -> None:
    """The tone of a 183 with SDP is not heard in the room; what follows the 200 is. (S-OUT-04)"""
    line = await sandbox.phone.line()
    await line.early_media(tone=440, after=0.5, answer_tone=880)
    room = sandbox.room()
    peer = await room.join(tone=PEER_TONE)
    trunk = await sandbox.outbound_trunk(line.address)
    out = await sandbox.call_out(trunk, line.number, room=room)
    await peer.attribute(out.identity, "sip.callStatus", "ringing")
    await peer.hears_tone(880, of=out.identity, within=4)
    # As a tone begins its frequency is not yet exact.
    assert all(abs(hz - 880) < 50 for hz in peer.heard(of=out.identity))


# --- the participant --------------------------------------------------------------------------


async def test_a_hidden_number_is_in_the_identity_all_the_same(sandbox: Sandbox) -> None:
    """hide_phone_number leaves three attributes out, and sip_<number> stays the identity.

    So the number is not hidden from the room: a request must name an identity. (S-OUT-16)
    """
    line = await sandbox.phone.line()
    await line.rings()
    trunk = await sandbox.outbound_trunk(line.address)
    out = await sandbox.call_out(trunk, line.number, hide_phone_number=True)
    info = await out.room.participant(f"sip_{line.number}")
    assert info.name == ""
    attributes = dict(info.attributes)
    assert attributes.pop("sip.callStatus") in ("dialing", "ringing")
    assert attributes == {"sip.callID": out.call_id, "sip.trunkID": trunk.sip_trunk_id}


@pytest.mark.parametrize(
    ("option", "names"),
    [
        (api.SIPHeaderOptions.SIP_X_HEADERS, {"sip.h.x-agent"}),
        (api.SIPHeaderOptions.SIP_ALL_HEADERS,
         {"sip.h.x-agent", "sip.h.via", "sip.h.from", "sip.h.to", "sip.h.call-id", "sip.h.cseq",
          "sip.h.contact", "sip.h.content-type", "sip.h.content-length"}),
    ],
)  # fmt: skip
async def test_include_headers_takes_those_of_the_200(
    sandbox: Sandbox, option: Any, names: set[str]
) -> None:
    """include_headers of the request: the 200's headers become sip.h. attributes.

    It overrides the trunk's; the headers of a 180 are never taken. (S-HDR-06)
    """
    line = await sandbox.phone.line()
    await line.manual()
    room = sandbox.room()
    peer = await room.join()
    trunk = await sandbox.outbound_trunk(
        line.address, include_headers=api.SIPHeaderOptions.SIP_NO_HEADERS
    )
    out = await sandbox.call_out(trunk, line.number, room=room, include_headers=option)
    call = await line.incoming(within=3)
    await call.ring(headers={"X-Early": "no"})
    await peer.attribute(out.identity, "sip.callStatus", "ringing")
    await call.answer(headers={"X-Agent": "smith"})
    await peer.attribute(out.identity, "sip.h.x-agent", "smith")
    member = await room.member(out.identity)
    included = {key for key in member.attributes if key.startswith("sip.h.")}
    assert included >= names
    assert "sip.h.x-early" not in included
    if option == api.SIPHeaderOptions.SIP_X_HEADERS:
        assert included == names


async def test_include_headers_of_the_trunk_holds_without_the_requests(sandbox: Sandbox) -> None:
    """include_headers of an outbound trunk works where the request does not say. (S-HDR-06)"""
    line = await answering(sandbox, headers={"X-Agent": "smith"})
    room = sandbox.room()
    peer = await room.join()
    trunk = await sandbox.outbound_trunk(
        line.address, include_headers=api.SIPHeaderOptions.SIP_X_HEADERS
    )
    out = await sandbox.call_out(trunk, line.number, room=room)
    await peer.attribute(out.identity, "sip.h.x-agent", "smith")


async def test_the_headers_of_known_carriers_are_taken_from_the_180(sandbox: Sandbox) -> None:
    """Twilio's, Telnyx's and Amazon's ids are taken from provisional responses too. (S-HDR-06)"""
    line = await sandbox.phone.line()
    await line.manual()
    room = sandbox.room()
    peer = await room.join()
    out = await sandbox.call_out(await sandbox.outbound_trunk(line.address), line.number, room=room)
    call = await line.incoming(within=3)
    await call.ring(headers={"X-Twilio-CallSid": "CA1"})
    await peer.attribute(out.identity, "sip.twilio.callSid", "CA1")
    await peer.attribute(out.identity, "sip.callStatus", "ringing")


async def test_krisp_changes_nothing_here(sandbox: Sandbox) -> None:
    """krisp_enabled on a call, a trunk and a rule: the calls go as without. (S-API-20)"""
    number = await sandbox.inbound(krisp_enabled=True, rule={"krisp_enabled": True})
    assert number.room is not None
    peer = await number.room.join(tone=PEER_TONE)
    trunk = await sandbox.outbound_trunk(sandbox.endpoints.sip_address)
    out = await sandbox.call_out(trunk, number.number, krisp_enabled=True, wait=True)
    listener = await out.room.join()
    await listener.hears_tone(PEER_TONE, of=out.identity, within=5)
    assert peer is not None


async def test_a_call_may_last_so_long_and_no_longer(sandbox: Sandbox) -> None:
    """max_call_duration, counted from the request, ends an answered call with BYE. (S-ANS-12)"""
    line = await answering(sandbox)
    trunk = await sandbox.outbound_trunk(line.address)
    # A lost packet of the handshake with the room takes 1 s.
    out = await sandbox.call_out(trunk, line.number, max_call_duration=2)
    call = await line.incoming(within=2)
    await call.request("BYE", within=3)
    gone = await out.room.left(out.identity, within=2)
    assert gone.disconnect_reason == api.DisconnectReason.CLIENT_INITIATED
    assert gone.attributes["sip.callStatus"] == "hangup"


async def test_one_identity_is_in_the_room_once(sandbox: Sandbox) -> None:
    """Two calls with one participant_identity: the first is hung up. (S-OUT-14, S-OPS-09)"""
    first, second = await answering(sandbox), await answering(sandbox)
    room = sandbox.room()
    for line in (first, second):
        trunk = await sandbox.outbound_trunk(line.address)
        await sandbox.call_out(
            trunk, line.number, room=room, participant_identity="callee", wait=True
        )
    call = await first.incoming(within=1)
    await call.request("BYE", within=2)
    assert (await second.incoming(within=1)).state != "ended"


# --- media ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trunk_media", "request_media", "offer"),
    [
        (None, {"codecs": ["PCMA"], "only_listed_codecs": True}, "m=audio RTP/AVP 8 101"),
        ({"codecs": ["PCMA"], "only_listed_codecs": True}, None, "m=audio RTP/AVP 8 101"),
        ({"codecs": ["PCMA"], "only_listed_codecs": True},
         {"codecs": ["PCMU", "G722"], "only_listed_codecs": True}, "m=audio RTP/AVP 9 0 101"),
        (None, {"codecs": ["PCMA"]}, "m=audio RTP/AVP 9 0 8 101"),
    ],
    ids=["request", "trunk", "both", "not only"],
)  # fmt: skip
async def test_only_the_listed_codecs_are_offered(
    sandbox: Sandbox,
    trunk_media: dict[str, Any] | None,
    request_media: dict[str, Any] | None,
    offer: str,
) -> None:
    """media.codecs with only_listed_codecs are the offer, in LiveKit's order, not the list's.

    The request's list takes the place of the trunk's. telephone-event is always offered. Without
    only_listed_codecs a list changes nothing that is enabled already. (S-API-18, S-MED-01)
    """

    def config(media: dict[str, Any] | None) -> Any:
        if media is None:
            return None
        codecs = [sip.SIPCodec(name=name, rate=8000) for name in media["codecs"]]
        return sip.SIPMediaConfig(
            codecs=codecs, only_listed_codecs=media.get("only_listed_codecs", False)
        )

    line = await sandbox.phone.line()
    await line.rejects(486)
    trunk = await sandbox.outbound_trunk(line.address, media=config(trunk_media))
    await sandbox.call_out(trunk, line.number, media=config(request_media))
    call = await line.incoming(within=3)
    assert offered(call.invite.body) == offer


@pytest.mark.parametrize(
    ("media", "message"),
    [
        ({"only_listed_codecs": True}, "no codecs specified"),
        ({"codecs": [{"name": "G729"}]}, 'sample rate not specified for codec: "G729"'),
    ],
)
async def test_codecs_that_livekit_sip_cannot_make_out_fail_the_call(
    sandbox: Sandbox, media: dict[str, Any], message: str
) -> None:
    """only_listed_codecs without codecs, and an unknown one without a rate, fail the call.

    A surprise: livekit-sip answers 500 "unknown", and the API takes such a trunk without a word.
    (S-API-18)
    """
    config = ParseDict(media, sip.SIPMediaConfig())
    trunk = await sandbox.outbound_trunk("127.0.0.1:5060", media=config)
    await refused(
        sandbox.call_out(trunk, "+1555"), 500, "unknown", f"twirp error unknown: {message}"
    )


async def test_only_listed_codecs_of_a_request_without_a_list_does_nothing(
    sandbox: Sandbox,
) -> None:
    """only_listed_codecs of a request counts with a list alone; else the trunk's two hold.

    (S-API-18)
    """
    line = await sandbox.phone.line()
    await line.rejects(486)
    trunk = await sandbox.outbound_trunk(line.address)
    media = sip.SIPMediaConfig(only_listed_codecs=True)
    await sandbox.call_out(trunk, line.number, media=media)
    call = await line.incoming(within=3)
    assert offered(call.invite.body) == "m=audio RTP/AVP 9 0 8 101"


@pytest.mark.parametrize("field", ["media", "media_encryption"])
@pytest.mark.parametrize(
    ("encryption", "profile"),
    [("DISABLE", "RTP/AVP"), ("ALLOW", "RTP/SAVP"), ("REQUIRE", "RTP/SAVP")],
)
@pytest.mark.parametrize("where", ["request", "trunk"])
async def test_encryption_decides_the_profile_of_the_offer(
    sandbox: Sandbox, field: str, encryption: str, profile: str, where: str
) -> None:
    """media.encryption, and the old media_encryption: both ALLOW and REQUIRE offer RTP/SAVP.

    So a callee without SRTP must refuse a call that merely allows it. (S-SRTP-04, S-SRTP-06)
    """
    value: Any = f"SIP_MEDIA_ENCRYPT_{encryption}"
    config: dict[str, Any] = {
        field: sip.SIPMediaConfig(encryption=value) if field == "media" else value
    }
    line = await sandbox.phone.line(srtp="optional")
    await line.rejects(486)
    trunk = await sandbox.outbound_trunk(line.address, **(config if where == "trunk" else {}))
    await sandbox.call_out(trunk, line.number, **(config if where == "request" else {}))
    call = await line.incoming(within=3)
    assert f" {profile} " in offered(call.invite.body)
    assert ("a=crypto:" in call.invite.body) == (profile == "RTP/SAVP")


async def test_an_encryption_that_is_none_fails_the_call(sandbox: Sandbox) -> None:
    """An unknown value of media_encryption is refused by livekit-sip: 500 "unknown". (S-API-18)"""
    trunk = await sandbox.outbound_trunk("127.0.0.1:5060")
    await refused(
        sandbox.call_out(trunk, "+1555", media_encryption=7),
        500,
        "unknown",
        "twirp error unknown: invalid SIP media encryption type",
    )


# --- answers ----------------------------------------------------------------------------------


async def test_an_answer_without_ringing(sandbox: Sandbox) -> None:
    """A 200 without any 1xx of its own answers the call. (S-OUT-05)"""
    line = await answering(sandbox, ring=False, tone=440)
    room = sandbox.room()
    peer = await room.join()
    trunk = await sandbox.outbound_trunk(line.address)
    out = await sandbox.call_out(trunk, line.number, room=room, wait=True)
    await peer.hears_tone(440, of=out.identity, within=4)
    assert "ringing" not in peer.values(out.identity, "sip.callStatus")


async def test_a_late_answer_is_waited_for(sandbox: Sandbox) -> None:
    """wait_until_answered waits as long as it rings, in one INVITE. (S-OUT-03, S-VER-01)

    livekit-server before v1.9.12 gave up after 2.75 s and dialled again (livekit/livekit#4269).
    """
    line = await answering(sandbox, after=3.2)
    trunk = await sandbox.outbound_trunk(line.address)
    await sandbox.call_out(trunk, line.number, wait=True)
    call = await line.incoming(within=1)
    await call.answered(within=1)
    assert len(line.calls) == 1


async def test_a_callee_that_hangs_up_leaves_the_room(sandbox: Sandbox) -> None:
    """The callee's BYE: 200, the participant leaves with hangup, CLIENT_INITIATED. (S-OUT-18)"""
    line = await answering(sandbox)
    room = sandbox.room()
    peer = await room.join()
    trunk = await sandbox.outbound_trunk(line.address)
    out = await sandbox.call_out(trunk, line.number, room=room, wait=True)
    await peer.attribute(out.identity, "sip.callStatus", "active")
    call = await line.incoming(within=1)
    await call.hang_up(reason="Q.850;cause=16")
    await call.response(200, method="BYE", within=2)
    gone = await room.left(out.identity, within=3)
    assert gone.disconnect_reason == api.DisconnectReason.CLIENT_INITIATED
    assert gone.attributes["sip.callStatus"] == "hangup"


async def test_a_call_to_our_own_number_is_two_calls(sandbox: Sandbox) -> None:
    """A call into an own inbound number: two SIP legs in two rooms, audio both ways. (S-OUT-23)"""
    number = await sandbox.inbound()
    assert number.room is not None
    there = await number.room.join(tone=PEER_TONE)
    trunk = await sandbox.outbound_trunk(sandbox.endpoints.sip_address)
    out = await sandbox.call_out(trunk, number.number, wait=True)
    here = await out.room.join(tone=440)
    caller = await number.room.sip_participant()
    assert caller.identity == f"sip_{trunk.numbers[0]}"
    await asyncio.gather(
        here.hears_tone(PEER_TONE, of=out.identity, within=5),
        there.hears_tone(440, of=caller.identity, within=5),
    )


# --- no way there -----------------------------------------------------------------------------


async def test_a_name_that_does_not_resolve_is_the_requests_fault(sandbox: Sandbox) -> None:
    """A trunk address that DNS does not know: 400 invalid_argument. (S-OUT-12)"""
    trunk = await sandbox.outbound_trunk("does-not-exist.invalid")
    with pytest.raises(api.ServerError) as caught:
        await sandbox.call_out(trunk, "+1555", wait=True)
    assert (caught.value.status, caught.value.code) == (400, "invalid_argument")


async def test_a_refused_connection_is_a_failed_precondition(sandbox: Sandbox) -> None:
    """A trunk address where nobody listens on TCP: 412. (S-OUT-12)"""
    line = await sandbox.phone.line()
    address = line.address
    await line.close()
    trunk = await sandbox.outbound_trunk(address, transport=api.SIPTransport.SIP_TRANSPORT_TCP)
    with pytest.raises(api.ServerError) as caught:
        await sandbox.call_out(trunk, "+1555", wait=True)
    assert (caught.value.status, caught.value.code) == (412, "failed_precondition")


async def test_a_callee_that_never_reacts(sandbox: Sandbox) -> None:
    """Without any response the INVITE is repeated; ringing_timeout ends it with 408. (S-OUT-12)"""
    line = await sandbox.phone.line()
    await line.silent()
    trunk = await sandbox.outbound_trunk(line.address)
    room = sandbox.room()
    with pytest.raises(api.ServerError) as caught:
        await sandbox.call_out(trunk, line.number, room=room, wait=True, ringing_timeout=1)
    assert (caught.value.status, caught.value.code) == (408, "canceled")
    gone = await room.left(f"sip_{line.number}", within=2)
    assert gone.disconnect_reason == api.DisconnectReason.USER_UNAVAILABLE


async def test_a_negative_ringing_timeout_is_none(sandbox: Sandbox) -> None:
    """ringing_timeout -1 s is accepted, and means the default of three minutes. (S-OUT-08)"""
    line = await sandbox.phone.line()
    await line.rings()
    trunk = await sandbox.outbound_trunk(line.address)
    await sandbox.call_out(trunk, line.number, ringing_timeout=-1)
    call = await line.incoming(within=3)
    with pytest.raises(DeadlineMissed):
        await call.request("CANCEL", within=0.4)
