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
    await call.hears_exactly("Order desk, how can I help?", within=10)
    return call


async def test_a_conversation_with_a_tool_call_to_the_letter(sandbox: Sandbox) -> None:
    """An AgentSession hears and answers to the letter, and its tool reads a SIP header.

    [S-SPK-05]
    """
    call = await greeted(sandbox)
    await call.says_exactly("Where is my order?")
    await call.hears_exactly("It says: order 42 ships tomorrow", within=10)
    await call.says_exactly("Try again")
    await call.hears_exactly("There you are.", within=15)
    await call.says_exactly("Thanks, bye")
    await call.hears_exactly("Good bye!", within=10)
    await call.hang_up()


async def test_the_caller_interrupts_the_agent(sandbox: Sandbox) -> None:
    """The agent stops in mid-sentence when the caller speaks, and answers what was said.

    [S-SPK-06]
    """
    call = await greeted(sandbox)
    await call.says_exactly("What are your opening hours?")
    await call.hears_begin(within=10)
    await call.says_exactly("Stop, please")
    cut = await call.hears_cut(within=5)
    assert cut.data["text"]
    assert LONG.startswith(cut.data["text"][:4])
    await call.hears_exactly("Sorry. What else?", within=10)
    await call.hang_up()


async def test_a_conversation_is_measured(sandbox: Sandbox) -> None:
    """The answer, the first word, latencies, interruptions and silences are measured in a call.

    [S-SPK-10]
    """
    call = await greeted(sandbox)
    await call.says_exactly("What are your opening hours?")
    await call.hears_begin(within=10)
    await call.says_exactly("Stop, please")
    await call.hears_exactly("Sorry. What else?", within=10)
    await call.hears_silence(for_=1.2)
    await call.hang_up()
    await call.ended(within=5)
    talk = call.conversation
    assert talk.time_to_answer is not None
    assert talk.time_to_first_word is not None
    assert 0 < talk.time_to_answer < 20
    assert talk.of("remote")[0].text == "Order desk, how can I help?"
    assert [s.text for s in talk.of("phone")] == ["What are your opening hours?", "Stop, please"]
    assert len(talk.latencies) == 2
    (cut,) = talk.interruptions
    assert (cut.by, cut.stopped) == ("phone", "remote")
    assert 0 < cut.after <= talk.overlap + 0.1
    assert talk.silences(longer_than=1.0)
    assert talk.segments[-1].text == "Sorry. What else?"
