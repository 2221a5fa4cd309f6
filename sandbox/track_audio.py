"""What is heard of a track in a room, as samples."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
from livekit import rtc

from sandbox.audio import Samples

__all__ = ["samples_of"]


async def samples_of(track: rtc.Track, *, rate: int, frame_ms: int) -> AsyncIterator[Samples]:
    """The audio of a track while it lasts; of one that has gone already, nothing.

    Args:
        track: an audio track that is subscribed to.
        rate: of the samples, in Hz.
        frame_ms: how much each array holds, in milliseconds.
    """
    try:
        stream = rtc.AudioStream(track, sample_rate=rate, num_channels=1, frame_size_ms=frame_ms)
    except AssertionError:
        return  # the SDK's word for a track that went away meanwhile
    try:
        async for event in stream:
            yield np.frombuffer(event.frame.data, dtype=np.int16)
    finally:
        await stream.aclose()
