"""The tone alphabet over real calls: to the letter, both ways, in every codec."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from sandbox import Call, DeadlineMissed, Peer, Sandbox

GREETING = "Hello, you reached order desk 42. Wie kann ich helfen? ☎"
ANSWER = "I'd like to check order #4711-B, please."


async def talk(sandbox: Sandbox, **dial: Any) -> tuple[Call, Peer, str]:
    """A call that is up, a peer in its room, and the caller's identity."""
    number = await sandbox.inbound()
    assert number.room is not None
    peer = await number.room.join()
    await peer.publish_silence()
    call = await sandbox.phone.dial(number, **dial)
    await call.answered(within=5)
    _, caller = await sandbox.joined(call)
    return call, peer, caller.identity


@pytest.mark.parametrize("codec", ["PCMU", "PCMA", "G722"])
async def test_caller_and_peer_hear_each_other_to_the_letter(sandbox: Sandbox, codec: str) -> None:
    """Text said in tones arrives to the letter, both ways at once, through the codec and Opus.

    [S-SPK-01]
    """
    call, peer, caller = await talk(sandbox, codecs=[codec])
    await asyncio.gather(peer.says_exactly(GREETING), call.says_exactly(ANSWER))
    await call.hears_exactly(GREETING, within=3)
    await peer.hears_exactly(ANSWER, of=caller, within=3)
    assert (await call.stats()).codec == codec


async def test_what_was_said_before_the_wait_is_heard(sandbox: Sandbox) -> None:
    """Nothing is missed: what was said before anybody listened is heard, and in order.

    [S-SPK-02]
    """
    call, peer, _ = await talk(sandbox)
    await peer.says_exactly("first")
    await peer.says_exactly("second")
    await peer.says_exactly("third")
    await call.hears_exactly("first", within=2)
    await call.hears_exactly("third", within=2)
    with pytest.raises(DeadlineMissed):
        await call.hears_exactly("second", within=0.1)


async def test_a_mismatch_shows_both_texts(sandbox: Sandbox) -> None:
    """Text that differs in one letter is not taken; the error shows both texts, and where.

    [S-SPK-03]
    """
    call, peer, _ = await talk(sandbox)
    await peer.says_exactly("order 43 ships")
    with pytest.raises(DeadlineMissed) as error:
        await call.hears_exactly("order 42 ships", within=1)
    lines = [line.strip() for line in error.value.cause.splitlines()]
    assert lines == [
        "heard instead: 'order 43 ships'",
        "wanted order 42 ships",
        "heard  order 43 ships",
        "^",
    ]


async def test_silence_and_a_tone_are_called_so(sandbox: Sandbox) -> None:
    """A wait for text that meets silence, or a tone, says that it heard that.

    [S-SPK-04]
    """
    call, peer, _ = await talk(sandbox)
    with pytest.raises(DeadlineMissed) as error:
        await call.hears_exactly("anything", within=0.5)
    assert "of silence, and nothing else" in error.value.cause
    await peer.publish_tone(700)
    await call.hears_tone(700)
    with pytest.raises(DeadlineMissed) as error:
        await call.hears_exactly("anything", within=0.5)
    told = re.fullmatch(r"heard no text, but a tone of (\d+) Hz", error.value.cause)
    assert told, error.value.cause
    assert int(told[1]) == pytest.approx(700, abs=12)  # as near as hears_tone asks for
    await call.hang_up()
    with pytest.raises(DeadlineMissed, match=r"call\.ended"):
        await call.hears_exactly("anything", within=0.5)
