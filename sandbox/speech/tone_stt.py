"""Speech-to-text for livekit-agents that reads the tone alphabet: exact, offline, no model."""

from __future__ import annotations

import logging

import numpy as np
from livekit import rtc
from livekit.agents import stt
from livekit.agents.language import LanguageCode
from livekit.agents.types import (
    DEFAULT_API_CONNECT_OPTIONS,
    NOT_GIVEN,
    APIConnectOptions,
    NotGivenOr,
)
from livekit.agents.utils import AudioBuffer, shortuuid

from sandbox.audio import Samples
from sandbox.speech import alphabet

__all__ = ["ToneSTT"]

logger = logging.getLogger(__name__)

_RATE = 16000
_LANGUAGE = "en"


def _mono(frame: rtc.AudioFrame) -> Samples:
    samples = np.frombuffer(frame.data, dtype=np.int16)
    if frame.num_channels > 1:
        samples = samples.reshape(-1, frame.num_channels)[:, 0]
    return samples


def _event(
    kind: stt.SpeechEventType, request: str, text: str, began: float = 0.0, ended: float = 0.0
) -> stt.SpeechEvent:
    data = stt.SpeechData(
        LanguageCode(_LANGUAGE), text, start_time=began, end_time=ended, confidence=1.0
    )
    return stt.SpeechEvent(kind, request_id=request, alternatives=[data])


class ToneSTT(stt.STT[str]):
    """An STT that hears what `says_exactly` says.

    Use it with `turn_detection="stt"`: it tells the beginning and the end of each message itself,
    and interim transcripts while a message is said. What is no message (speech, noise) is silence
    to it. A message that arrived damaged is no transcript; it is logged as a warning with what
    could be read of it.
    """

    def __init__(self) -> None:
        """Make the STT."""
        super().__init__(capabilities=stt.STTCapabilities(streaming=True, interim_results=True))

    @property
    def model(self) -> str:
        """`tone-alphabet`."""
        return "tone-alphabet"

    @property
    def provider(self) -> str:
        """`livekit-sip-sandbox`."""
        return "livekit-sip-sandbox"

    async def _recognize_impl(
        self,
        buffer: AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions,
    ) -> stt.SpeechEvent:
        frame = rtc.combine_audio_frames(buffer)
        decoder = alphabet.Decoder(frame.sample_rate)
        read = decoder.feed(_mono(frame)) + decoder.finish()
        exact = [item for item in read if isinstance(item, alphabet.Heard) and item.exact]
        return _event(
            stt.SpeechEventType.FINAL_TRANSCRIPT,
            shortuuid("tones_"),
            " ".join(item.text for item in exact),
        )

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> stt.RecognizeStream:
        """Read a stream of audio."""
        return _Stream(self, conn_options)


class _Stream(stt.RecognizeStream):
    def __init__(self, owner: ToneSTT, conn_options: APIConnectOptions) -> None:
        super().__init__(stt=owner, conn_options=conn_options, sample_rate=_RATE)
        self._request = ""

    async def _run(self) -> None:
        decoder = alphabet.Decoder(_RATE)
        async for item in self._input_ch:
            if isinstance(item, rtc.AudioFrame):
                self._tell(decoder.feed(_mono(item)))
        self._tell(decoder.finish())

    def _send(self, kind: stt.SpeechEventType, text: str | None = None) -> None:
        if text is None:
            self._event_ch.send_nowait(stt.SpeechEvent(kind, request_id=self._request))
        else:
            self._event_ch.send_nowait(_event(kind, self._request, text))

    def _tell(self, read: list[alphabet.Begun | alphabet.Partial | alphabet.Heard]) -> None:
        for item in read:
            match item:
                case alphabet.Begun():
                    self._request = shortuuid("tones_")
                    self._send(stt.SpeechEventType.START_OF_SPEECH)
                case alphabet.Partial():
                    self._send(stt.SpeechEventType.INTERIM_TRANSCRIPT, item.text)
                case alphabet.Heard():
                    if item.exact:
                        self._event_ch.send_nowait(
                            _event(
                                stt.SpeechEventType.FINAL_TRANSCRIPT,
                                self._request,
                                item.text,
                                item.began + self.start_time_offset,
                                item.ended + self.start_time_offset,
                            )
                        )
                    else:
                        logger.warning(
                            "a message in the tone alphabet was damaged: %s; could be read: %r",
                            item.problem,
                            item.text,
                        )
                    self._send(stt.SpeechEventType.END_OF_SPEECH)
