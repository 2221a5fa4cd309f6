"""The microphone of a peer: one audio track, with a tone, with samples, or with silence."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np
from livekit import rtc

from sandbox.audio import Samples, sine

__all__ = ["FRAME_MS", "RATE", "Microphone"]

_LOG = logging.getLogger(__name__)

# Telephone audio needs no more, and each frame crosses into the SDK's native half and back.
RATE = 16000
FRAME_MS = 40
_FRAME = RATE * FRAME_MS // 1000


def _frames(samples: Samples) -> list[rtc.AudioFrame]:
    """`samples` as frames; silence fills the last."""
    padded = np.pad(samples, (0, -samples.size % _FRAME))
    return [
        rtc.AudioFrame(padded[i : i + _FRAME].tobytes(), RATE, 1, _FRAME)
        for i in range(0, padded.size, _FRAME)
    ]


async def _let_go(source: rtc.AudioSource, within: float = 2.0) -> None:
    """Close a source, by a thread of its own.

    Seen once in some ten thousand sources (livekit 1.1): the SDK's native half does not come back
    from it. Then a thread is stuck, and not the event loop with all the scenarios to come.
    """
    closed: Future[None] = Future()

    def close() -> None:
        try:
            asyncio.run(source.aclose())
        except Exception as error:
            closed.set_exception(error)
        else:
            closed.set_result(None)

    threading.Thread(target=close, name="audio-source-close", daemon=True).start()
    waiting = asyncio.wrap_future(closed)
    done, _ = await asyncio.wait({waiting}, timeout=within)
    if done:
        waiting.result()
    else:
        _LOG.warning(
            "livekit's SDK did not close an audio source within %g s: a thread of this process is "
            "stuck until its end, and the run goes on",
            within,
        )


class Microphone:
    """Publishes the track when it is first needed, and plays until it is taken back."""

    def __init__(self, room: rtc.Room, name: str, record: Callable[..., None]) -> None:
        """Make a microphone.

        Args:
            room: where it publishes.
            name: of the track.
            record: takes the data of the event that it was published.
        """
        self._room = room
        self._name = name
        self._record = record
        self._publication: rtc.LocalTrackPublication | None = None
        self._source: rtc.AudioSource | None = None
        self._player: asyncio.Task[None] | None = None
        self._playing = False
        self._silence = _frames(np.zeros(_FRAME, dtype=np.int16))
        self._steady = self._silence
        self._said: deque[rtc.AudioFrame] = deque()
        self._done: asyncio.Future[bool] | None = None

    async def tone(self, hz: float, level_dbov: float) -> None:
        """Play a sine from now on."""
        # A whole second repeats without a step for every whole number of Hz.
        self._steady = _frames(sine(hz, 1.0, rate=RATE, level_dbov=level_dbov))
        self.hush()
        await self._open(hz=hz)

    async def open(self) -> None:
        """Publish the track, with silence until something is played."""
        await self._open(hz=0.0)

    async def play(self, samples: Samples) -> bool:
        """Play samples of `RATE` in place of the tone, which then ends.

        Returns:
            When the last was played: True, or False if something else was played meanwhile.
        """
        self.hush()
        self._steady = self._silence
        self._said.extend(_frames(samples))
        self._done = asyncio.get_running_loop().create_future()
        done = self._done
        await self._open(hz=0.0)
        return await done

    def hush(self) -> None:
        """Stop what is being said."""
        self._said.clear()
        self._finish(False)

    def _finish(self, whole: bool) -> None:
        done, self._done = self._done, None
        if done is not None and not done.done():
            done.set_result(whole)

    async def _open(self, *, hz: float) -> None:
        if self._publication is None:
            self._source = rtc.AudioSource(RATE, 1, queue_size_ms=100)
            track = rtc.LocalAudioTrack.create_audio_track(self._name, self._source)
            options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=False)
            self._publication = await self._room.local_participant.publish_track(track, options)
            self._record(hz=hz)
        if self._player is None:
            assert self._source is not None
            self._playing = True
            self._player = asyncio.create_task(self._play(self._source))

    async def _play(self, source: rtc.AudioSource) -> None:
        # Never cancelled: a capture that is cut short breaks the source, and can make the SDK's
        # native half hang when the source is closed.
        position = 0
        while self._playing:
            if self._said:
                await source.capture_frame(self._said.popleft())
                if not self._said:
                    self._finish(True)
                continue
            await source.capture_frame(self._steady[position % len(self._steady)])
            position += 1

    async def _stop(self) -> None:
        """Let the frame that is being captured go out, and end."""
        player, self._player = self._player, None
        self._playing = False
        self.hush()
        if player is not None:
            await asyncio.wait({player}, timeout=1.0)

    async def unpublish(self) -> None:
        """Take the track back."""
        await self._stop()
        if self._publication is not None:
            await self._room.local_participant.unpublish_track(self._publication.sid)
            self._publication = None

    async def stop(self) -> None:
        """Play no more; the track goes with the room."""
        await self._stop()

    async def close(self) -> None:
        """Let go of the source, after the room was left."""
        source, self._source = self._source, None
        if source is not None:
            await _let_go(source)
