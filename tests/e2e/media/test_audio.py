"""Audio between the phone and the room, checked by tones."""

from __future__ import annotations

import asyncio

import pytest

from sandbox import Call, Sandbox
from sandbox.stack.readiness import until
from tests.e2e.conftest import CALLER_TONE, PEER_TONE, Connect, tones_heard

pytestmark = pytest.mark.core


@pytest.mark.parametrize("codec", ["PCMU", "PCMA", "G722"])
async def test_audio_goes_both_ways(sandbox: Sandbox, connect: Connect, codec: str) -> None:
    """Phone and room hear each other with PCMU, PCMA and G722. (S-MED-01 to 03)"""
    number = await sandbox.inbound()
    talk = await connect(number, codecs=[codec], tone=CALLER_TONE)
    await asyncio.gather(
        talk.call.hears_tone(PEER_TONE, within=4),
        talk.peer.hears_tone(CALLER_TONE, of=talk.identity, within=4),
    )
    stats = await talk.call.stats()
    assert stats.codec == codec


async def test_livekit_prefers_its_own_order_of_codecs(sandbox: Sandbox, connect: Connect) -> None:
    """Offered PCMA, PCMU, G722 in this order, livekit answers with G722. (S-MED-03)"""
    number = await sandbox.inbound()
    talk = await connect(number, codecs=["PCMA", "PCMU", "G722"])
    assert (await talk.call.stats()).codec == "G722"


async def test_two_callers_hear_each_other_and_not_themselves(sandbox: Sandbox) -> None:
    """Two SIP callers in one room answer each other; each hears the other alone.

    (S-ANS-06, S-MED-10)
    """
    number = await sandbox.inbound()
    first = await sandbox.phone.dial(number, tone=400)
    await first.ringing(within=2)
    second = await sandbox.phone.dial(number, tone=900)
    await asyncio.gather(first.answered(within=5), second.answered(within=5))
    await asyncio.gather(first.hears_tone(900, within=4), second.hears_tone(400, within=4))
    assert tones_heard(sandbox, first) == {900}
    assert tones_heard(sandbox, second) == {400}


@pytest.mark.parametrize("codec", ["PCMU", "PCMA", "G722"])
async def test_each_is_as_loud_as_they_speak(sandbox: Sandbox, codec: str) -> None:
    """Whatever the codec, a tone of -20 dBov is one of -20 dBov on the other phone. (S-MED-10)"""
    number = await sandbox.inbound()
    first = await sandbox.phone.dial(number, codecs=[codec], tone=400, tone_level=-20)
    await first.ringing(within=2)
    second = await sandbox.phone.dial(number, codecs=["PCMU"], tone=900, tone_level=-20)
    await asyncio.gather(first.answered(within=5), second.answered(within=5))
    await asyncio.gather(first.hears_tone(900, within=4), second.hears_tone(400, within=4))
    for call in (first, second):

        async def exact(call: Call = call) -> bool:  # not as the tone begins, nor over a gap
            return abs(await call.level_in() + 20) < 0.5

        assert await until(exact, within=2), await call.level_in()


async def test_nobody_speaks_so_it_rings_and_audio_answers(sandbox: Sandbox) -> None:
    """A participant without a track lets it ring; its first audio track answers the call.

    (S-ANS-01, 02)
    """
    number = await sandbox.inbound()
    assert number.room is not None
    peer = await number.room.join()
    call = await sandbox.phone.dial(number)
    _, caller = await sandbox.joined(call)
    await call.ringing(within=2)
    assert caller.attributes["sip.callStatus"] == "ringing"
    assert call.state != "answered"
    await peer.publish_tone(PEER_TONE)
    await call.answered(within=3)
    await peer.attribute(caller.identity, "sip.callStatus", "active", within=3)
