"""`make demo`: one real call through everything, shown step by step."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from pathlib import Path

from rich.console import Console

from sandbox.agents.jobs import Job
from sandbox.agents.worker import AgentHost
from sandbox.core import Sandbox
from sandbox.phone.client import Phone
from sandbox.stack.options import StackOptions
from sandbox.stack.stack import Stack
from sandbox.telephony.tracing import api_client
from sandbox.timeline import Timeline
from sandbox.trace.ladder import ladder_text, rungs
from sandbox.trace.timings import CallTimings, call_timings

__all__ = ["run_demo"]

_CALLER_TONE = 440.0


class _Steps:
    """Prints each step with its time."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = time.monotonic()

    def done(self, text: str) -> None:
        now = time.monotonic()
        took = f"{now - self._last:.2f} s"
        self._console.print(f"  [green]✓[/] {text:<76} [dim]{took:>8}[/]")
        self._last = now

    def title(self, text: str) -> None:
        self._console.print(f"\n[bold]{text}[/]")


async def run_demo(engine: str, console: Console) -> int:
    """Bring the stack up, place the call, show what happened, take everything down.

    Returns:
        The exit code: 0 when every check of the call held.
    """
    run_dir = Path(tempfile.mkdtemp(prefix="livekit-sip-sandbox-"))
    timeline = Timeline()
    stack = Stack(StackOptions(engine=engine, run_dir=run_dir, name="demo"), timeline)
    steps = _Steps(console)
    try:
        steps.title("Stack")
        await stack.start()
        stack.watch_path(run_dir)
        await _call(stack, console, steps)
    except BaseException:
        kept = run_dir.with_name(run_dir.name + "-failed")
        await stack.stop()
        shutil.copytree(run_dir, kept)
        console.print(f"\n[red]the demo failed[/]; the logs of its parts are in {kept}")
        raise
    finally:
        await stack.stop()
        shutil.rmtree(run_dir, ignore_errors=True)
    console.print("\n[bold green]all down, nothing left[/]")
    return 0


async def _call(stack: Stack, console: Console, steps: _Steps) -> None:
    ends = stack.endpoints
    timeline = stack.timeline
    took = stack.engine.timings
    parts = ", ".join(f"{name} {took[name]:.2f} s" for name in took if name != "total")
    steps.done(f"up ({parts})")
    for label, value in (
        ("engine", ends.engine),
        ("LiveKit URL", f"{ends.livekit_url}   (livekit-server {ends.server_version})"),
        ("SIP address", ends.sip_address),
        ("SIP service", ends.sip_service),
        ("redis", ends.redis_address),
        ("phone", ends.phone_url),
    ):
        console.print(f"    {label:<12} {value}")
    host = AgentHost(ends, timeline)
    async with (
        api_client(ends.livekit_url, ends.api_key, ends.api_secret, timeline) as client,
        await Phone.connect(
            ends.phone_url, ends.phone_token, timeline, log_path=ends.run_dir / "phone.log"
        ) as phone,
    ):
        box = Sandbox(stack, client, phone, host, "demo")
        try:
            steps.title("Set-up")
            agent = await box.agent(name="order-desk")
            steps.done("agent worker order-desk registered (livekit-agents)")
            number = await box.inbound(
                headers_to_attributes={"X-Order-Id": "order.id"},
                agent=agent.name,
                agent_metadata='{"tenant": "acme"}',
            )
            steps.done(f"trunk {number.trunk_id} and rule {number.rule_id} for {number.number}")

            steps.title("Call")
            call = await box.phone.dial(number, headers={"X-Order-Id": "42"}, tone=_CALLER_TONE)
            job = await agent.job(within=10)
            assert job.participant is not None
            steps.done("dialled with X-Order-Id: 42; the agent got a job and saw the caller")
            await call.answered(within=5)
            steps.done("answered: the agent published audio, 200 OK")
            await asyncio.gather(
                call.hears_tone(agent.tone, within=5),
                agent.hears_tone(_CALLER_TONE, of=job.participant.identity, within=5),
            )
            steps.done(
                f"the phone hears the agent ({agent.tone:g} Hz), "
                f"the agent hears the phone ({_CALLER_TONE:g} Hz)"
            )
            await call.send_dtmf("12#")
            agent.send_dtmf("7")
            await asyncio.gather(agent.dtmf("12#", within=5), call.dtmf("7", within=5))
            steps.done("DTMF: the agent received 12#, the phone received 7")
            await call.hang_up()
            reason = await agent.job_ended(reason="CLIENT_INITIATED")
            steps.done(f"the phone hung up; the job ended with {reason}")
        finally:
            await box.close()
            await host.stop()
        steps.done("trunk, rule, room and agent are gone")
        events = timeline.since(box.mark)
        steps.title("SIP ladder (seconds)")
        for line in ladder_text(rungs(events, call.id), right=ends.sip_service.split(" (")[0]):
            console.print("  " + line, markup=False)
        _what_the_agent_saw(console, steps, job)
        steps.title("Call timings (seconds from the INVITE)")
        _timings(console, call_timings(events, call.id))


def _what_the_agent_saw(console: Console, steps: _Steps, job: Job) -> None:
    steps.title("What the agent saw")
    assert job.participant is not None
    console.print(f"    job          {job.id} in room {job.room}", markup=False)
    console.print(f"    metadata     {job.metadata}", markup=False)
    console.print(
        f"    participant  {job.participant.identity} ({job.participant.name})", markup=False
    )
    for key, value in sorted(job.participant.attributes.items()):
        console.print(f"    {key:<22} {value}", markup=False)


def _timings(console: Console, timings: CallTimings) -> None:
    for label, value in (
        ("100 Processing", timings.trying),
        ("180 Ringing", timings.ringing),
        ("200 OK", timings.answered),
        ("first RTP from the phone", timings.first_rtp_sent),
        ("first RTP to the phone", timings.first_rtp_received),
        ("end of the call", timings.ended),
    ):
        console.print(f"    {label:<26} {'not seen' if value is None else f'{value:8.3f}'}")
