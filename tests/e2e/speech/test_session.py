"""A whole AgentSession over the phone, offline: ToneSTT, ScriptedLLM, ToneTTS."""

from __future__ import annotations

from sandbox import Call, Sandbox
from tests.e2e.speech.desk import LONG, entrypoint


async def greeted(sandbox: Sandbox) -> Call:
    """A call to the desk that has heard its greeting."""
    agent = await sandbox.agent(entrypoint)
    number = await sandbox.inbound(
        agent=agent.name, headers_to_attributes={"X-Order-Id": "order.id"}
    )
    call = await sandbox.phone.dial(number, headers={"X-Order-Id": "42"})
    await call.answered(within=10)
    await call.hears_exactly("Desk.", within=10)
    return call


async def test_a_conversation_with_a_tool_call_to_the_letter(sandbox: Sandbox) -> None:
    """An AgentSession hears and answers to the letter, and its tool reads a SIP header.

    [S-SPK-05]
    """
    call = await greeted(sandbox)
    await call.says_exactly("My order?")
    await call.hears_exactly("order 42 is ready", within=10)
    await call.says_exactly("Again")
    await call.hears_exactly("Here.", within=15)
    await call.hang_up()


async def test_the_caller_interrupts_the_agent(sandbox: Sandbox) -> None:
    """The agent stops in mid-sentence when the caller speaks, answers, and all of it is measured.

    [S-SPK-06, S-SPK-10]
    """
    call = await greeted(sandbox)
    await call.says_exactly("Your hours?")
    await call.hears_begin(within=10)
    await call.says_exactly("Stop now")
    broken = await call.hears_cut(within=5)
    assert broken.data["text"]
    assert LONG.startswith(broken.data["text"][:4])
    await call.hears_exactly("Sorry.", within=10)
    await call.hears_silence(for_=0.8)
    await call.hang_up()
    talk = call.conversation
    assert talk.time_to_answer is not None
    assert talk.time_to_first_word is not None
    assert 0 < talk.time_to_answer < 20
    assert talk.of("remote")[0].text == "Desk."
    assert [s.text for s in talk.of("phone")] == ["Your hours?", "Stop now"]
    assert len(talk.latencies) == 2
    (cut,) = talk.interruptions
    assert (cut.by, cut.stopped) == ("phone", "remote")
    assert 0 < cut.after <= talk.overlap + 0.1
    last = talk.segments[-1]
    assert last.text == "Sorry."
    quiet_since, length = talk.silences(longer_than=0.5)[-1]
    assert (quiet_since, length > 0.5) == (last.ended, True)
