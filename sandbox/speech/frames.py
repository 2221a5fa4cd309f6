"""Between livekit-agents' audio and transcripts and ours: what both STTs need."""

from __future__ import annotations

import numpy as np
from livekit import rtc
from livekit.agents import stt
from livekit.agents.language import LanguageCode

from sandbox.audio import Samples

__all__ = ["mono", "transcript"]

_LANGUAGE = LanguageCode("en")


def mono(frame: rtc.AudioFrame) -> Samples:
    """The samples of a frame; of several channels the first."""
    samples = np.frombuffer(frame.data, dtype=np.int16)
    if frame.num_channels > 1:
        samples = samples.reshape(-1, frame.num_channels)[:, 0]
    return samples


def transcript(
    text: str,
    request: str,
    kind: stt.SpeechEventType = stt.SpeechEventType.FINAL_TRANSCRIPT,
    *,
    began: float = 0.0,
    ended: float = 0.0,
) -> stt.SpeechEvent:
    """An event with one alternative, of which we are sure."""
    data = stt.SpeechData(_LANGUAGE, text, start_time=began, end_time=ended, confidence=1.0)
    return stt.SpeechEvent(kind, request_id=request, alternatives=[data])
