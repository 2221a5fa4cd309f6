"""A worker under test: start, refusals, failures and end, and what its callers notice."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sandbox import AgentError, AgentProcess, Call, Sandbox, UsageError

HERE = Path(__file__).parent
WORKERS = HERE / "workers.py"
VOICE = 600.0


def worker(name: str) -> str:
    return f"{WORKERS}:{name}"


async def call_to(sandbox: Sandbox, agent: AgentProcess, **trunk: Any) -> Call:
    number = await sandbox.inbound(agent=agent.name, **trunk)
    return await sandbox.phone.dial(number)


async def test_a_file_runs_unchanged_in_an_interpreter_of_its_own(sandbox: Sandbox) -> None:
    """`sandbox.agent("my_agent.py")` runs it as `python my_agent.py start` does.

    Its job has a process of its own, and its view of the job and the caller is what is shown.
    (issue 6)
    """
    agent = await sandbox.agent(HERE / "own_file.py")
    assert agent.name == "own-file"
    number = await sandbox.inbound(
        agent=agent.name, agent_metadata="gold", headers_to_attributes={"X-Order-Id": "order.id"}
    )
    call = await sandbox.phone.dial(number, headers={"X-Order-Id": "42"})
    job = await agent.job()
    assert (job.metadata, job.agent_name) == ("gold", "own-file")
    assert job.participant is not None
    assert job.participant.attributes["order.id"] == "42"
    assert job.raw["pid"] != agent.pid
    await call.answered(within=5)
    await call.hang_up()
    left = await agent.event("job.participant_disconnected")
    assert left.data["reason"] == "CLIENT_INITIATED"


async def test_a_job_whose_process_dies_is_a_failed_job(sandbox: Sandbox) -> None:
    """A crash of the job's process is told by the worker; the worker itself goes on. (S-AGT-12)"""
    agent = await sandbox.agent(HERE / "own_file.py")
    number = await sandbox.inbound(agent=agent.name, attributes={"crash": "yes"})
    call = await sandbox.phone.dial(number)
    job = await agent.job()
    await agent.event("job.status", job=job.id, status="failed")
    assert agent.running
    await call.cancel()


async def test_the_process_is_kept_for_the_next_scenario(sandbox: Sandbox) -> None:
    """Another sandbox.agent() of the same file is the same process; its old jobs are not shown."""
    first = await sandbox.agent(worker("tone"))
    await call_to(sandbox, first)
    await first.job()
    await first.stop()
    second = await sandbox.agent(worker("tone"))
    assert second.pid == first.pid
    assert second.jobs() == []


async def test_an_environment_of_its_own_is_a_process_of_its_own(sandbox: Sandbox) -> None:
    """`env=` reaches that agent and no other. (issue 6)"""
    plain = await sandbox.agent(worker("tone"))
    other = await sandbox.agent(worker("tone"), env={"LIVEKIT_AGENT_NAME": "from-env"})
    assert (plain.name, other.name) == ("tone", "from-env")
    assert plain.pid != other.pid


async def test_an_exception_in_the_entrypoint_is_shown_as_what_it_is(sandbox: Sandbox) -> None:
    """The entrypoint raises: `job_failed` says it, a wait ends at once, and the caller gets 486.

    (S-AGT-11)
    """
    agent = await sandbox.agent(worker("raises"))
    call = await call_to(sandbox, agent, ringing_timeout=1)
    assert await agent.job_failed() == "RuntimeError: no API key for the speech service"
    with pytest.raises(AgentError, match="its entrypoint raised: RuntimeError") as shown:
        await agent.said("hello")
    assert any("workers.py" in line for line in shown.value.seen)
    assert Path(shown.value.evidence).is_file()
    await call.rejected(486, within=4)


async def test_a_file_that_fails_to_start_shows_the_end_of_its_log(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """A file whose import fails is an error with its traceback, before any call is made."""
    broken = tmp_path / "broken_agent.py"
    broken.write_text("import a_plugin_that_is_not_installed\n")
    with pytest.raises(AgentError, match="ended before it was registered") as shown:
        await sandbox.agent(broken, fast=True)
    assert "ModuleNotFoundError" in "\n".join(shown.value.seen)
    assert "not installed" in shown.value.cause


async def test_a_file_without_a_worker_is_told_so(sandbox: Sandbox, tmp_path: Path) -> None:
    """A file that runs to its end without a worker says what it lacks."""
    empty = tmp_path / "no_agent.py"
    empty.write_text("print('hello')\n")
    with pytest.raises(AgentError) as shown:
        await sandbox.agent(empty, fast=True)
    assert any("defines an AgentServer" in line for line in shown.value.seen)
    with pytest.raises(UsageError, match="no agent file"):
        await sandbox.agent(tmp_path / "missing.py")


async def test_a_server_that_nothing_runs_is_run(sandbox: Sandbox, tmp_path: Path) -> None:
    """A file for `lk agent start`, which only defines its AgentServer, is run all the same."""
    bare = tmp_path / "bare_agent.py"
    bare.write_text(
        "from livekit.agents import AgentServer, JobContext\n"
        "server = AgentServer()\n"
        "@server.rtc_session(agent_name='bare')\n"
        "async def entry(ctx: JobContext) -> None:\n"
        "    await ctx.connect()\n"
    )
    agent = await sandbox.agent(bare, fast=True)
    assert agent.name == "bare"
    await call_to(sandbox, agent)
    await agent.event("job.connected")


async def test_a_prewarm_that_fails_is_shown(sandbox: Sandbox) -> None:
    """The prewarm function raises: the worker takes the job and cannot run it. (S-AGT-11)"""
    agent = await sandbox.agent(worker("unprepared"), reuse=False)
    told = await agent.event("worker.prewarm_failed")
    assert told.data["error"] == "OSError: the model's file is not there"


async def test_a_rejected_job_goes_to_the_next_worker(sandbox: Sandbox) -> None:
    """reject(terminate=False): livekit-server asks another worker of that name. (S-AGT-10)"""
    no = await sandbox.agent(worker("rejecting"), name="desk")
    yes = await sandbox.agent(worker("tone"), name="desk")
    # Which worker is asked first is the server's choice: call until it was the one that rejects.
    for _ in range(12):
        call = await call_to(sandbox, yes)
        await call.answered(within=5)
        await call.hang_up()
        if any(
            e.data.get("agent") == no._id and e.name == "job.rejected" for e in sandbox.timeline
        ):
            break
    assert await no.refused(within=0.1) == "rejected"
    assert no.jobs() == []


async def test_a_rejection_for_good_ends_the_dispatch(sandbox: Sandbox) -> None:
    """reject(): no other worker is asked, and the caller rings until the timeout. (S-AGT-10)"""
    agent = await sandbox.agent(worker("terminating"))
    call = await call_to(sandbox, agent, ringing_timeout=1)
    refusal = await agent.event("job.rejected")
    assert (refusal.data["why"], refusal.data["terminate"]) == ("rejected", True)
    await call.rejected(486, within=4)
    assert agent.jobs() == []


async def test_a_request_that_is_not_answered_is_rejected_by_livekit_agents(
    sandbox: Sandbox,
) -> None:
    """The request function neither accepts nor rejects: livekit-agents rejects. (S-AGT-10)"""
    agent = await sandbox.agent(worker("ignoring"))
    call = await call_to(sandbox, agent, ringing_timeout=1)
    assert await agent.refused() == "ignored"
    await call.rejected(486, within=4)


async def test_a_worker_over_its_load_is_full(sandbox: Sandbox) -> None:
    """Load over the threshold: the worker says so, gets no job, and the caller gets 486.

    (S-AGT-13)
    """
    agent = await sandbox.agent(worker("full"), load_limit=True)
    told = await agent.event("worker.full", within=8)
    assert told.data["load"] == 0.9
    call = await call_to(sandbox, agent, ringing_timeout=1)
    await call.rejected(486, within=4)
    assert agent.jobs() == []


async def test_two_workers_of_one_name_share_the_calls(sandbox: Sandbox) -> None:
    """Each takes one call at a time: two calls at once are one for each. (S-AGT-13, S-AGT-16)"""
    one = await sandbox.agent(worker("single"), load_limit=True)
    two = await sandbox.agent(worker("single"), load_limit=True)
    assert one.name == two.name
    first = await call_to(sandbox, one)
    await first.answered(within=5)
    second = await call_to(sandbox, one)
    await second.answered(within=5)
    assert [len(one.jobs()), len(two.jobs())] == [1, 1]
    await asyncio.gather(first.hears_tone(VOICE), second.hears_tone(VOICE))


async def test_a_worker_that_comes_late_is_not_given_the_call(sandbox: Sandbox) -> None:
    """A call that found no worker is not offered to one that registers later. (S-AGT-15)"""
    number = await sandbox.inbound(agent="late", ringing_timeout=2)
    call = await sandbox.phone.dial(number)
    await sandbox.joined(call)
    agent = await sandbox.agent(worker("tone"), name="late", reuse=False)
    await call.rejected(486, within=5)
    assert agent.jobs() == []


async def test_a_draining_worker_finishes_its_call_and_takes_no_other(sandbox: Sandbox) -> None:
    """SIGTERM during a call: it goes on to its end, the next call rings out, then the worker ends.

    (S-AGT-14)
    """
    agent = await sandbox.agent(worker("tone"), reuse=False)
    call = await call_to(sandbox, agent)
    await call.answered(within=5)
    await call.hears_tone(VOICE)
    agent.drain()
    job = await agent.job()
    draining = await agent.event("worker.draining")
    assert draining.data["jobs"] == [job.id]
    second = await call_to(sandbox, agent, ringing_timeout=1)
    await second.rejected(486, within=4)
    assert call.state != "ended"
    await call.hang_up()
    assert await agent.exited(within=8) == 0
    assert len(agent.jobs()) == 1


async def test_a_worker_killed_in_mid_call_leaves_the_caller_in_silence(sandbox: Sandbox) -> None:
    """kill -9 of the worker and its jobs: the caller hears nothing more, and stays connected.

    (S-AGT-12)
    """
    agent = await sandbox.agent(worker("tone"), reuse=False)
    call = await call_to(sandbox, agent)
    await call.answered(within=5)
    await call.hears_tone(VOICE)
    agent.kill()
    assert await agent.exited() == -9
    await call.hears_silence(within=4)
    assert call.state != "ended"
    job = await agent.job()
    assert job.participant is not None
    assert job.participant.identity in await sandbox.room(job.room).participants()
    with pytest.raises(AgentError, match="its process ended, code -9"):
        await agent.job(number=2)
