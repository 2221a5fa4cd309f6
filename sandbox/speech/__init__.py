"""Saying and hearing: the tone alphabet, speech on this machine, and plugins for livekit-agents.

`ToneSTT` and `ToneTTS`, or `LocalSTT` and `LocalTTS`, and `ScriptedLLM` go where an AgentSession
takes an STT, a TTS and an LLM.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandbox.speech.local_stt import LocalSTT
    from sandbox.speech.local_tts import LocalTTS
    from sandbox.speech.scripted_llm import Request, ScriptedLLM, ToolCall, Turn
    from sandbox.speech.tone_stt import ToneSTT
    from sandbox.speech.tone_tts import ToneTTS

# Loaded when first used: livekit-agents takes a second to import.
_HOMES = {
    "LocalSTT": "sandbox.speech.local_stt",
    "LocalTTS": "sandbox.speech.local_tts",
    "Request": "sandbox.speech.scripted_llm",
    "ScriptedLLM": "sandbox.speech.scripted_llm",
    "ToneSTT": "sandbox.speech.tone_stt",
    "ToneTTS": "sandbox.speech.tone_tts",
    "ToolCall": "sandbox.speech.scripted_llm",
    "Turn": "sandbox.speech.scripted_llm",
}

__all__ = [
    "LocalSTT",
    "LocalTTS",
    "Request",
    "ScriptedLLM",
    "ToneSTT",
    "ToneTTS",
    "ToolCall",
    "Turn",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sandbox.speech' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
