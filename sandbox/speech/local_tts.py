"""Text-to-speech for livekit-agents by Piper on this machine: a real voice, offline, no key."""

from __future__ import annotations

from livekit.agents import tts
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, APIConnectOptions
from livekit.agents.utils import shortuuid

from sandbox.speech.local import SPEECH_RATE, demand, local_speech

__all__ = ["LocalTTS"]


class LocalTTS(tts.TTS[str]):
    """A TTS with the voice of `call.says`, which `call.hears` understands.

    It makes a sentence at a time: an AgentSession gives it each as soon as it is there.
    """

    def __init__(self) -> None:
        """Make the TTS.

        Raises:
            SetupError: the extra [speech] is not installed.
        """
        demand()
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=False),
            sample_rate=SPEECH_RATE,
            num_channels=1,
        )

    @property
    def model(self) -> str:
        """`piper`."""
        return "piper"

    @property
    def provider(self) -> str:
        """`livekit-sip-sandbox`."""
        return "livekit-sip-sandbox"

    def prewarm(self) -> None:
        """Have the voice loaded, without waiting for it; an AgentSession does so when it starts."""
        local_speech().load("voice")

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        """Say `text`."""
        return _Sentence(tts=self, input_text=text, conn_options=conn_options)


class _Sentence(tts.ChunkedStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(
            request_id=shortuuid("words_"),
            sample_rate=SPEECH_RATE,
            num_channels=1,
            mime_type="audio/pcm",
        )
        samples = await local_speech().say(self.input_text)
        output_emitter.push(samples.tobytes())
        output_emitter.flush()
