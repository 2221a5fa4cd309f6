"""A whole AgentSession over the phone in spoken words, offline: LocalSTT, ScriptedLLM, LocalTTS."""

from __future__ import annotations

import pytest

from sandbox import Sandbox
from sandbox.speech.local import missing
from tests.e2e.speech.desk import LONG, spoken

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "speech is installed")


async def test_three_turns_in_spoken_words(sandbox: Sandbox) -> None:
    """VAD, STT, turn detection, LLM with a tool, TTS and an interruption, all in real speech.

    [S-SPK-11]
    """
    agent = await sandbox.agent(spoken)
    number = await sandbox.inbound(
        agent=agent.name, headers_to_attributes={"X-Order-Id": "order.id"}
    )
    call = await sandbox.phone.dial(number, headers={"X-Order-Id": "42"})
    await call.hears("how can I help you", within=15)
    await call.says("Where is my order?")
    await call.hears("your order forty two is ready", within=15)
    await call.says("When are you open?")
    await call.hears_sound(within=15)
    await call.says("Please stop reading!")
    await call.hears("what else can I do", within=15)
    await call.hang_up()
    assert await agent.called_tool("status_of") == "order 42 is ready"
    cut = call.conversation.interruptions[-1]
    assert (cut.by, cut.stopped) == ("phone", "remote"), call.conversation
    said = await agent.event("session.message", role="assistant", interrupted=True)
    assert LONG.startswith(said.data["text"])
    assert said.data["text"] != LONG, "it went on to its end"
