"""The SIP service's Prometheus metrics: what each outcome of a call counts."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Mapping

import aiohttp
import pytest
from livekit import api

from sandbox import Sandbox
from sandbox.stack.readiness import until
from sandbox.telephony.inbound import duration
from tests.e2e.conftest import PEER_TONE
from tests.e2e.wire import OFFER, Wire

Metrics = Mapping[str, float]


async def scrape(sandbox: Sandbox, *labels: str) -> Counter[str]:
    """The counters of livekit_sip_, by name and the named labels, summed over the others."""
    url = sandbox.endpoints.sip_metrics_url
    if not url:
        pytest.skip("the metrics of this deployment are not known")
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        text = await answer.text()
    counts: Counter[str] = Counter()
    for name, inside, value in re.findall(r"(?m)^livekit_sip_(\w+)(?:\{(.*)\})? (\S+)$", text):
        found = dict(re.findall(r'(\w+)="([^"]*)"', inside))
        key = ",".join([name, *(f"{k}={found[k]}" for k in labels if k in found)])
        counts[key] += float(value)  # type: ignore[assignment]
    return counts


async def counts(sandbox: Sandbox, before: Metrics, wanted: Mapping[str, int]) -> None:
    """Wait until the counters of `wanted` have risen by just so much, told by dir and reason."""
    seen: dict[str, float] = {}

    async def risen() -> bool:
        now = await scrape(sandbox, "dir", "reason")
        seen.update({key: now[key] - before.get(key, 0) for key in wanted})
        return seen == wanted

    assert await until(risen, within=4), f"wanted {dict(wanted)}, seen {seen}"


async def test_a_call_that_is_hung_up_counts_as_such(sandbox: Sandbox, wire: Wire) -> None:
    """A call that was answered and hung up: one request, accepted, terminated with hangup, and
    none active any more.

    (S-OPS-01, S-BYE-01)
    """
    before = await scrape(sandbox, "dir", "reason")
    number = await sandbox.inbound()
    assert number.room is not None
    await number.room.join(tone=PEER_TONE)
    call = await (await wire.invite(number)).answered()
    await counts(sandbox, before, {"calls_active,dir=inbound": 1})
    await call.bye()
    await counts(
        sandbox,
        before,
        {
            "invite_requests_raw": 1,
            "invite_requests,dir=inbound": 1,
            "invite_accepted,dir=inbound": 1,
            "calls_terminated,dir=inbound,reason=hangup": 1,
            "calls_active,dir=inbound": 0,
        },
    )


async def test_a_cancelled_call_counts_as_cancelled(sandbox: Sandbox, wire: Wire) -> None:
    """CANCEL is the reason cancelled, and nothing was accepted. (S-OPS-01)"""
    before = await scrape(sandbox, "dir", "reason")
    number = await sandbox.inbound()
    call = await wire.invite(number)
    await call.joined()
    await call.cancel()
    wanted = {"calls_terminated,dir=inbound,reason=cancelled": 1, "invite_accepted,dir=inbound": 0}
    await counts(sandbox, before, wanted)


async def test_a_call_that_no_rule_takes_counts_as_flood(sandbox: Sandbox, wire: Wire) -> None:
    """The silence that a call without a rule gets is the reason flood. (S-OPS-01, S-DSP-11)"""
    before = await scrape(sandbox, "dir", "reason")
    call = await wire.invite(sandbox.number())
    call.over = True
    await call.provisional(180)
    await counts(sandbox, before, {"calls_terminated,dir=inbound,reason=flood": 1})


async def test_an_offer_without_a_common_codec_counts_as_such(sandbox: Sandbox, wire: Wire) -> None:
    """G729 alone is the reason no-common-codec. (S-OPS-01, S-MED-05)"""
    before = await scrape(sandbox, "dir", "reason")
    call = await wire.invite(await sandbox.inbound(), lines=("18", "a=rtpmap:18 G729/8000"))
    await call.final()
    await counts(sandbox, before, {"calls_terminated,dir=inbound,reason=no-common-codec": 1})


async def test_a_plain_offer_where_encryption_is_required_counts_as_such(
    sandbox: Sandbox, wire: Wire
) -> None:
    """RTP/AVP where SRTP is required is the reason no-common-crypto. (S-OPS-01, S-SRTP-03)"""
    before = await scrape(sandbox, "dir", "reason")
    media = api.SIPMediaConfig(encryption=api.SIPMediaEncryption.SIP_MEDIA_ENCRYPT_REQUIRE)
    call = await wire.invite(await sandbox.inbound(media=media), lines=OFFER)
    await call.final()
    await counts(sandbox, before, {"calls_terminated,dir=inbound,reason=no-common-crypto": 1})


async def test_a_phone_that_went_silent_counts_as_media_timeout(
    sandbox: Sandbox, wire: Wire
) -> None:
    """The media timeout is the reason media-timeout. (S-OPS-01, S-MED-16)"""
    before = await scrape(sandbox, "dir", "reason")
    number = await sandbox.inbound(media=api.SIPMediaConfig(media_timeout=duration(1)))
    assert number.room is not None
    peer = await number.room.join(tone=PEER_TONE)
    call = await (await wire.invite(number)).answered()
    await peer.hears_tone(440, of=call.identity)
    call.media.stop()
    await call.received("BYE")
    await counts(sandbox, before, {"calls_terminated,dir=inbound,reason=media-timeout": 1})


async def test_the_ringing_timeout_counts_as_cannot_subscribe(sandbox: Sandbox, wire: Wire) -> None:
    """A call that nobody answers in time is the reason cannot-subscribe. (S-OPS-01, S-ANS-01)"""
    before = await scrape(sandbox, "dir", "reason")
    call = await wire.invite(await sandbox.inbound(ringing_timeout=1))
    await call.final(within=4)
    await counts(sandbox, before, {"calls_terminated,dir=inbound,reason=cannot-subscribe": 1})


async def test_a_call_out_that_is_hung_up_counts_as_such(sandbox: Sandbox, wire: Wire) -> None:
    """A callee who hangs up: one outbound request, accepted, terminated with hangup. (S-OPS-01)"""
    before = await scrape(sandbox, "dir", "reason")
    room = sandbox.room()
    await sandbox.call_out(await sandbox.outbound_trunk(wire.address), "callee", room=room)
    call = await wire.incoming()
    await call.answer_with()
    await call.bye()
    await counts(
        sandbox,
        before,
        {
            "invite_requests,dir=outbound": 1,
            "invite_accepted,dir=outbound": 1,
            "calls_terminated,dir=outbound,reason=hangup": 1,
            "calls_active,dir=outbound": 0,
        },
    )


async def test_a_transfer_counts(sandbox: Sandbox, wire: Wire) -> None:
    """A transfer that succeeds: one in total, one succeeded, none active any more. (S-OPS-01)"""
    before = await scrape(sandbox, "dir", "reason")
    number = await sandbox.inbound()
    assert number.room is not None
    await number.room.join(tone=PEER_TONE)
    call = await (await wire.invite(number)).answered()
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
            "transfers_total,dir=inbound": 1,
            "transfers_succeeded_total,dir=inbound": 1,
            "transfers_active,dir=inbound": 0,
        },
    )


async def test_the_service_says_that_it_is_available(sandbox: Sandbox) -> None:
    """livekit_sip_available is 1. (S-OPS-01)"""
    assert (await scrape(sandbox))["available"] == 1
