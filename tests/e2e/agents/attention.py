"""A VAD by level: what AMD needs, and what tells tones from silence."""

from __future__ import annotations

import numpy as np
from livekit import rtc
from livekit.agents import vad

RATE = 16000


class Attention(vad.VAD):
    """Tells sound from silence by its level: speech is what is loud for 60 ms."""

    LOUD, SPEECH, PAUSE = 300.0, 0.06, 0.1

    def __init__(self) -> None:
        super().__init__(capabilities=vad.VADCapabilities(update_interval=0.05))

    def stream(self) -> _Attending:
        return _Attending(self)


class _Attending(vad.VADStream):
    async def _main_task(self) -> None:
        self._clear()
        async for frame in self._input_ch:
            if isinstance(frame, self._FlushSentinel):
                self._clear()
            else:
                self._hear(frame)

    def _clear(self) -> None:
        self.at = self.sound = self.pause = 0.0
        self.speaking = False
        self.frames: list[rtc.AudioFrame] = []

    def _hear(self, frame: rtc.AudioFrame) -> None:
        samples = np.frombuffer(frame.data, dtype=np.int16).astype(np.float32)
        seconds = frame.samples_per_channel / frame.sample_rate
        self.at += seconds
        if float(np.sqrt(np.mean(samples**2))) > Attention.LOUD:
            self.sound, self.pause = self.sound + seconds, 0.0
        else:
            self.pause += seconds
            self.sound = self.sound if self.speaking else 0.0
        self.frames = [*self.frames, frame] if self.sound else []
        self._tell(vad.VADEventType.INFERENCE_DONE)
        if not self.speaking and self.sound >= Attention.SPEECH:
            self.speaking = True
            self._tell(vad.VADEventType.START_OF_SPEECH)
        elif self.speaking and self.pause >= Attention.PAUSE:
            self.speaking = False
            self._tell(vad.VADEventType.END_OF_SPEECH)
            self.sound = 0.0

    def _tell(self, kind: vad.VADEventType) -> None:
        event = vad.VADEvent(
            type=kind,
            samples_index=int(self.at * RATE),
            timestamp=self.at,
            speech_duration=self.sound,
            silence_duration=self.pause,
            frames=self.frames,
            probability=float(self.speaking),
            speaking=self.speaking,
            raw_accumulated_silence=self.pause,
            raw_accumulated_speech=self.sound,
        )
        self._event_ch.send_nowait(event)
