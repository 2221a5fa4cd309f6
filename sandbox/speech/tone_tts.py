"""Text-to-speech for livekit-agents in the tone alphabet: exact, offline, no model."""

from __future__ import annotations

import asyncio

from livekit.agents import tts
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, APIConnectOptions
from livekit.agents.utils import shortuuid

from sandbox.speech import alphabet

__all__ = ["ToneTTS"]

_RATE = 16000


class ToneTTS(tts.TTS[str]):
    """A TTS that says what `hears_exactly` hears.

    Each reply is one message, however many sentences it has. An AgentSession takes Markdown and
    emoji out of it before; `tts_text_transforms=None` keeps them.
    """

    def __init__(self, *, level_dbov: float = -12.0, pause: float = 0.0) -> None:
        """Make the TTS.

        Args:
            level_dbov: the level of its voice, in dBov.
            pause: the silence behind each text, in seconds, as other voices have it. An agent that
                ends the call behind its last words needs one: what is still on its way to the
                caller then is lost.
        """
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=True), sample_rate=_RATE, num_channels=1
        )
        self.level_dbov = level_dbov
        self.pause = pause

    @property
    def model(self) -> str:
        """`tone-alphabet`."""
        return "tone-alphabet"

    @property
    def provider(self) -> str:
        """`livekit-sip-sandbox`."""
        return "livekit-sip-sandbox"

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        """Say `text`."""
        return self._synthesize_with_stream(text, conn_options=conn_options)

    def stream(
        self, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.SynthesizeStream:
        """Say what will be pushed, up to each flush."""
        return _Stream(self, conn_options)


class _Stream(tts.SynthesizeStream):
    def __init__(self, owner: ToneTTS, conn_options: APIConnectOptions) -> None:
        super().__init__(tts=owner, conn_options=conn_options)
        self._level = owner.level_dbov
        self._silence = bytes(2 * round(owner.pause * _RATE))

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(
            request_id=shortuuid("tones_"),
            sample_rate=_RATE,
            num_channels=1,
            mime_type="audio/pcm",
            stream=True,
        )
        text = ""
        async for item in self._input_ch:
            if isinstance(item, str):
                text += item
            elif text.strip():
                self._mark_started()
                output_emitter.start_segment(segment_id=shortuuid("segment_"))
                samples = await asyncio.to_thread(
                    alphabet.encode, text.strip(), _RATE, level_dbov=self._level
                )
                output_emitter.push(samples.tobytes() + self._silence)
                output_emitter.end_segment()
                text = ""
