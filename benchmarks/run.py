"""Measures the sandbox on this machine and prints tables: `make bench`.

Nothing here is asserted: a timing is a fact about a machine, never a test.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sandbox import Sandbox, Stack, StackOptions, Timeline
from sandbox.agents.worker import AgentHost
from sandbox.phone.client import Phone
from sandbox.stack.native import NativeEngine
from sandbox.stack.process import descendants
from sandbox.telephony.tracing import api_client
from sandbox.trace.timings import call_timings

console = Console(highlight=False)


@dataclass
class Bench:
    """A running stack, and a maker of scenarios on it."""

    stack: Stack
    new: Callable[[str], Sandbox]


@asynccontextmanager
async def running(engine: str, folder: Path) -> AsyncIterator[Bench]:
    """A stack with a phone, in `folder`."""
    timeline = Timeline()
    async with Stack(StackOptions(engine=engine, run_dir=folder), timeline) as stack:
        ends = stack.endpoints
        host = AgentHost(ends, timeline)
        async with (
            api_client(ends.livekit_url, ends.api_key, ends.api_secret, timeline) as client,
            await Phone.connect(
                ends.phone_url, ends.phone_token, timeline, log_path=folder / "phone.log"
            ) as phone,
        ):
            yield Bench(stack, lambda name: Sandbox(stack, client, phone, host, name))
            await host.stop()


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of `values` lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def row(values: Sequence[float], unit: float = 1000.0) -> list[str]:
    """Count, p50, p95 and max, in milliseconds."""
    return [
        str(len(values)),
        f"{statistics.median(values) * unit:.1f}",
        f"{percentile(values, 0.95) * unit:.1f}",
        f"{max(values) * unit:.1f}",
    ]


async def bench_start(engine: str, folder: Path, runs: int) -> None:
    """Stack start: each part, and the whole."""
    parts: dict[str, list[float]] = {}
    down: list[float] = []
    for number in range(runs):
        stack = Stack(StackOptions(engine=engine, run_dir=folder / f"start-{number}"), Timeline())
        await stack.start()
        for name, seconds in stack.engine.timings.items():
            parts.setdefault(name, []).append(seconds)
        started = time.perf_counter()
        await stack.stop()
        down.append(time.perf_counter() - started)
    table = Table("part", "runs", "p50 ms", "p95 ms", "max ms", title="stack start, from zero")
    for name, values in sorted(parts.items(), key=lambda item: statistics.median(item[1])):
        table.add_row(name, *row(values))
    table.add_row("(taking it down)", *row(down))
    console.print(table)


async def bench_empty(bench: Bench, runs: int) -> None:
    """What a scenario costs that does nothing."""
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        await bench.new("empty").close()
        seconds.append(time.perf_counter() - started)
    table = Table("", "runs", "p50 ms", "p95 ms", "max ms", title="overhead of an empty scenario")
    table.add_row("make and close", *row(seconds))
    console.print(table)


async def bench_setup(bench: Bench, calls: int) -> None:
    """Call set-up with somebody who already speaks in the room."""
    box = bench.new("set-up")
    number = await box.inbound()
    assert number.room is not None
    await number.room.join(tone=700)
    measured: dict[str, list[float]] = {}
    for _ in range(calls):
        call = await box.phone.dial(number, caller="+15550009999")
        await call.answered(within=10)
        await call.hears_tone(700, within=10)
        timings = call_timings(box.timeline.since(box.mark), call.id)
        for name in ("trying", "ringing", "answered", "first_rtp_received"):
            value = getattr(timings, name)
            if value is not None:
                measured.setdefault(name, []).append(value)
        await call.hang_up()
        await call.ended(within=5)
    await box.close()
    title = f"call set-up, one call after another ({bench.stack.endpoints.sip_service})"
    table = Table("INVITE to", "calls", "p50 ms", "p95 ms", "max ms", title=title)
    labels = {
        "trying": "100",
        "ringing": "180",
        "answered": "200",
        "first_rtp_received": "first RTP at the phone",
    }
    for name, values in measured.items():
        table.add_row(labels[name], *row(values))
    console.print(table)


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time of the processes so far, in seconds."""
    ticks = os.sysconf("SC_CLK_TCK")
    total = 0.0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += (int(fields[11]) + int(fields[12])) / ticks
    return total


def processes(bench: Bench) -> dict[str, int]:
    """The process id of each part of the stack."""
    if not isinstance(bench.stack.engine, NativeEngine):
        raise SystemExit("this is measured by process: --engine native")
    return bench.stack.engine.pids


async def bench_load(bench: Bench, calls: int, seconds: float) -> None:
    """CPU of each part while `calls` calls are up, two in a room, with a tone each."""
    box = bench.new("load")
    pids = processes(bench)
    up = []
    for _ in range(calls // 2):
        number = await box.inbound()
        pair = [await box.phone.dial(number, tone=400), await box.phone.dial(number, tone=900)]
        await asyncio.gather(*(call.answered(within=15) for call in pair))
        up += pair
    groups = {name: [pid, *descendants(pid)] for name, pid in pids.items()}
    before = {name: cpu_seconds(group) for name, group in groups.items()}
    started = time.perf_counter()
    await asyncio.sleep(seconds)  # the window that is measured, not a wait for anything
    took = time.perf_counter() - started
    title = f"CPU at {len(up)} calls, over {took:.1f} s"
    table = Table("part", "% of one core", "% for each call", title=title)
    for name, group in groups.items():
        used = (cpu_seconds(group) - before[name]) / took * 100
        table.add_row(name, f"{used:.0f}", f"{used / len(up):.2f}")
    stats = await asyncio.gather(*(call.stats() for call in up))
    lost = sum(stat.lost for stat in stats)
    received = sum(stat.packets_received for stat in stats)
    console.print(table)
    console.print(f"RTP at the phone: {received} packets received, {lost} lost")
    await box.close()


async def main() -> None:
    """Run the benchmarks one after another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", default="native")
    parser.add_argument("--calls", type=int, default=100, help="calls for the set-up times")
    parser.add_argument("--load", type=int, default=50, help="calls at once")
    parser.add_argument("--starts", type=int, default=10, help="starts of the stack")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sandbox-bench-") as name:
        folder = Path(name)
        await bench_start(options.engine, folder, options.starts)
        async with running(options.engine, folder / "run") as bench:
            await bench_empty(bench, 50)
            await bench_setup(bench, options.calls)
            await bench_load(bench, options.load, 5.0)


if __name__ == "__main__":
    asyncio.run(main())
