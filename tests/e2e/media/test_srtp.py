"""Encrypted media: SRTP with keys in the SDP (RFC 4568), by the trunk's setting."""

from __future__ import annotations

import asyncio
import base64
import secrets
from typing import Any

import pytest
from livekit import api

from sandbox import Sandbox
from tests.e2e.conftest import CALLER_TONE, PEER_TONE, Connect
from tests.e2e.wire import OFFER, Wire, media_line

DISABLE = api.SIPMediaEncryption.SIP_MEDIA_ENCRYPT_DISABLE
ALLOW = api.SIPMediaEncryption.SIP_MEDIA_ENCRYPT_ALLOW
REQUIRE = api.SIPMediaEncryption.SIP_MEDIA_ENCRYPT_REQUIRE

SUITES = {
    "AES_CM_128_HMAC_SHA1_80": 30,
    "AES_CM_128_HMAC_SHA1_32": 30,
    "AES_256_CM_HMAC_SHA1_80": 46,
    "AES_256_CM_HMAC_SHA1_32": 46,
}


def crypto(suite: str, tag: int = 1) -> str:
    """A crypto attribute with a key of our own."""
    key = base64.b64encode(secrets.token_bytes(SUITES[suite])).decode()
    return f"a=crypto:{tag} {suite} inline:{key}"


def answered_crypto(body: str) -> list[str]:
    """The tag and suite of the answer's crypto lines."""
    return [" ".join(x.split()[:2]) for x in body.splitlines() if x.startswith("a=crypto")]


@pytest.mark.parametrize(("setting", "phone"), [(ALLOW, "mandatory"), (REQUIRE, "mandatory")])
async def test_an_encrypted_call_is_heard_both_ways(
    sandbox: Sandbox, connect: Connect, setting: Any, phone: str
) -> None:
    """Allowed or required, an RTP/SAVP offer gets SRTP, and both sides hear each other.

    (S-SRTP-02, S-SRTP-03)
    """
    number = await sandbox.inbound(media_encryption=setting)
    talk = await connect(number, srtp=phone, tone=CALLER_TONE)
    answer = await talk.call.response(200)
    assert " RTP/SAVP " in answer.body
    await asyncio.gather(
        talk.call.hears_tone(PEER_TONE, within=4),
        talk.peer.hears_tone(CALLER_TONE, of=talk.identity, within=4),
    )


async def test_a_plain_offer_is_plain_where_encryption_is_allowed(
    sandbox: Sandbox, connect: Connect
) -> None:
    """ALLOW answers RTP/AVP to RTP/AVP, without a key. (S-SRTP-02)"""
    talk = await connect(await sandbox.inbound(media_encryption=ALLOW))
    answer = await talk.call.response(200)
    assert " RTP/AVP " in answer.body
    assert answered_crypto(answer.body) == []
    await talk.call.hears_tone(PEER_TONE, within=4)


async def test_a_plain_offer_is_400_where_encryption_is_required(
    sandbox: Sandbox, wire: Wire
) -> None:
    """REQUIRE refuses RTP/AVP with 400 and no reason phrase. (S-SRTP-03)"""
    call = await wire.invite(await sandbox.inbound(media_encryption=REQUIRE))
    assert (await call.final()).start == "SIP/2.0 400 "


async def test_disabled_encryption_answers_plain_to_an_encrypted_offer(
    sandbox: Sandbox, wire: Wire
) -> None:
    """DISABLE does not refuse RTP/SAVP: it answers RTP/AVP, which a strict phone cannot take.

    The catalogue expects 400 here; livekit-sip was recorded to answer. (S-SRTP-01)
    """
    number = await sandbox.inbound(media_encryption=DISABLE)
    assert number.room is not None
    await number.room.join(tone=PEER_TONE)
    lines = (*OFFER, crypto("AES_CM_128_HMAC_SHA1_80"))
    call = await (await wire.invite(number, lines=lines, profile="RTP/SAVP")).answered(tone=False)
    assert call.answer is not None
    assert media_line(call.answer) == "m=audio * RTP/AVP 0 101"
    assert answered_crypto(call.answer.body) == []


@pytest.mark.parametrize("suite", ["AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"])
async def test_each_suite_is_answered_with_itself(sandbox: Sandbox, wire: Wire, suite: str) -> None:
    """An offer of one suite of AES-CM-128 is answered with that suite, and a key of livekit's.

    (S-SRTP-05)
    """
    number = await sandbox.inbound(media_encryption=ALLOW)
    assert number.room is not None
    await number.room.join(tone=PEER_TONE)
    ours = crypto(suite)
    call = await wire.invite(number, lines=(*OFFER, ours), profile="RTP/SAVP")
    await call.answered(tone=False)
    assert call.answer is not None
    assert media_line(call.answer) == "m=audio * RTP/SAVP 0 101"
    assert answered_crypto(call.answer.body) == [f"a=crypto:1 {suite}"]
    assert ours not in call.answer.body


async def test_media_encryption_and_the_media_config_mean_the_same(
    sandbox: Sandbox, wire: Wire
) -> None:
    """media.encryption REQUIRE refuses a plain offer as media_encryption does. (S-SRTP-06)"""
    number = await sandbox.inbound(media=api.SIPMediaConfig(encryption=REQUIRE))
    call = await wire.invite(number)
    assert (await call.final()).start == "SIP/2.0 400 "


async def test_a_call_out_is_offered_encrypted(sandbox: Sandbox) -> None:
    """ALLOW and REQUIRE offer RTP/SAVP; a phone that can is talked to encrypted. (S-SRTP-04)"""
    line = await sandbox.phone.line(srtp="mandatory")
    await line.answers(tone=CALLER_TONE)
    room = sandbox.room()
    peer = await room.join(tone=PEER_TONE)
    trunk = await sandbox.outbound_trunk(line.address, media_encryption=REQUIRE)
    out = await sandbox.call_out(trunk, line.number, room=room, wait=True)
    call = await line.incoming()
    assert " RTP/SAVP " in call.invite.body
    await asyncio.gather(
        call.hears_tone(PEER_TONE, within=4),
        peer.hears_tone(CALLER_TONE, of=out.identity, within=4),
    )
