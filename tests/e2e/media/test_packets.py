"""Phones that cut their audio into other packets, or leave the silence out."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

import numpy as np
import pytest

from sandbox import Sandbox
from sandbox.audio import level_dbov
from sandbox.talk import Chunk
from tests.conformance.media import CALLER_HZ
from tests.e2e.conftest import PEER_TONE
from tests.e2e.wire import Wire

#: The tone of the caller is at -12 dBov.
LOUD_DBOV = -18.0


async def share_heard(sandbox: Sandbox, wire: Wire, packet_ms: int) -> float:
    """How much a peer hears of a caller that sends a tone in packets of `packet_ms`: of half a
    second, the best of some. A busy machine makes gaps as well, but not in each half second.
    """
    number = await sandbox.inbound()
    assert number.room is not None
    peer = await number.room.join(tone=PEER_TONE)
    call = await (await wire.invite(number)).answered(tone=False)
    assert call.answer is not None
    call.speak(call.answer, packet_ms=packet_ms)
    await peer.hears_tone(CALLER_HZ, of=call.identity)
    loud: asyncio.Queue[bool] = asyncio.Queue()

    def take(chunk: Chunk) -> None:
        for part in np.array_split(chunk.heard, chunk.heard.size // (chunk.rate // 200)):
            loud.put_nowait(level_dbov(part) > LOUD_DBOV)  # of 5 ms: a gap may be no longer

    await peer.listen(take)
    half: deque[bool] = deque(maxlen=100)
    best = 0.0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            while best < 0.95:
                half.append(await loud.get())
                best = max(best, sum(half) / 100)
    # Ours have 20 ms, whatever theirs have.
    assert "a=ptime:20" in call.answer.body.splitlines()
    assert set(call.media.payload_lengths) == {160}
    return best


@pytest.mark.parametrize("packet_ms", [10, 30])
async def test_packets_of_other_lengths_are_heard_without_gaps(
    sandbox: Sandbox, wire: Wire, packet_ms: int
) -> None:
    """A phone that sends packets of 10 or 30 ms is heard without gaps, and gets packets of 20 ms
    all the same; longer ones are heard with gaps (test_only_livekit_sip.py).

    (S-MED-09)
    """
    # A packet of which only 20 ms were played would leave a third of it silent.
    assert await share_heard(sandbox, wire, packet_ms) >= 0.95


async def test_a_phone_that_leaves_silence_out_is_heard_again(sandbox: Sandbox, wire: Wire) -> None:
    """A phone that sends nothing while nobody speaks is silent in the room meanwhile, without a
    glitch, and is heard from its next packet on.

    (S-MED-23)
    """
    number = await sandbox.inbound()
    assert number.room is not None
    peer = await number.room.join(tone=PEER_TONE)
    call = await (await wire.invite(number)).answered()
    await peer.hears_tone(CALLER_HZ, of=call.identity)
    for _ in range(2):
        mark = sandbox.timeline.mark()
        call.media.pausing = True
        await sandbox.timeline.wait(
            lambda e: (
                e.name == "room.tone" and e.data["identity"] == call.identity and not e.data["on"]
            ),
            within=3,
            expected="silence from the caller",
            since=mark,
        )
        mark = sandbox.timeline.mark()
        call.media.pausing = False
        await peer.hears_tone(CALLER_HZ, of=call.identity, since=mark, within=2)
    # Where it begins anew, a step of its phase is read as up to 26 Hz (on livekit-sip).
    assert all(abs(hz - CALLER_HZ) <= 40 for hz in peer.heard(of=call.identity))
    assert call.seen("BYE") == []
