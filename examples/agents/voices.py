"""Where the example agents take their STT, LLM and TTS from."""

import os
from typing import Any

from sandbox.speech import ScriptedLLM, ToneSTT, ToneTTS, Turn


def voices(*script: Turn) -> dict[str, Any]:
    """The arguments of an AgentSession: paid models, or offline ones with a script for an LLM.

    `AGENT_VOICES=livekit` takes LiveKit Inference, as production would. Anything else needs no key
    and no network, and is exact to the letter (docs/speech.md).
    """
    if os.environ.get("AGENT_VOICES") == "livekit":
        return {
            "stt": "deepgram/nova-3",
            "llm": "openai/gpt-4.1-mini",
            "tts": "cartesia/sonic-3",
        }
    return {
        "stt": ToneSTT(),
        "llm": ScriptedLLM(*script, otherwise="pardon"),
        "tts": ToneTTS(),
        "vad": None,
        # There is no echo on a line of tones: it may be interrupted from its first word.
        "aec_warmup_duration": None,
        "turn_handling": {
            "turn_detection": "stt",
            "endpointing": {"min_delay": 0.0, "max_delay": 0.3},
        },
    }
