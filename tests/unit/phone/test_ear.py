"""When a call is silent, and when it no longer is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.audio import sine
from sandbox.phone.service.sound import Ear

RATE, FRAME = 8000, 0.02
NOTHING = bytes(2 * int(RATE * FRAME))


def heard(*parts: tuple[float, float | None]) -> list[bool]:
    """What an ear tells of `parts`, each so many seconds at so many dBov: silence is on, or not."""
    told: list[bool] = []

    def tell(name: str, data: Mapping[str, Any]) -> None:
        if name == "media.silence":
            told.append(data["on"])

    ear = Ear(tell)
    for seconds, level in parts:
        frame = (
            NOTHING if level is None else sine(300, FRAME, rate=RATE, level_dbov=level).tobytes()
        )
        for _ in range(round(seconds / FRAME)):
            ear.hear(frame, RATE, FRAME)
    return told


def test_a_sound_ends_the_silence_and_a_pause_is_none() -> None:
    assert heard((0.3, None), (0.3, -30), (0.1, None), (0.3, -30), (0.3, None)) == [
        True,
        False,
        True,
    ]


def test_a_click_of_an_idle_codec_is_no_sound() -> None:
    assert heard((0.3, None), (0.04, -54), (0.1, -70), (0.02, -54), (0.5, None)) == [True]


def test_what_is_below_60_dbov_is_silence() -> None:
    assert heard((0.5, -63)) == [True]
