"""The SIP service's Prometheus metrics: what each outcome of a call counts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
import pytest
from livekit import api

from sandbox import Sandbox
from sandbox.stack.readiness import until
from sandbox.telephony.inbound import duration
from tests.e2e.conftest import PEER_TONE, Connect
from tests.e2e.wire import OFFER, Wire


@dataclass(frozen=True)
class Sample:
    """One line of the metrics, without the prefix of its name."""

    name: str
    labels: Mapping[str, str]
    value: float


async def scrape(sandbox: Sandbox) -> list[Sample]:
    """What the metrics of livekit_sip_ are now."""
    url = sandbox.endpoints.sip_metrics_url
    if not url:
        pytest.skip("the metrics of this deployment are not known")
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        text = await answer.text()
    return [
        Sample(name, dict(re.findall(r'(\w+)="([^"]*)"', inside)), float(value))
        for name, inside, value in re.findall(r"(?m)^livekit_sip_(\w+)(?:\{(.*)\})? (\S+)$", text)
    ]


def total(samples: list[Sample], key: str) -> float:
    """The sum of what `key` names: a metric and the labels that count, `name,dir=in,reason=bye`."""
    name, *labels = key.split(",")
    wanted = dict(label.split("=", 1) for label in labels)
    return sum(
        sample.value
        for sample in samples
        if sample.name == name and wanted.items() <= sample.labels.items()
    )


async def counts(sandbox: Sandbox, before: list[Sample], wanted: Mapping[str, int]) -> None:
    """Wait until what `wanted` names has risen by just so much; its keys are those of `total`."""
    seen: dict[str, float] = {}

    async def risen() -> bool:
        now = await scrape(sandbox)
        seen.update({key: total(now, key) - total(before, key) for key in wanted})
        return seen == wanted

    assert await until(risen, within=4), f"wanted {dict(wanted)}, seen {seen}"


async def test_a_call_that_is_hung_up_counts_as_such(sandbox: Sandbox, wire: Wire) -> None:
    """A call that was answered and hung up: one request, accepted, terminated with hangup, and
    none active any more.

    (S-OPS-01, S-BYE-01)
    """
    before = await scrape(sandbox)
    number = await sandbox.inbound()
    assert number.room is not None
    await number.room.join(tone=PEER_TONE)
    call = await (await wire.invite(number)).answered()
    await counts(sandbox, before, {"calls_active,dir=in": 1})
    await call.bye()
    await counts(
        sandbox,
        before,
        {
            "invite_requests_raw": 1,
            "invite_requests,dir=in": 1,
            "invite_accepted,dir=in": 1,
            "calls_terminated,dir=in,reason=hangup": 1,
            "calls_active,dir=in": 0,
        },
    )


async def test_a_cancelled_call_counts_as_cancelled(sandbox: Sandbox, wire: Wire) -> None:
    """CANCEL is the reason cancelled; accepted counts what a trunk let in, answered or not.

    (S-OPS-01)
    """
    before = await scrape(sandbox)
    number = await sandbox.inbound()
    call = await wire.invite(number)
    await call.joined()
    await call.cancel()
    wanted = {"calls_terminated,dir=in,reason=cancelled": 1, "invite_accepted,dir=in": 1}
    await counts(sandbox, before, wanted)


async def test_a_call_that_no_rule_takes_counts_as_flood(sandbox: Sandbox, wire: Wire) -> None:
    """The silence that a call without a rule gets is the reason flood. (S-OPS-01, S-DSP-11)"""
    before = await scrape(sandbox)
    call = await wire.invite(sandbox.number())
    call.over = True
    await call.provisional(180)
    await counts(sandbox, before, {"calls_terminated,dir=in,reason=flood": 1})


async def test_an_offer_without_a_common_codec_counts_as_such(sandbox: Sandbox, wire: Wire) -> None:
    """G729 alone is the reason no-common-codec. (S-OPS-01, S-MED-05)"""
    before = await scrape(sandbox)
    call = await wire.invite(await sandbox.inbound(), lines=("18", "a=rtpmap:18 G729/8000"))
    await call.final()
    await counts(sandbox, before, {"calls_terminated,dir=in,reason=no-common-codec": 1})


async def test_a_plain_offer_where_encryption_is_required_counts_as_such(
    sandbox: Sandbox, wire: Wire
) -> None:
    """RTP/AVP where SRTP is required is the reason no-common-crypto. (S-OPS-01, S-SRTP-03)"""
    before = await scrape(sandbox)
    media = api.SIPMediaConfig(encryption=api.SIPMediaEncryption.SIP_MEDIA_ENCRYPT_REQUIRE)
    call = await wire.invite(await sandbox.inbound(media=media), lines=OFFER)
    await call.final()
    await counts(sandbox, before, {"calls_terminated,dir=in,reason=no-common-crypto": 1})


@pytest.mark.sandbox_allow(
    "log-line", reason="the phone falls silent: livekit-sip warns of it", match="media-timeout"
)
async def test_a_phone_that_went_silent_counts_as_media_timeout(
    sandbox: Sandbox, wire: Wire
) -> None:
    """The media timeout is the reason media-timeout. (S-OPS-01, S-MED-16)"""
    before = await scrape(sandbox)
    number = await sandbox.inbound(media=api.SIPMediaConfig(media_timeout=duration(1)))
    assert number.room is not None
    peer = await number.room.join(tone=PEER_TONE)
    call = await (await wire.invite(number)).answered()
    await peer.hears_tone(440, of=call.identity)
    call.media.stop()
    await call.received("BYE")
    await counts(sandbox, before, {"calls_terminated,dir=in,reason=media-timeout": 1})


async def test_the_ringing_timeout_counts_as_cannot_subscribe(sandbox: Sandbox, wire: Wire) -> None:
    """A call that nobody answers in time is the reason cannot-subscribe. (S-OPS-01, S-ANS-01)"""
    before = await scrape(sandbox)
    call = await wire.invite(await sandbox.inbound(ringing_timeout=1))
    await call.final(within=4)
    await counts(sandbox, before, {"calls_terminated,dir=in,reason=cannot-subscribe": 1})


async def test_a_call_out_that_is_hung_up_counts_as_such(sandbox: Sandbox, wire: Wire) -> None:
    """A callee who hangs up: one outbound request, accepted, terminated with bye. (S-OPS-01)"""
    before = await scrape(sandbox)
    room = sandbox.room()
    await sandbox.call_out(await sandbox.outbound_trunk(wire.address), "callee", room=room)
    call = await wire.incoming()
    await call.answer_with()
    await call.bye()
    await counts(
        sandbox,
        before,
        {
            "invite_requests,dir=out": 1,
            "invite_accepted,dir=out": 1,
            "calls_terminated,dir=out,reason=bye": 1,
            "calls_active,dir=out": 0,
        },
    )


async def test_a_transfer_counts(sandbox: Sandbox, wire: Wire) -> None:
    """A transfer that succeeds: one in total, one succeeded, none active any more. (S-OPS-01)"""
    before = await scrape(sandbox)
    number = await sandbox.inbound()
    assert number.room is not None
    peer = await number.room.join(tone=PEER_TONE)
    call = await (await wire.invite(number)).answered()
    await peer.attribute(call.identity, "sip.callStatus", "active")
    request = api.TransferSIPParticipantRequest(
        room_name=number.room.name, participant_identity=call.identity, transfer_to="tel:+1"
    )

    async def accept() -> None:
        await wire.respond(await call.received("REFER"), 202, "Accepted")
        await call.notify("SIP/2.0 200 OK")

    await asyncio.gather(sandbox.api.sip.transfer_sip_participant(request), accept())
    await counts(
        sandbox,
        before,
        {
            "transfers_total,dir=in": 1,
            "transfers_succeeded_total,dir=in": 1,
            "transfers_active,dir=in": 0,
        },
    )


async def test_the_service_says_that_it_is_available(sandbox: Sandbox) -> None:
    """livekit_sip_available is 1, and names the node as every metric does. (S-OPS-01)"""
    samples = await scrape(sandbox)
    assert total(samples, "available") == 1
    assert len({sample.labels["node_id"] for sample in samples}) == 1


async def test_a_metric_has_the_host_of_the_to_header(sandbox: Sandbox, wire: Wire) -> None:
    """The label `to` is the host of the caller's To header, without its port. (S-OPS-01)"""
    before = await scrape(sandbox)
    number = await sandbox.inbound()
    call = await wire.invite(f"sip:{number.number}@pbx.example:5070")
    await call.joined()
    await counts(sandbox, before, {"calls_active,to=pbx.example": 1})
    await call.cancel()
    wanted = {"calls_active,to=pbx.example": 0, "calls_terminated,to=pbx.example": 1}
    await counts(sandbox, before, wanted)


async def test_a_challenge_counts_as_an_unauthorized_call(sandbox: Sandbox, wire: Wire) -> None:
    """A 407 is a call that ended unauthorized, of a peer unknown: two calls for one. (S-OPS-01)"""
    before = await scrape(sandbox)
    number = await sandbox.inbound(auth_username="user", auth_password="secret")
    call = await wire.invite(number)
    assert (await call.final()).status == 407
    await counts(
        sandbox,
        before,
        {
            "invite_requests,dir=in": 1,
            "invite_accepted,dir=in": 0,
            "invite_error,dir=in,reason=unauthorized,to=unknown": 1,
            "calls_terminated,dir=in,reason=unauthorized,result=client_error,to=unknown": 1,
        },
    )


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("Q.850;cause=16", "hangup"),
        ("Q.850;cause=31;text=whatever", "bye-q.850-31"),
        ("SIP;cause=200", "hangup"),
        ("SIP;cause=603", "bye-sip-603"),
        ("X.1;foo=1", "bye-x.1-0"),
    ],
)
async def test_the_cause_of_a_bye_is_in_the_metrics(
    sandbox: Sandbox, wire: Wire, header: str, reason: str
) -> None:
    """A caller's BYE with a Reason header (RFC 3326) that is not all well counts under its cause.

    The room sees nothing of it. (S-OPS-01, S-BYE-02)
    """
    number = await sandbox.inbound()
    assert number.room is not None
    await number.room.join(tone=PEER_TONE)
    call = await (await wire.invite(number)).answered()
    before = await scrape(sandbox)
    await call.bye(headers={"Reason": header})
    wanted = {f"calls_terminated,dir=in,reason={reason},result=success": 1}
    await counts(sandbox, before, wanted)


async def test_a_removed_participant_counts_as_such(sandbox: Sandbox, wire: Wire) -> None:
    """RemoveParticipant and DeleteRoom are the reason removed. (S-OPS-01, S-BYE-03, S-BYE-04)"""
    number = await sandbox.inbound()
    assert number.room is not None
    await number.room.join(tone=PEER_TONE)
    call = await (await wire.invite(number)).answered()
    before = await scrape(sandbox)
    await sandbox.api.room.delete_room(api.DeleteRoomRequest(room=number.room.name))
    await call.received("BYE")
    await counts(sandbox, before, {"calls_terminated,dir=in,reason=removed,result=success": 1})


@pytest.mark.parametrize(
    ("status", "reason", "result", "error"),
    [
        (302, "invite-failed", "server_error", "302-MovedTemporarily"),
        (403, "forbidden", "client_error", "403-Forbidden"),
        (404, "not-found", "client_error", "404-NotFound"),
        (408, "request-timeout", "client_error", "408-RequestTimeout"),
        (410, "client-error-410", "client_error", "410-Gone"),
        (429, "client-error-429", "client_error", "status-429"),
        (480, "unavailable", "client_error", "480-TemporarilyUnavailable"),
        (486, "busy", "client_error", "486-BusyHere"),
        (488, "not-acceptable", "client_error", "488-NotAcceptableHere"),
        (503, "upstream-server-error-503", "upstream_error", "503-ServiceUnavailable"),
        (603, "global-decline-603", "client_error", "603-GlobalDecline"),
        (607, "global-decline-607", "client_error", "status-607"),
    ],
)
async def test_a_refused_call_out_counts_under_its_status(
    sandbox: Sandbox, wire: Wire, status: int, reason: str, result: str, error: str
) -> None:
    """The status of a refusal has a name in calls_terminated and another in invite_error.

    (S-OPS-01, S-OUT-26)
    """
    trunk = await sandbox.outbound_trunk(wire.address)
    before = await scrape(sandbox)
    await sandbox.call_out(trunk, "callee", room=sandbox.room())
    call = await wire.incoming()
    assert call.offer is not None
    await wire.respond(call.offer, status, "Whatever", tag=call.tag)
    await call.received("ACK")
    call.over = True
    await counts(
        sandbox,
        before,
        {
            f"calls_terminated,dir=out,reason={reason},result={result},to={wire.host}": 1,
            f"invite_error,dir=out,reason={error},to={wire.host}": 1,
            "invite_accepted,dir=out": 0,
        },
    )


async def test_a_call_out_that_nobody_answers_counts_as_no_answer(
    sandbox: Sandbox, wire: Wire
) -> None:
    """ringing_timeout is the reason no-answer, and the INVITE's error is other. (S-OPS-01)"""
    trunk = await sandbox.outbound_trunk(wire.address)
    before = await scrape(sandbox)
    await sandbox.call_out(trunk, "callee", room=sandbox.room(), ringing_timeout=duration(1))
    call = await wire.incoming()
    await call.received("CANCEL")
    await counts(
        sandbox,
        before,
        {
            "calls_terminated,dir=out,reason=no-answer,result=client_error": 1,
            "invite_error,dir=out,reason=other": 1,
        },
    )


async def test_a_failed_transfer_counts_under_its_status(sandbox: Sandbox, wire: Wire) -> None:
    """NOTIFY 603 is a failed transfer with the reason global_decline. (S-OPS-01, S-XFR-06)"""
    number = await sandbox.inbound()
    assert number.room is not None
    peer = await number.room.join(tone=PEER_TONE)
    call = await (await wire.invite(number)).answered()
    await peer.attribute(call.identity, "sip.callStatus", "active")
    before = await scrape(sandbox)
    request = api.TransferSIPParticipantRequest(
        room_name=number.room.name, participant_identity=call.identity, transfer_to="tel:+1"
    )

    async def refuse() -> None:
        await wire.respond(await call.received("REFER"), 202, "Accepted")
        await call.notify("SIP/2.0 603 Decline")

    with pytest.raises(api.SipCallError):
        await asyncio.gather(sandbox.api.sip.transfer_sip_participant(request), refuse())
    await counts(
        sandbox,
        before,
        {
            "transfers_total,dir=in": 1,
            "transfers_failed_total,dir=in,reason=global_decline": 1,
            "transfers_succeeded_total,dir=in": 0,
            "transfers_active,dir=in": 0,
        },
    )


async def test_each_codec_of_an_offer_counts_once(sandbox: Sandbox, wire: Wire) -> None:
    """codec_offered counts the codecs of a caller's offer that may be spoken, and the keys, with
    their clock; all others, those that the rule does not list too, are one `other`.

    (S-OPS-01)
    """
    before = await scrape(sandbox)
    lines = (
        "0 8 18 111 101",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:18 G729/8000",
        "a=rtpmap:111 opus/48000/2",
        *OFFER[2:],
    )
    media = api.SIPMediaConfig(
        only_listed_codecs=True, codecs=[api.SIPCodec(name="PCMU", rate=8000)]
    )
    call = await wire.invite(await sandbox.inbound(media=media), lines=lines)
    await call.joined()
    offered = "codec_offered_total,dir=in,provider=external"
    await counts(
        sandbox,
        before,
        {
            "sdp_parsed_total,dir=in,provider=external": 1,
            f"{offered},codec=PCMU/8000": 1,
            f"{offered},codec=telephone-event/8000": 1,
            f"{offered},codec=other": 1,
            offered: 3,
        },
    )


#: The stages that every call in has that is taken to a room.
ROOM_STAGES = ("join-room", "lk-connect", "lk-reg-transfer", "track-publish", "track-subscribe")


async def test_every_stage_of_a_call_is_timed_once(sandbox: Sandbox, wire: Wire) -> None:
    """stage_dur_sec of a call that is answered: each stage once. `close` is there, and never
    counts.

    (S-OPS-01)
    """
    before = await scrape(sandbox)
    number = await sandbox.inbound()
    assert number.room is not None
    peer = await number.room.join(tone=PEER_TONE)
    call = await (await wire.invite(number)).answered()
    # The track is published beside the answer: a call that ends before has no such stage.
    await peer.hears_tone(440, of=call.identity)
    await call.bye()
    stages = (
        *("get-auth", "eval-dispatch", "auth-check", "start-media", "invite-to-dispatch"),
        *(*ROOM_STAGES, "wait-subscribe", "sip-accept", "call-accept", "wait-media"),
        *("call", "session"),
    )
    count = "stage_dur_sec_count,dir=in"
    await counts(
        sandbox,
        before,
        {
            **{f"{count},stage={stage}": 1 for stage in stages},
            f"{count},stage=close": 0,
            count: len(stages),
            "dur_check_sec_count,dir=in": 1,
            "dur_join_sec_count,dir=in": 1,
            "dur_call_sec_count,dir=in": 1,
            "dur_session_sec_count,dir=in": 1,
        },
    )


async def test_a_call_that_got_no_room_has_no_duration_of_a_call(sandbox: Sandbox) -> None:
    """Hung up at the PIN prompt: answered, so it has its stages, but none of the room's, and only
    the session lasted.

    (S-OPS-01, S-PIN-07)
    """
    before = await scrape(sandbox)
    call = await sandbox.phone.dial(await sandbox.inbound(pin="12"))
    await call.answered(within=2)
    await call.hang_up()
    count = "stage_dur_sec_count,dir=in"
    await counts(
        sandbox,
        before,
        {
            "dur_session_sec_count,dir=in": 1,
            "dur_join_sec_count,dir=in": 0,
            "dur_call_sec_count,dir=in": 0,
            f"{count},stage=eval-dispatch": 1,
            f"{count},stage=sip-accept": 1,
            f"{count},stage=call-accept": 1,
            **{f"{count},stage={stage}": 0 for stage in (*ROOM_STAGES, "call", "wait-subscribe")},
        },
    )


async def test_keys_count_apart_from_the_audio(sandbox: Sandbox, connect: Connect) -> None:
    """packets_rtp: one key each way is 7 packets or more of telephone-event, beside the audio.

    (S-OPS-01, S-DTM-01, S-DTM-06)
    """
    before = await scrape(sandbox)
    talk = await connect(await sandbox.inbound())
    await talk.peer.sees(talk.identity)
    await asyncio.gather(talk.call.send_dtmf("1"), talk.peer.publish_dtmf("2"))
    await asyncio.gather(talk.peer.dtmf("1", of=talk.identity), talk.call.dtmf("2"))
    await talk.call.hang_up()

    async def counted() -> bool:
        now = await scrape(sandbox)

        def risen(op: str, payload: str) -> float:
            key = f"packets_rtp,dir=in,op={op},payload={payload}"
            return total(now, key) - total(before, key)

        return all(
            risen(op, "telephone-event/8000") >= 7 and risen(op, "G722/8000") > 0
            for op in ("recv", "send")
        )

    assert await until(counted, within=4)
