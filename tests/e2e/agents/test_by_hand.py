"""`sandbox run-agent` in one terminal, `sandbox call` in another, as a user has them."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sandbox import Stack
from sandbox.speech.local import missing

GREETER = Path(__file__).parents[3] / "examples" / "agents" / "greeter.py"
Call = Callable[..., Awaitable[str]]


@asynccontextmanager
async def run_agent(engine: str, folder: Path, **env: str) -> AsyncIterator[tuple[Call, list[str]]]:
    """The greeter in a terminal of its own: what places a call to it, and what it prints."""
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder), **env}

    async def start(*arguments: object) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sandbox.cli", *map(str, arguments),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip

    async def call(*arguments: object) -> str:
        process = await start("call", *arguments)
        out, _ = await process.communicate()
        assert process.returncode == 0, out.decode()
        return out.decode()

    printed: list[str] = []
    process = await start("run-agent", GREETER, "--engine", engine)
    assert process.stdout is not None
    try:
        async for line in process.stdout:
            printed.append(line.decode())
            if "Ctrl-C" in printed[-1]:
                break
        yield call, printed
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        printed += [line.decode() async for line in process.stdout]
        assert await process.wait() == 0, "".join(printed)


def lines(out: str, *labels: str) -> list[str]:
    """What `sandbox call` printed behind the moments, of these labels."""
    shown = re.findall(r"^ *[\d.]+ s  (\w+) +(.*)$", out, re.MULTILINE)
    return [f"{label} {text}" for label, text in shown if label in labels]


async def test_a_call_by_hand_in_tones(sandbox_stack: Stack, tmp_path: Path) -> None:
    """The agent's words and the caller's are shown in both terminals; all is taken down.

    (issue 6)
    """
    async with run_agent(sandbox_stack.engine.name, tmp_path) as (call, printed):
        out = await call("--say-exactly", "your hours")
    assert lines(out, "say", "hears", "ended") == [
        "hears hello +15550199",
        "say your hours",
        "hears nine to five",
        "ended by the phone, 200 OK",
    ]
    told = "".join(printed)
    for who, text in (("user", "your hours"), ("assistant", "nine to five")):
        assert re.search(rf"^ *{who}  {text} ", told, re.MULTILINE), told
    assert printed[-1] == "all down, nothing left\n"


@pytest.mark.skipif(bool(missing()), reason=missing() or "speech is installed")
async def test_a_call_by_hand_in_spoken_words(sandbox_stack: Stack, tmp_path: Path) -> None:
    """--say speaks to an agent with LocalSTT, and the words that come back are shown. (issue 6)"""
    stack = run_agent(sandbox_stack.engine.name, tmp_path, AGENT_VOICES="words")
    async with stack as (call, _):
        out = await call("--say", "What are your hours?")
    shown = lines(out, "say", "hears", "ended")
    assert len(shown) == 4, out
    greeting, said, heard, ended = shown
    assert greeting.startswith("hears Hello")
    assert said == "say What are your hours?"
    assert "5" in heard
    assert ended == "ended by the phone, 200 OK"
