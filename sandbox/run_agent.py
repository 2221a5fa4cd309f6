"""`sandbox run-agent`: a stack, your agent, and a number to call, in front of a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from livekit import api
from rich.console import Console
from rich.text import Text

from sandbox.agents.order import order_for
from sandbox.agents.running import AgentProcesses, Running
from sandbox.stack import registry
from sandbox.stack.options import StackOptions
from sandbox.stack.stack import Stack
from sandbox.telephony.inbound import build_rule, build_trunk
from sandbox.telephony.tracing import api_client
from sandbox.timeline import Event, Timeline

__all__ = ["AgentRun", "run_agent"]

#: The number that reaches the agent, unless another is given: of a range that is for fiction.
NUMBER = "+15550100"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRun:
    """What `sandbox run-agent` was asked for.

    Attributes:
        file: the agent's file, or `file.py:name`.
        engine: of the stack.
        name: of the stack, where several are up.
        number: what is called.
        agent_name: instead of the file's own.
        metadata: of the dispatch, seen as `job.metadata`.
        headers: of the INVITE, to the attributes that they become.
        python: the agent's interpreter, None for ours.
        arguments: the file's command line.
    """

    file: str
    engine: str
    name: str
    number: str
    agent_name: str | None
    metadata: str
    headers: dict[str, str]
    python: Path | None
    arguments: tuple[str, ...]


async def run_agent(run: AgentRun, console: Console) -> int:
    """Bring everything up, stay until Ctrl-C or the agent's end, and take everything down.

    Returns:
        The exit code: 0 after Ctrl-C, 1 when the agent ended by itself.

    Raises:
        UsageError: there is no such file, or a stack of this name is up.
        AgentError: the agent did not start; its last lines are shown.
    """
    order = order_for(
        run.file,
        name=run.agent_name,
        fast=False,
        arguments=run.arguments,
        python=run.python,
    )
    state = registry.claim(run.name)
    run_dir = Path(tempfile.mkdtemp(prefix="livekit-sip-sandbox-"))
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    timeline = Timeline()
    stack = Stack(StackOptions(engine=run.engine, run_dir=run_dir, name=run.name), timeline)
    if stack.why:
        console.print(f"[dim]engine {stack.why}[/]")
    processes: AgentProcesses | None = None
    code = 0
    try:
        started = time.monotonic()
        ends = await stack.start()
        stack.watch_path(state)
        stack.watch_path(run_dir)
        _line(console, "stack", f"up in {time.monotonic() - started:.2f} s: {ends.sip_service}")
        processes = AgentProcesses(ends, timeline)
        started = time.monotonic()
        _line(console, "agent", f"starting {Path(order.target).name} …")
        taking = asyncio.create_task(processes.take(order, on_output=_Output(console).feed))
        await _first(stop, taking)
        if not taking.done():
            taking.cancel()
            return 0
        running = await taking
        took = time.monotonic() - started
        named = f"as {running.name!r}" if running.name else "without a name (automatic dispatch)"
        _line(console, "agent", f"registered {named} in {took:.2f} s, process {running.pid}")
        await _number(stack, run, running)
        registry.publish(state, run.name, ends, {"SANDBOX_NUMBER": run.number})
        _line(console, "call", f'{run.number}   in another terminal: sandbox call --say "hello"')
        _line(console, "", f"or from any SIP phone: sip:{run.number}@{ends.sip_address}")
        _line(console, "", "Ctrl-C takes it down")
        timeline.subscribe(lambda event: _show(console, event))
        await _first(stop, running.ended)
        code = 0 if stop.is_set() else 1
        if code:
            _line(console, "agent", f"ended by itself, code {running.ended.result()}")
    finally:
        if processes is not None:
            await _end_rooms(stack)
            await processes.stop()
        await stack.stop()
        registry.forget(state)
        shutil.rmtree(run_dir, ignore_errors=True)
    console.print("all down, nothing left", style="bold green")
    return code


async def _first(stop: asyncio.Event, other: asyncio.Future[Any]) -> None:
    """Wait for Ctrl-C or `other`."""
    asked = asyncio.ensure_future(stop.wait())
    both: set[asyncio.Future[Any]] = {asked, other}
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()


async def _number(stack: Stack, run: AgentRun, running: Running) -> None:
    """A trunk and a rule: each call to the number gets a room of its own and the agent."""
    ends = stack.endpoints
    agents = []
    if running.name:
        agents.append(api.RoomAgentDispatch(agent_name=running.name, metadata=run.metadata))
    async with api_client(
        ends.livekit_url, ends.api_key, ends.api_secret, stack.timeline
    ) as client:
        trunk = await client.sip.create_inbound_trunk(
            api.CreateSIPInboundTrunkRequest(
                trunk=build_trunk(
                    {
                        "name": "run-agent",
                        "numbers": [run.number],
                        # What `sandbox call --header` sends is there as sip.h.x-… .
                        "include_headers": api.SIPHeaderOptions.SIP_X_HEADERS,
                        "headers_to_attributes": run.headers,
                    }
                )
            )
        )
        rule = build_rule(
            "individual",
            agents=agents,
            trunk_ids=[trunk.sip_trunk_id],
            name="run-agent",
            room_prefix="call",
        )
        await client.sip.create_dispatch_rule(api.CreateSIPDispatchRuleRequest(dispatch_rule=rule))


async def _end_rooms(stack: Stack) -> None:
    """End the calls, and the rooms that callers have left: a worker drains until its jobs are over.

    Only on a stack of ours: the rooms of a deployment that was attached to are not ours to end. A
    livekit-server that is gone, or hangs, has no rooms.
    """
    ends = stack.endpoints
    if ends.engine == "attach":
        return
    with contextlib.suppress(api.TwirpError, aiohttp.ClientError, OSError):
        async with (
            asyncio.timeout(2.0),
            api_client(ends.livekit_url, ends.api_key, ends.api_secret, stack.timeline) as client,
        ):
            rooms = (await client.room.list_rooms(api.ListRoomsRequest())).rooms
            # One that ends meanwhile is not found.
            await asyncio.gather(
                *(client.room.delete_room(api.DeleteRoomRequest(room=room.name)) for room in rooms),
                return_exceptions=True,
            )


def _line(console: Console, label: str, text: str) -> None:
    console.print(Text.assemble((f"{label:>8}  ", "bold cyan"), text))


def _readable(line: str) -> Text:
    """A line of the agent's log; production's JSON is shown as level, logger and message."""
    try:
        record = json.loads(line)
        level, name, message = record["level"], record["name"], str(record["message"])
    except (ValueError, TypeError, KeyError):
        return Text.from_ansi(line)
    style = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}.get(level, "dim")
    text = message if len(message) <= 160 else message[:159] + "…"
    shown = Text.assemble((f"{level:<8}", style), (f"{name}  ", "dim"), text)
    trace = record.get("exc_info") or record.get("exception")
    return Text.assemble(shown, ("\n" + str(trace), "red")) if trace else shown


class _Output:
    """Shows what the agent prints, line by line."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rest = b""

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            text = _readable(line.decode(errors="replace").rstrip())
            if text.plain.strip():
                self._console.print(Text.assemble((f"{'agent':>8}  ", "dim"), ("│ ", "dim"), text))


def _show(console: Console, event: Event) -> None:
    """A line for what the agent did: its calls, what was said, how it ended."""
    data = event.data
    who = data.get("participant", {}).get("identity", "")
    texts = {
        "job.accepted": ("job", f"{data.get('job')} accepted"),
        "job.participant": ("caller", f"{data.get('identity')} in room {data.get('room')}"),
        "job.dtmf": ("digit", str(data.get("digit"))),
        "job.failed": ("job", f"raised {data.get('error')}"),
        "job.ended": ("job", f"ended: {data.get('reason')}"),
        "job.rejected": ("job", f"refused: {data.get('why')}"),
        "session.started": ("session", "started"),
        "session.message": (str(data.get("role")), str(data.get("text"))),
        "session.tool": (
            "tool",
            f"{data.get('tool')}({data.get('arguments')}) → {data.get('output')}",
        ),
        "session.error": ("error", str(data.get("error"))),
        "session.closed": ("session", f"closed: {data.get('reason')} {data.get('error') or ''}"),
        "webhook.participant_left": ("left", who),
    }
    if event.name in texts:
        label, text = texts[event.name]
        stamp = time.strftime("%H:%M:%S", time.localtime(event.at))
        thousandths = int(event.at % 1 * 1000)
        console.print(
            Text.assemble(
                (f"{label:>8}  ", "bold green"), text, (f"   {stamp}.{thousandths:03d}", "dim")
            )
        )
