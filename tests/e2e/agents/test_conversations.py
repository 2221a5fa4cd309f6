"""Conversations with an AgentSession, exact to the letter, over the phone."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from livekit import api, rtc
from livekit.agents.voice.room_io.types import DEFAULT_CLOSE_ON_DISCONNECT_REASONS

from sandbox import AgentProcess, Call, DeadlineMissed, Line, Sandbox, SipMessage
from tests.e2e.conftest import ROOM_ENDED

TALKERS = Path(__file__).parent / "talkers.py"


async def talker(sandbox: Sandbox, name: str) -> AgentProcess:
    return await sandbox.agent(f"{TALKERS}:{name}")


async def answered_by(sandbox: Sandbox, agent: AgentProcess) -> Call:
    number = await sandbox.inbound(agent=agent.name)
    call = await sandbox.phone.dial(number)
    await call.answered(within=8)
    return call


async def it_had_said(agent: AgentProcess, text: str, *, before: SipMessage) -> None:
    """The agent had said `text` to its end before that message went out.

    By the agent's own word: the end of what the phone hears is told by a mark that lasts 50 ms.
    """
    said = await agent.event("session.message", role="assistant", text=text)
    assert not said.data["interrupted"]
    assert said.at < before.at


async def test_five_turns_with_tools_that_read_the_sip_attribute(sandbox: Sandbox) -> None:
    """Five turns of the agent: greeting, a tool by the SIP attribute, one by argument, thanks, bye.

    (S-AGT-17, S-HDR-05)
    """
    agent = await talker(sandbox, "desk")
    number = await sandbox.inbound(
        agent=agent.name, headers_to_attributes={"X-Order-Id": "order.id"}
    )
    call = await sandbox.phone.dial(number, headers={"X-Order-Id": "42"})
    await call.hears_exactly("hi", within=10)
    for said, answer in (
        ("mine", "42 ok"),
        ("fri", "on fri"),
        ("ta", "ok"),
        ("bye", "bye"),
    ):
        await call.says_exactly(said)
        await call.hears_exactly(answer, within=8)
    assert await agent.called_tool("look_up") == "42 ok"
    assert await agent.called_tool("change", day="fri") == "on fri"
    assert agent.transcript[0] == ("assistant", "hi")
    assert ("user", "mine") in agent.transcript


async def test_a_caller_who_speaks_interrupts_the_agent(sandbox: Sandbox) -> None:
    """Barge-in: the agent stops in mid-sentence, and answers what interrupted it.

    (S-AGT-17)
    """
    agent = await talker(sandbox, "long_winded")
    call = await answered_by(sandbox, agent)
    await agent.event("session.first_audio")
    await call.says_exactly("stop")
    await agent.event("session.agent_state", state="listening", before="speaking")
    await call.hears_exactly("I stop", within=8)
    assert all(len(text) < 60 for _, text in agent.transcript), "it went on to its end"


async def test_a_menu_by_keys_asks_and_answers_in_words(sandbox: Sandbox) -> None:
    """GetDtmfTask: the agent asks, two keys and # come, the agent says them. (S-DTM-13)"""
    agent = await talker(sandbox, "menu")
    call = await answered_by(sandbox, agent)
    await call.hears_exactly("two digits", within=8)
    await call.send_dtmf("42#")
    await call.hears_exactly("it is 42", within=8)
    assert agent.digits() == "42#"


async def test_the_call_ends_after_the_last_sentence_was_heard(sandbox: Sandbox) -> None:
    """The agent hangs up with delete_room_on_close: the whole sentence is heard before the BYE.

    (S-AGT-20)
    """
    agent = await talker(sandbox, "parting")
    call = await answered_by(sandbox, agent)
    await agent.event("session.started")
    await call.says_exactly("bye")
    await call.hears_exactly("good bye to you", within=8)
    bye = await call.request("BYE", within=5)
    await it_had_said(agent, "good bye to you", before=bye)


async def test_end_call_tool_says_its_goodbye_to_the_end(sandbox: Sandbox) -> None:
    """EndCallTool: the goodbye that it asks for is heard whole, then the room is deleted: BYE.

    (S-BYE-07)
    """
    agent = await talker(sandbox, "hangs_up")
    call = await answered_by(sandbox, agent)
    await agent.event("session.started")
    await call.says_exactly("bye")
    await call.hears_exactly("good bye to you", within=8)
    bye = await call.request("BYE", within=8)
    await it_had_said(agent, "good bye to you", before=bye)
    await agent.job_ended()


async def test_a_caller_who_hangs_up_closes_the_session(sandbox: Sandbox) -> None:
    """close_on_disconnect: a hang-up (CLIENT_INITIATED) closes the AgentSession.

    (S-BYE-09)
    """
    agent = await talker(sandbox, "desk")
    call = await answered_by(sandbox, agent)
    await agent.event("session.started")
    await call.hang_up()
    left = await agent.event("job.participant_disconnected")
    assert left.data["reason"] == "CLIENT_INITIATED"
    closed = await agent.event("session.closed")
    assert closed.data["reason"] == "participant_disconnected"


async def test_a_caller_who_is_removed_leaves_the_session_open(sandbox: Sandbox) -> None:
    """close_on_disconnect: PARTICIPANT_REMOVED leaves the AgentSession open until the room ends.

    It closes for CLIENT_INITIATED, ROOM_DELETED and USER_REJECTED alone. (S-BYE-09)
    """
    reasons = {rtc.DisconnectReason.Name(r) for r in DEFAULT_CLOSE_ON_DISCONNECT_REASONS}
    assert reasons == {"CLIENT_INITIATED", "ROOM_DELETED", "USER_REJECTED"}
    agent = await talker(sandbox, "desk")
    call = await answered_by(sandbox, agent)
    # Removed before it hears, the caller leaves a session.say() that waits for a listener for good.
    await call.hears_exactly("hi", within=8)
    room, caller = await sandbox.joined(call)
    await room.remove(caller.identity)
    left = await agent.event("job.participant_disconnected")
    assert left.data["reason"] == "PARTICIPANT_REMOVED"
    with pytest.raises(DeadlineMissed):
        await agent.event("session.closed", within=1)
    await room.delete()
    assert await agent.job_ended() in ROOM_ENDED


async def dial_out(sandbox: Sandbox, agent: AgentProcess, line: Line) -> None:
    trunk = await sandbox.outbound_trunk(line.address)
    order = json.dumps({"trunk": trunk.sip_trunk_id, "to": line.number})
    request = api.CreateAgentDispatchRequest(
        agent_name=agent.name, room=sandbox.room().name, metadata=order
    )
    await sandbox.api.agent_dispatch.create_dispatch(request)


async def test_an_agent_that_calls_is_heard_from_its_first_word(sandbox: Sandbox) -> None:
    """The agent dials, waits for the answer and speaks first: nothing of it is lost. (S-AGT-09)"""
    agent = await talker(sandbox, "first_word")
    line = await sandbox.phone.line()
    await line.answers()
    await dial_out(sandbox, agent, line)
    call = await line.incoming()
    await call.hears_exactly("your reminder", within=10)


async def test_an_agent_finds_its_way_through_a_menu(sandbox: Sandbox) -> None:
    """A menu answers: with IVR detection the agent has send_dtmf_events and presses its keys, and
    talks to who comes then.

    (S-DTM-13)
    """
    agent = await talker(sandbox, "presses_keys")
    line = await sandbox.phone.line()
    await line.answers()
    await dial_out(sandbox, agent, line)
    call = await line.incoming(within=10)
    await agent.event("job.participant")
    await call.answered(within=5)
    await agent.event("job.track", kind="audio")
    await call.says_exactly("for sales 1")
    await call.dtmf("1#", within=8)
    await call.hears_exactly("ok", within=8)
    await call.says_exactly("sales here")
    await call.hears_exactly("hi sales", within=8)


@pytest.mark.parametrize(
    ("greeting", "answer"),
    [
        ("lisa here", "hi lisa"),
        ("leave a message", "call back"),
        ("press one", "call back"),
    ],
    ids=["human", "voicemail", "menu"],
)
async def test_an_answering_machine_is_told_from_a_human(
    sandbox: Sandbox, greeting: str, answer: str
) -> None:
    """AMD: who answers is told by the greeting, and the agent speaks accordingly.

    (S-AMD-01, S-AMD-02, S-AMD-03)
    """
    agent = await talker(sandbox, "detects")
    line = await sandbox.phone.line()
    await line.answers()
    await dial_out(sandbox, agent, line)
    call = await line.incoming()
    await call.answered(within=5)
    await call.says_exactly(greeting)
    await call.hears_exactly(answer, within=12)


async def test_the_session_can_be_turned_to_the_second_caller(sandbox: Sandbox) -> None:
    """Two callers in one room: the session hears one, and after set_participant the other.

    (S-AGT-19)
    """
    agent = await talker(sandbox, "listens_to_the_second")
    number = await sandbox.inbound(agent=agent.name)
    first = await sandbox.phone.dial(number)
    await first.answered(within=8)
    second = await sandbox.phone.dial(number)
    await second.answered(within=8)
    await first.says_exactly("hi")
    await first.hears_exactly("hi you", within=8)
    await asyncio.gather(second.says_exactly("hi"), first.says_exactly("next"))
    await second.hears_exactly("go on", within=8)
    await second.says_exactly("hi")
    await second.hears_exactly("hi you", within=8)
    turns = [text for role, text in agent.transcript if role == "user"]
    assert turns == ["hi", "next", "hi"]
