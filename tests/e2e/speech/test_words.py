"""Spoken words over real calls: Piper speaks, Whisper recognises, both on this machine."""

from __future__ import annotations

import pytest

from sandbox import DeadlineMissed, Sandbox
from sandbox.speech.local import missing
from tests.e2e.speech.test_exactly import talk

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "speech is installed")

GREETING = "Your order number forty two ships tomorrow morning."


@pytest.mark.parametrize("codec", ["PCMU", "PCMA", "G722"])
async def test_spoken_words_are_heard(sandbox: Sandbox, codec: str) -> None:
    """Words said by a peer are heard by the caller through the codec and Opus.

    [S-SPK-07]
    """
    call, peer, _ = await talk(sandbox, codecs=[codec])
    await peer.says(GREETING)
    await call.hears("your order number 42 ships tomorrow morning", within=5)
    await call.says("Thank you very much, that is good to know.")
    await peer.hears("Thank you very much", within=5)
    await call.hang_up()


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


async def test_the_transcript_has_both_sides(sandbox: Sandbox) -> None:
    """call.transcript has what was said and what was heard, in order.

    [S-SPK-09]
    """
    call, peer, _ = await talk(sandbox)
    await call.says("Where is my order?")
    await peer.says(GREETING)
    await call.hears(GREETING, within=5)
    first, second = call.transcript.splitlines()
    assert first == "phone: Where is my order?"
    assert second.startswith("remote: ")
    assert "tomorrow morning" in second
