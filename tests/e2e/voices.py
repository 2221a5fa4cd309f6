"""The arguments of the scenarios' AgentSessions: the tone alphabet, a script, and no waiting."""

from __future__ import annotations

from typing import Any

from sandbox.speech import ScriptedLLM, ToneSTT, ToneTTS, Turn

__all__ = ["voices"]


def voices(*script: Turn, otherwise: str = "huh", pause: float = 0.0) -> dict[str, Any]:
    """The arguments of a session that talks over the tone alphabet."""
    return {
        "stt": ToneSTT(),
        "llm": ScriptedLLM(*script, otherwise=otherwise),
        "tts": ToneTTS(pause=pause),
        "vad": None,
        # There is no echo on this line: the agent may be interrupted from its first word.
        "aec_warmup_duration": None,
        # Nothing is left to be read when the call is over.
        "session_close_transcript_timeout": 0.1,
        "turn_handling": {
            "turn_detection": "stt",
            "endpointing": {"min_delay": 0.0, "max_delay": 0.3},
        },
    }
