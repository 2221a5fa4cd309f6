"""RTP of the raw user agent: G.711, tones and telephone-events between two of its ports."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from sandbox.audio import sine
from tests.conformance.media import CALLER_HZ, Media, decode_g711, encode_g711


@pytest.mark.parametrize("payload_type", [0, 8])
def test_g711_there_and_back(payload_type: int) -> None:
    wave = sine(440, 0.1, rate=8000, level_dbov=-6)
    back = decode_g711(encode_g711(wave, payload_type), payload_type)
    error = back.astype(np.int32) - wave
    assert np.abs(error).max() <= 1024
    assert np.std(error) < 0.02 * np.std(wave)


def test_g711_codes_are_those_of_the_standard() -> None:
    samples = np.array([0, -32124, 32124], dtype=np.int16)
    assert encode_g711(samples, 0)[1:] == b"\x00\x80"
    assert decode_g711(b"\xff\x00\x80", 0).tolist() == [0, -32124, 32124]
    assert decode_g711(b"\xd5\x2a\xaa", 8).tolist() == [8, -32256, 32256]


async def test_a_tone_and_keys_between_two_ports() -> None:
    one, other = Media(), Media()
    await one.open("127.0.0.1")
    await other.open("127.0.0.1")
    try:
        one.start(("127.0.0.1", other.port), 0)
        one.press("1", 60)
        one.press("#", 40)
        async with asyncio.timeout(3):
            await one.pressed.wait()
            while not other.tones or sum(key.ended for key in other.keys.values()) < 2:
                await asyncio.sleep(0.02)
    finally:
        one.close()
        other.close()
    assert other.tones[0] == pytest.approx(CALLER_HZ, abs=3)
    assert [key.key for key in other.keys.values()] == ["1", "#"]
    assert [key.duration for key in other.keys.values()] == [480, 320]
    assert all(key.ended and key.volume == 10 for key in other.keys.values())
    assert other.payload_lengths.keys() == {160}
