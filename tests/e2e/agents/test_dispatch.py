"""A livekit-agents worker takes phone calls."""

from __future__ import annotations

import asyncio

import pytest
from livekit import api

from sandbox import Agent, Sandbox
from tests.e2e.conftest import CALLER_TONE, assert_rings_in

pytestmark = pytest.mark.core


async def test_order_id_reaches_the_agent(sandbox: Sandbox, agent: Agent) -> None:
    """An X-Order-Id header on the INVITE is an attribute of the caller before the agent speaks.

    (Q4, Q9)
    """
    number = await sandbox.inbound(
        headers_to_attributes={"X-Order-Id": "order.id"},
        agent=agent.name,
        agent_metadata='{"tenant": "acme"}',
    )
    call = await sandbox.phone.dial(number, headers={"X-Order-Id": "42"})
    job = await agent.job()
    assert job.metadata == '{"tenant": "acme"}'
    assert job.participant is not None
    assert job.participant.attributes["order.id"] == "42"
    await call.answered(within=3)
    await call.hears_tone(agent.tone)
    await call.hang_up()
    await agent.job_ended(reason="CLIENT_INITIATED")


async def test_phone_and_agent_hear_each_other(sandbox: Sandbox, agent: Agent) -> None:
    """The agent hears the caller and the caller the agent. (S-AGT-02)"""
    number = await sandbox.inbound(agent=agent.name)
    call = await sandbox.phone.dial(number, tone=CALLER_TONE)
    await call.answered(within=5)
    await asyncio.gather(
        call.hears_tone(agent.tone, within=4), agent.hears_tone(CALLER_TONE, within=4)
    )


async def test_an_unnamed_worker_is_dispatched_by_itself(sandbox: Sandbox) -> None:
    """A worker without a name gets the job of every new room. (S-AGT-01)"""
    agent = await sandbox.agent(name="")
    number = await sandbox.inbound()
    call = await sandbox.phone.dial(number)
    job = await agent.job()
    assert job.agent_name == ""
    assert job.metadata == ""
    assert number.room is not None
    assert job.room == number.room.name
    await call.answered(within=3)


async def test_a_named_worker_is_not_dispatched_by_itself(sandbox: Sandbox, agent: Agent) -> None:
    """A worker with a name, in no rule, gets no job: the caller hears ringing, then 486.

    (S-AGT-03)
    """
    number = await sandbox.inbound(ringing_timeout=1)
    call = await sandbox.phone.dial(number)
    await call.ringing(within=2)
    await call.rejected(486, within=4)
    assert agent.jobs() == []


async def test_a_rule_for_an_agent_nobody_serves_rings_until_the_timeout(sandbox: Sandbox) -> None:
    """room_config.agents with a name that no worker has: ringing, then 486. (S-AGT-03)"""
    number = await sandbox.inbound(agent="nobody-serves-this", ringing_timeout=1)
    call = await sandbox.phone.dial(number)
    await call.rejected(486, within=4)


async def test_the_second_call_into_a_room_dispatches_no_second_job(
    sandbox: Sandbox, agent: Agent
) -> None:
    """Agents are dispatched by the join that creates the room, and by no later one.

    (S-AGT-05, Q9)
    """
    number = await sandbox.inbound(agent=agent.name)
    first = await sandbox.phone.dial(number)
    await first.answered(within=5)
    second = await sandbox.phone.dial(number)
    await second.answered(within=5)
    _, caller = await sandbox.joined(second)
    await agent.event("job.participant_connected", identity=caller.identity)
    assert len(agent.jobs()) == 1


async def test_a_room_that_exists_already_gets_no_agent(sandbox: Sandbox, agent: Agent) -> None:
    """room_config.agents is ignored for a room created before the call.

    (S-AGT-06, livekit/livekit#4390)
    """
    number = await sandbox.inbound(agent=agent.name, ringing_timeout=1)
    assert number.room is not None
    await number.room.create()
    call = await sandbox.phone.dial(number)
    await assert_rings_in(sandbox, call)
    await call.rejected(486, within=4)
    assert agent.jobs() == []


async def test_two_agents_of_one_rule_both_join(sandbox: Sandbox) -> None:
    """Two entries of room_config.agents are two jobs in one room. (S-AGT-04)"""
    first = await sandbox.agent(tone=500)
    second = await sandbox.agent(tone=900)
    number = await sandbox.inbound(
        agents=[
            api.RoomAgentDispatch(agent_name=first.name),
            api.RoomAgentDispatch(agent_name=second.name),
        ]
    )
    call = await sandbox.phone.dial(number)
    jobs = await asyncio.gather(first.job(), second.job())
    assert jobs[0].room == jobs[1].room
    await call.answered(within=5)


async def test_the_agent_hangs_up_by_deleting_the_room(sandbox: Sandbox, agent: Agent) -> None:
    """The agent deletes its room: the phone gets a BYE. (S-BYE-06)"""
    number = await sandbox.inbound(agent=agent.name)
    call = await sandbox.phone.dial(number)
    await call.answered(within=5)
    agent.hang_up()
    await call.request("BYE", within=3)


async def test_a_shut_down_job_leaves_the_caller_connected(sandbox: Sandbox, agent: Agent) -> None:
    """JobContext.shutdown alone ends the job and not the call. (S-BYE-06)"""
    number = await sandbox.inbound(agent=agent.name)
    call = await sandbox.phone.dial(number)
    await call.answered(within=5)
    job = await agent.job()
    room = sandbox.room(job.room)
    agent.shut_down("done")
    await agent.job_ended(reason="done")
    assert job.participant is not None
    assert job.participant.identity in await room.participants()
    assert call.state != "ended"
    await call.hang_up()


async def test_the_agent_receives_and_sends_digits(sandbox: Sandbox, agent: Agent) -> None:
    """DTMF reaches the agent, and the agent's DTMF the phone. (S-DTM-01, 06)"""
    number = await sandbox.inbound(agent=agent.name)
    call = await sandbox.phone.dial(number)
    await call.answered(within=5)
    await agent.job()
    await call.send_dtmf("12#")
    await agent.dtmf("12#", within=5)
    agent.send_dtmf("7")
    await call.dtmf("7", within=4)


async def test_create_dispatch_sends_an_agent_into_a_room(sandbox: Sandbox, agent: Agent) -> None:
    """CreateDispatch puts the agent, with its metadata, into a room of a ringing call.

    (S-AGT-09)
    """
    number = await sandbox.inbound()
    call = await sandbox.phone.dial(number)
    room, _ = await assert_rings_in(sandbox, call)
    await sandbox.api.agent_dispatch.create_dispatch(
        api.CreateAgentDispatchRequest(agent_name=agent.name, room=room.name, metadata="late")
    )
    job = await agent.job()
    assert job.metadata == "late"
    await call.answered(within=3)
