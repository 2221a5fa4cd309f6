"""Spoken words over real calls: Piper speaks, Whisper recognises, both on this machine."""

from __future__ import annotations

import asyncio

import pytest

from sandbox import DeadlineMissed, Sandbox
from sandbox.speech.local import missing
from sandbox.speech.words import compare
from tests.e2e.speech.test_exactly import talk

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "speech is installed")

GREETING = "Your order number forty two is ready."


@pytest.mark.parametrize("codec", ["PCMU", "PCMA", "G722"])
async def test_spoken_words_are_heard(sandbox: Sandbox, codec: str) -> None:
    """Words are heard both ways at once, through the codec and Opus, and are in the transcript.

    [S-SPK-07, S-SPK-09]
    """
    call, peer, _ = await talk(sandbox, codecs=[codec])
    await asyncio.gather(peer.says(GREETING), call.says("Thank you very much."))
    await asyncio.gather(
        call.hears("order number 42 is ready", within=10),
        peer.hears("thank you very much", within=10),
    )
    # On a busy machine a pause may cut a sentence in two.
    said = [line.split(": ", 1) for line in call.transcript.splitlines()]
    heard = " ".join(text for who, text in said if who == "remote")
    assert compare("order number 42 is ready", heard).rate <= 0.2
    assert ["phone", "Thank you very much."] in said


async def test_other_words_are_shown_word_by_word(sandbox: Sandbox) -> None:
    """Words that differ are not taken; the error shows both texts, aligned, and the error rate.

    [S-SPK-08]
    """
    call, peer, _ = await talk(sandbox)
    await peer.says(GREETING)
    with pytest.raises(DeadlineMissed) as error:
        await call.hears("we are closed on Sunday", within=1)
    lines = error.value.cause.splitlines()
    assert "word error rate" in lines[0]
    assert "20% is allowed" in lines[0]
    assert lines[1].split()[0] == "wanted"
    assert "closed" in lines[1]
    assert "^" in lines[3]
