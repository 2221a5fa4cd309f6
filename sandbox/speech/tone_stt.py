"""Speech-to-text for livekit-agents that reads the tone alphabet: exact, offline, no model."""

from __future__ import annotations

import logging

from livekit import rtc
from livekit.agents import stt
from livekit.agents.types import (
    DEFAULT_API_CONNECT_OPTIONS,
    NOT_GIVEN,
    APIConnectOptions,
    NotGivenOr,
)
from livekit.agents.utils import AudioBuffer, shortuuid

from sandbox.speech import alphabet
from sandbox.speech.frames import mono, transcript

__all__ = ["ToneSTT"]

logger = logging.getLogger(__name__)

_RATE = 16000


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
        read = decoder.feed(mono(frame)) + decoder.finish()
        exact = [item for item in read if isinstance(item, alphabet.Heard) and item.exact]
        return transcript(" ".join(item.text for item in exact), shortuuid("tones_"))

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
                self._tell(decoder.feed(mono(item)))
        self._tell(decoder.finish())

    def _tell(self, read: list[alphabet.Begun | alphabet.Partial | alphabet.Heard]) -> None:
        kinds, send = stt.SpeechEventType, self._event_ch.send_nowait
        for item in read:
            match item:
                case alphabet.Begun():
                    self._request = shortuuid("tones_")
                    send(stt.SpeechEvent(kinds.START_OF_SPEECH, request_id=self._request))
                case alphabet.Partial():
                    send(transcript(item.text, self._request, kinds.INTERIM_TRANSCRIPT))
                case alphabet.Heard():
                    if item.exact:
                        began, ended = (
                            at + self.start_time_offset for at in (item.began, item.ended)
                        )
                        send(transcript(item.text, self._request, began=began, ended=ended))
                    else:
                        logger.warning(
                            "a message in the tone alphabet was damaged: %s; could be read: %r",
                            item.problem,
                            item.text,
                        )
                    send(stt.SpeechEvent(kinds.END_OF_SPEECH, request_id=self._request))
