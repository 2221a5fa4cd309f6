"""Publishing a track into a room that may end meanwhile."""

from __future__ import annotations

import asyncio
import contextlib

from livekit import rtc
from livekit.rtc.participant import PublishTrackError

__all__ = ["published"]


async def published(
    room: rtc.Room, track: rtc.LocalTrack, options: rtc.TrackPublishOptions
) -> bool:
    """Publish `track`; whether the room was there for it.

    livekit's SDK waits for its answer also from a room that is gone (as of 1.1.21).

    Raises:
        PublishTrackError: it was refused, and the room is still there.
    """
    if not room.isconnected():
        return False
    closed = asyncio.Event()
    room.on("disconnected", lambda *_: closed.set())
    publishing = asyncio.create_task(room.local_participant.publish_track(track, options))
    ending = asyncio.create_task(closed.wait())
    await asyncio.wait({publishing, ending}, return_when=asyncio.FIRST_COMPLETED)
    ending.cancel()
    if not publishing.done():
        publishing.cancel()
        return False
    try:
        await publishing
    except PublishTrackError:
        # If it is because the room is gone, that is told within moments.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(closed.wait(), 1.0)
        if not closed.is_set():
            raise
        return False
    return True
