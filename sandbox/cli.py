"""The `sandbox` command: up, status, down, logs, demo, run-agent, call, doctor, setup."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from sandbox.errors import SandboxError, UsageError
from sandbox.explain.command import explain_command
from sandbox.stack import registry
from sandbox.stack.options import ENGINES, StackOptions
from sandbox.stack.stack import Stack
from sandbox.timeline import Event, Timeline
from sandbox.trace.commands import bundle_command, show_trace_command

__all__ = ["main"]

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def _fails_plainly(command: Callable[..., Any]) -> Callable[..., Any]:
    """Print a SandboxError as what it says, without a traceback, and exit with 1."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except SandboxError as error:
            errors.print(f"[bold red]error[/]: {error}", markup=True)
            sys.exit(1)

    return run


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="livekit-sip-sandbox")
def main() -> None:
    """Test LiveKit telephony on your own machine: real SIP, real RTP, real WebRTC."""


@main.command()
@_fails_plainly
def setup() -> None:
    """Install or build what the native engine needs (idempotent)."""
    from sandbox.stack import provision

    sys.exit(provision.main(["setup"]))


@main.command()
@click.option("--engine", type=click.Choice(ENGINES), default="auto", show_default=True)
@click.option("--name", default="main", show_default=True, help="tells several stacks apart")
@click.option("--keep-logs", type=click.Path(path_type=Path), help="keep the logs in this folder")
@_fails_plainly
def up(engine: str, name: str, keep_logs: Path | None) -> None:
    """Bring the stack up and stay in front with its live event log; Ctrl-C takes it down."""
    sys.exit(asyncio.run(_up(engine, name, keep_logs)))


async def _up(engine: str, name: str, keep_logs: Path | None) -> int:
    state = registry.claim(name)
    run_dir = keep_logs or Path(tempfile.mkdtemp(prefix="livekit-sip-sandbox-"))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    timeline = Timeline()
    stack = Stack(StackOptions(engine=engine, run_dir=run_dir, name=name), timeline)
    if stack.why:
        console.print(f"[dim]engine {stack.why}[/]")
    try:
        started = time.monotonic()
        endpoints = await stack.start()
        registry.publish(state, name, endpoints)
        for path in (state, *(() if keep_logs else (run_dir,))):
            stack.watch_path(path)
        console.print(f"[bold green]up[/] in {time.monotonic() - started:.2f} s\n")
        _print_endpoints(endpoints.env())
        console.print("\nCtrl-C takes it down. Events:", style="dim")
        timeline.subscribe(_print_event)
        await stop.wait()
    finally:
        await stack.stop()
        registry.forget(state)
        if keep_logs is None:
            shutil.rmtree(run_dir, ignore_errors=True)
    console.print("all down, nothing left", style="bold green")
    return 0


_LABELS = {
    "LIVEKIT_URL": "LiveKit URL",
    "LIVEKIT_API_KEY": "API key",
    "LIVEKIT_API_SECRET": "API secret",
    "SANDBOX_SIP_ADDRESS": "SIP address",
    "SANDBOX_SIP_SERVICE": "SIP service",
    "SANDBOX_SERVER_VERSION": "livekit-server",
    "SANDBOX_REDIS_ADDRESS": "redis",
    "SANDBOX_PHONE_URL": "phone",
    "SANDBOX_SIP_METRICS_URL": "SIP metrics",
    "SANDBOX_RUN_DIR": "logs",
}


def _print_endpoints(env: dict[str, str]) -> None:
    for key, label in _LABELS.items():
        if env.get(key):
            console.print(f"{label:>16}  {env[key]}", markup=False)


def _print_event(event: Event) -> None:
    stamp = time.strftime("%H:%M:%S", time.localtime(event.at))
    console.print(f"{stamp}.{int(event.at % 1 * 1000):03d}  {event}", markup=False)


def _one(name: str | None) -> registry.RunningStack:
    stacks = [stack for stack in registry.running() if name in (None, stack.name)]
    if not stacks:
        raise UsageError(
            "no stack is up" + (f" under the name {name!r}" if name else ""), remedy="sandbox up"
        )
    if len(stacks) > 1:
        raise UsageError(
            "several stacks are up", seen=[stack.name for stack in stacks], remedy="use --name"
        )
    return stacks[0]


@main.command()
@click.option("--name", help="which stack, when several are up")
@click.option("-o", "--output", type=click.Choice(["text", "env", "json"]), default="text")
@_fails_plainly
def status(name: str | None, output: str) -> None:
    """Show the endpoints of the running stack (exit 1 when none is up)."""
    stack = _one(name)
    if not stack.env:
        raise UsageError(
            f"stack {stack.name!r} is being started by process {stack.pid}", remedy="try again"
        )
    if output == "env":
        for key, value in stack.env.items():
            click.echo(f"export {key}={shlex.quote(value)}")
    elif output == "json":
        click.echo(json.dumps({"name": stack.name, "pid": stack.pid, **stack.env}, indent=2))
    else:
        console.print(f"stack {stack.name!r} is up, held by process {stack.pid}\n")
        _print_endpoints(stack.env)


@main.command()
@click.option("--name", help="which stack, when several are up")
@_fails_plainly
def down(name: str | None) -> None:
    """Take the running stack down, and wait until it is."""
    stack = _one(name)
    with contextlib.suppress(ProcessLookupError):
        holder = os.pidfd_open(stack.pid)
        os.kill(stack.pid, signal.SIGTERM)
        ready, _, _ = select.select([holder], [], [], 15)
        os.close(holder)
        if not ready:
            raise UsageError(
                f"process {stack.pid} did not end within 15 s", remedy=f"kill -9 {stack.pid}"
            )
    console.print("all down, nothing left", style="bold green")


@main.command()
@click.argument("service", required=False)
@click.option("--name", help="which stack, when several are up")
@click.option("-n", "--lines", default=40, show_default=True, help="how many of the last lines")
@click.option("-f", "--follow", is_flag=True, help="stay and print what comes")
@_fails_plainly
def logs(service: str | None, name: str | None, lines: int, follow: bool) -> None:
    """Print the logs of the running stack, of all parts or of one."""
    from sandbox.stack.process import last_lines

    folder = Path(_one(name).env["SANDBOX_RUN_DIR"])
    paths = sorted(folder.glob(f"{service or '*'}.log"))
    if not paths:
        parts = ", ".join(path.stem for path in sorted(folder.glob("*.log")))
        raise UsageError(f"no part {service!r}", seen=[f"there are {parts}"])
    for path in paths:
        for line in last_lines(path, lines):
            click.echo(f"{path.stem:<16} {line}")
    if follow:
        tail = shutil.which("tail")
        if tail is None:
            raise UsageError("--follow needs the program tail")
        os.execv(tail, [tail, "-n0", "-F", *map(str, paths)])


@main.command()
@click.option("--engine", type=click.Choice(ENGINES), default="auto", show_default=True)
@_fails_plainly
def demo(engine: str) -> None:
    """Place one real call: phone, SIP, LiveKit room, agent; and show what happened."""
    from sandbox.demo import run_demo

    sys.exit(asyncio.run(run_demo(engine, console)))


@main.command("run-agent", context_settings={"ignore_unknown_options": True})
@click.argument("file")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("--engine", type=click.Choice(ENGINES), default="auto", show_default=True)
@click.option("--name", default="main", show_default=True, help="of the stack")
@click.option("--number", default="+15550100", show_default=True, help="the number to call")
@click.option("--agent-name", help="register under this name instead of the file's own")
@click.option("--metadata", default="", help="of the dispatch, seen as job.metadata")
@click.option(
    "--map",
    "headers",
    multiple=True,
    metavar="HEADER=ATTRIBUTE",
    help="headers_to_attributes; X- headers are there as sip.h.x-… without it",
)
@click.option("--python", type=click.Path(path_type=Path), help="the agent's interpreter")
@_fails_plainly
def run_agent(
    file: str, arguments: tuple[str, ...], headers: tuple[str, ...], **options: Any
) -> None:
    """Bring a stack and your agent up, with a number to call; Ctrl-C takes both down.

    FILE is run as `python FILE start` would (or with ARGUMENTS instead of `start`), with this
    stack's LIVEKIT_URL and keys. Call it with `sandbox call` from a second terminal.
    """
    from sandbox.run_agent import AgentRun
    from sandbox.run_agent import run_agent as run

    order = AgentRun(
        file=file, arguments=arguments or ("start",), headers=_pairs("--map", headers), **options
    )
    sys.exit(asyncio.run(run(order, console)))


def _pairs(option: str, given: tuple[str, ...]) -> dict[str, str]:
    """The values of an option that takes NAME=VALUE."""
    for text in given:
        if "=" not in text:
            raise UsageError(f"{option} {text}: no =", remedy=f"{option} NAME=VALUE")
    return dict(text.split("=", 1) for text in given)


class _InOrder(click.Command):
    """Keeps the order of its repeated options: what a caller does, one after the other."""

    STEPS = ("say", "say_exactly", "dtmf")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given, _, order = self.make_parser(ctx).parse_args(args=list(args))
        values = {name: iter(given.get(name) or ()) for name in self.STEPS}
        ctx.obj = [(p.name, next(values[p.name])) for p in order if p.name in values]
        return super().parse_args(ctx, args)


@main.command(cls=_InOrder)
@click.argument("number", required=False)
@click.option("--say", multiple=True, help="speak (needs the extra: livekit-sip-sandbox[speech])")
@click.option("--say-exactly", multiple=True, help="say in the tone alphabet, to the letter")
@click.option("--dtmf", multiple=True, help="press keys")
@click.option("--header", multiple=True, metavar="NAME=VALUE", help="of the INVITE")
@click.option("--caller", default="+15550199", show_default=True, help="the phone's number")
@click.option("--seconds", default=30.0, show_default=True, help="hang up after so long")
@click.option("--name", help="which stack, when several are up")
@click.pass_context
@_fails_plainly
def call(ctx: click.Context, number: str | None, header: tuple[str, ...], **options: Any) -> None:
    """Call NUMBER (by default that of `sandbox run-agent`), talk, and show what came back.

    --say, --say-exactly and --dtmf may be repeated; each waits until the other end has stopped
    talking. At the end: the SIP ladder and the timings.
    """
    from sandbox.call_command import CallOrder, number_of, place_call

    stack = _one(options["name"])
    order = CallOrder(
        stack=stack,
        number=number_of(stack, number),
        caller=options["caller"],
        headers=list(_pairs("--header", header).items()),
        steps=ctx.obj,
        seconds=options["seconds"],
    )
    sys.exit(asyncio.run(place_call(order, console)))


@main.command()
@_fails_plainly
def doctor() -> None:
    """Check what a stack under Docker Compose needs; each line with the command that mends it."""
    from sandbox.doctor import run_doctor

    sys.exit(run_doctor(console))


main.add_command(explain_command)
main.add_command(show_trace_command)
main.add_command(bundle_command)


if __name__ == "__main__":
    main()
