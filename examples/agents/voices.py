"""Where the example agents take their STT, LLM and TTS from."""

import os
from typing import Any

from sandbox.speech import LocalSTT, LocalTTS, ScriptedLLM, ToneSTT, ToneTTS, Turn


def voices(*script: Turn) -> dict[str, Any]:
    """The arguments of an AgentSession, by AGENT_VOICES.

    `livekit` takes LiveKit Inference, as production would. All else needs no key and no network,
    and has a script for an LLM: `words` talks in spoken words (the extra [speech]), and by default
    it is tones that are exact to the letter (docs/speech.md).
    """
    kind = os.environ.get("AGENT_VOICES", "tones")
    if kind == "livekit":
        return {
            "stt": "deepgram/nova-3",
            "llm": "openai/gpt-4.1-mini",
            "tts": "cartesia/sonic-3",
        }
    offline: dict[str, Any] = {
        "llm": ScriptedLLM(*script, otherwise="pardon"),
        # There is no echo on a line of the sandbox: the agent may be interrupted at once.
        "aec_warmup_duration": None,
        # When the call is over, no last words are waited for (2 s by default).
        "session_close_transcript_timeout": 0.1,
    }
    if kind == "words":
        return {**offline, "stt": LocalSTT(), "tts": LocalTTS()}
    return {
        **offline,
        "stt": ToneSTT(),
        "tts": ToneTTS(),
        "vad": None,
        "turn_handling": {
            "turn_detection": "stt",
            "endpointing": {"min_delay": 0.0, "max_delay": 0.3},
        },
    }
