"""Speech-to-text for livekit-agents by Whisper on this machine: real words, offline, no key."""

from __future__ import annotations

from livekit import rtc
from livekit.agents import stt
from livekit.agents.types import NOT_GIVEN, APIConnectOptions, NotGivenOr
from livekit.agents.utils import AudioBuffer, shortuuid

from sandbox.speech.frames import mono, transcript
from sandbox.speech.local import demand, local_speech

__all__ = ["LocalSTT"]


class LocalSTT(stt.STT[str]):
    """An STT that recognises English as `call.hears` does.

    It takes whole utterances: an AgentSession cuts them out with its VAD (its own, by default), so
    there are no interim transcripts, and the words come with the pause behind them.
    """

    def __init__(self) -> None:
        """Make the STT.

        Raises:
            SetupError: the extra [speech] is not installed.
        """
        demand()
        super().__init__(capabilities=stt.STTCapabilities(streaming=False, interim_results=False))

    @property
    def model(self) -> str:
        """`whisper`."""
        return "whisper"

    @property
    def provider(self) -> str:
        """`livekit-sip-sandbox`."""
        return "livekit-sip-sandbox"

    def prewarm(self) -> None:
        """Have the model loaded, without waiting for it; an AgentSession does so when it starts."""
        local_speech().load("model")

    async def _recognize_impl(
        self,
        buffer: AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions,
    ) -> stt.SpeechEvent:
        frame = rtc.combine_audio_frames(buffer)
        text = await local_speech().recognise(mono(frame), frame.sample_rate)
        return transcript(text, shortuuid("words_"))
