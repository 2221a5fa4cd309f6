"""What an agent does with its calls, through JobContext alone: waiting, dialling, transferring."""

from __future__ import annotations

import asyncio
import json

import pytest
from livekit import api

from sandbox import AgentProcess, DeadlineMissed, Line, Room, Sandbox
from tests.e2e.agents.test_worker import VOICE, worker
from tests.e2e.conftest import CALLER_TONE, PEER_TONE, ROOM_ENDED


async def dispatch(sandbox: Sandbox, agent: AgentProcess, metadata: str = "") -> Room:
    """CreateDispatch into a room that nobody is in."""
    room = sandbox.room()
    await sandbox.api.agent_dispatch.create_dispatch(
        api.CreateAgentDispatchRequest(agent_name=agent.name, room=room.name, metadata=metadata)
    )
    return room


async def test_wait_for_participant_takes_the_kind_and_the_identity(sandbox: Sandbox) -> None:
    """wait_for_participant returns who is there already or comes later, of the kind asked for.

    (S-AGT-07)
    """
    agent = await sandbox.agent(worker("waits"))
    number = await sandbox.inbound(agent=agent.name)
    await sandbox.phone.dial(number)
    job = await agent.job()
    assert job.participant is not None
    assert number.room is not None
    peer = await number.room.join(tone=PEER_TONE)
    caller = job.participant.identity
    assert json.loads(await agent.job_ended()) == [peer.identity, caller, caller]


async def test_in_a_room_of_agents_alone_there_is_nobody_to_wait_for(sandbox: Sandbox) -> None:
    """Other agents are no participants to wait_for_participant. (S-AGT-07)"""
    agent = await sandbox.agent(worker("tone"))
    room = await dispatch(sandbox, agent)
    await agent.event("job.connected")
    other = await sandbox.agent(worker("each"))
    await sandbox.api.agent_dispatch.create_dispatch(
        api.CreateAgentDispatchRequest(agent_name=other.name, room=room.name)
    )
    seen = await agent.event("job.participant")
    assert seen.data["kind"] == "PARTICIPANT_KIND_AGENT"
    with pytest.raises(DeadlineMissed):
        await agent.event("job.published", within=0.5)


async def test_a_participant_entrypoint_runs_for_every_caller(sandbox: Sandbox) -> None:
    """add_participant_entrypoint: two callers in one room, each is greeted. (S-AGT-08, Q19)"""
    agent = await sandbox.agent(worker("each"))
    number = await sandbox.inbound(agent=agent.name)
    assert number.room is not None
    calls = [await sandbox.phone.dial(number, tone=CALLER_TONE)]
    await calls[0].answered(within=5)
    calls.append(await sandbox.phone.dial(number))
    await calls[1].answered(within=5)
    joined = [await sandbox.joined(call) for call in calls]
    job = await agent.job()
    connected = await agent.event("job.connected")
    watcher = await number.room.observe()
    for _, caller in joined:
        await watcher.attribute(connected.data["identity"], caller.identity, "greeted")
    await asyncio.gather(*(call.hears_tone(VOICE) for call in calls))
    await calls[1].hears_tone(CALLER_TONE)
    assert agent.jobs() == [job.id]


async def dial_out(sandbox: Sandbox, agent: AgentProcess, line: Line) -> Room:
    trunk = await sandbox.outbound_trunk(line.address)
    order = json.dumps({"trunk": trunk.sip_trunk_id, "to": line.number})
    return await dispatch(sandbox, agent, order)


async def test_an_agent_dials_out_and_is_heard_from_its_first_sound(sandbox: Sandbox) -> None:
    """The job calls with wait_until_answered; the call is active when it returns, and it speaks.

    (S-AGT-09)
    """
    agent = await sandbox.agent(worker("dials"))
    line = await sandbox.phone.line()
    await line.answers()
    await dial_out(sandbox, agent, line)
    call = await line.incoming()
    await call.hears_tone(VOICE, within=5)
    await call.hang_up()


@pytest.mark.parametrize(
    ("status", "phrase"), [(486, "Busy Here"), (603, "Decline")], ids=["busy", "declined"]
)
async def test_an_agent_whose_call_is_refused_is_told_the_status(
    sandbox: Sandbox, status: int, phrase: str
) -> None:
    """The callee refuses: SipCallError in the job, with status and phrase. (S-AGT-09)"""
    agent = await sandbox.agent(worker("dials"))
    line = await sandbox.phone.line()
    await line.rejects(status)
    await dial_out(sandbox, agent, line)
    assert await agent.job_ended() == f"{status} {phrase}"


async def test_an_agent_whose_call_nobody_answers_is_told_so(sandbox: Sandbox) -> None:
    """Ringing until the ringing_timeout: SipCallError in the job, and a CANCEL. (S-AGT-09)"""
    agent = await sandbox.agent(worker("dials"))
    line = await sandbox.phone.line()
    await line.rings()
    await dial_out(sandbox, agent, line)
    call = await line.incoming()
    await call.request("CANCEL", within=5)


async def test_an_agent_transfers_its_caller(sandbox: Sandbox) -> None:
    """A cold transfer: the caller hears the agent, then the one it is transferred to.

    (S-AGT-09, S-XFR-01)
    """
    desk = await sandbox.phone.line()
    await desk.answers(tone=PEER_TONE)
    agent = await sandbox.agent(worker("transfers"))
    number = await sandbox.inbound(agent=agent.name, agent_metadata=desk.uri)
    call = await sandbox.phone.dial(number)
    await call.answered(within=5)
    await call.hears_tone(VOICE)
    await call.send_dtmf("0")
    await call.transfer_requested(within=5)
    onward = await call.transferred(within=5)
    await onward.hears_tone(PEER_TONE)
    assert await agent.job_ended() == "transferred"


async def test_an_agent_ends_the_call(sandbox: Sandbox) -> None:
    """JobContext.delete_room: the phone gets a BYE, and the job ends with the room. (S-AGT-20)"""
    agent = await sandbox.agent(worker("closes"))
    number = await sandbox.inbound(agent=agent.name)
    call = await sandbox.phone.dial(number)
    await call.answered(within=5)
    await call.send_dtmf("1")
    await call.request("BYE", within=3)
    assert await agent.job_ended() in ROOM_ENDED


async def test_a_call_is_answered_by_the_first_track_and_not_by_the_job(sandbox: Sandbox) -> None:
    """The order of an answer: job accepted, entered, room joined, audio published, 200.

    (S-AGT-18)
    """
    agent = await sandbox.agent(worker("tone"))
    number = await sandbox.inbound(agent=agent.name)
    call = await sandbox.phone.dial(number)
    answered = await call.answered(within=5)
    names = ("job.offered", "job.accepted", "job.entered", "job.connected", "job.participant",
             "job.published")  # fmt: skip
    times = [(await agent.event(name)).at for name in names]
    published = await sandbox.timeline.wait(
        lambda e: (
            e.name == "webhook.track_published"
            and e.data["participant"]["identity"].startswith("agent-")
        ),
        within=2,
        expected="the agent's track",
        since=sandbox.mark,
    )
    assert times[:-1] == sorted(times[:-1])
    assert times[-2] < answered.at
    assert published.data["room"]["name"] == (await agent.job()).room
