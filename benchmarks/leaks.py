"""Places many short calls and looks at what the SIP service has left over of them.

Goroutines, descriptors and RTP sockets must be back where they were before; the script waits for
that, says how long it took, and fails if it does not come: `python -m benchmarks.leaks`.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from rich.table import Table

from benchmarks.run import Bench, console, processes, running
from sandbox import Line, Sandbox
from sandbox.stack.process import descendants

# A BYE or CANCEL that is not answered is repeated for 32 s. And of a WebSocket that livekit-server
# has closed, server-sdk-go leaves the descriptor to Go's garbage collector, which runs every two
# minutes where nothing is allocated.
SETTLED_WITHIN = 150.0
# WebRTC takes a connection down that far after its peer is gone.
QUIET = 12.0
WARM_UP = 20
PEER_TONE = 700
LINES = 4


@dataclass(frozen=True)
class Usage:
    """What the SIP service holds at one moment.

    The connections to Redis are a pool, which grows with the calls at once, and are no descriptors.
    """

    goroutines: int
    descriptors: int
    redis_pool: int
    udp_sockets: int
    active: int
    memory_mb: int

    def settled(self, start: Usage) -> bool:
        """Whether nothing is held any more that was not at `start`."""
        return (
            self.goroutines <= start.goroutines
            and self.descriptors <= start.descriptors
            and self.udp_sockets <= start.udp_sockets
            and self.active == 0
        )


async def usage(bench: Bench, pid: int) -> Usage:
    """The metrics of the service, and its UDP sockets (one for SIP, the rest RTP and WebRTC)."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(bench.stack.endpoints.sip_metrics_url) as answer,
    ):
        text = await answer.text()

    def metric(name: str) -> int:
        values = re.findall(rf"(?m)^{name}(?:\{{.*\}})? (\S+)$", text)
        return round(sum(float(value) for value in values))

    pids = [pid, *descendants(pid)]
    redis = connections_to(bench.stack.endpoints.redis_address, pids)
    return Usage(
        metric("go_goroutines"),
        metric("process_open_fds") - redis,
        redis,
        udp_sockets(pids),
        metric("livekit_sip_calls_active"),
        metric("process_resident_memory_bytes") // 2**20,
    )


def udp_sockets(pids: list[int]) -> int:
    """How many UDP sockets the processes have open."""
    inodes = {line[9] for table in ("udp", "udp6") for line in socket_table(table)}
    return len(inodes & sockets_of(pids))


def connections_to(address: str, pids: list[int]) -> int:
    """How many TCP connections the processes have to the port of `address`."""
    port = f":{int(address.rpartition(':')[2]):04X}"
    lines = socket_table("tcp") + socket_table("tcp6")
    inodes = {line[9] for line in lines if line[2].endswith(port)}
    return len(inodes & sockets_of(pids))


def socket_table(name: str) -> list[list[str]]:
    """The lines of /proc/net/`name`; field 2 is the remote address, field 9 the inode."""
    return [line.split() for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]


def sockets_of(pids: list[int]) -> set[str]:
    """The inodes of all sockets of the processes."""
    inodes = set()
    for pid in pids:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = str(entry.readlink())
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    return inodes


async def settle(bench: Bench, pid: int, start: Usage | None) -> tuple[Usage, float]:
    """Wait until it is as at `start`, or, without one, until nothing changes any more."""
    began = time.perf_counter()
    last, since = await usage(bench, pid), began
    while time.perf_counter() - began < SETTLED_WITHIN:
        await asyncio.sleep(0.5)
        now = await usage(bench, pid)
        if start is not None and now.settled(start):
            return now, time.perf_counter() - began
        if (now.goroutines, now.descriptors) != (last.goroutines, last.descriptors):
            since = time.perf_counter()
        last = now
        if start is None and time.perf_counter() - since > QUIET and now.active == 0:
            break
    return last, time.perf_counter() - began


class Calls:
    """Short calls of all kinds."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        #: Lines that answer, each with a trunk to it, and in one call at a time.
        self.free: asyncio.Queue[tuple[Line, Any]] = asyncio.Queue()
        self.outcomes: Counter[str] = Counter()

    async def prepare(self) -> None:
        """A number with somebody there, one with nobody, a line that answers, a busy one."""
        self.answered = await self.box.inbound()
        assert self.answered.room is not None
        await self.answered.room.join(tone=PEER_TONE)
        self.alone = await self.box.inbound()
        for _ in range(LINES):
            line = await self.box.phone.line()
            await line.answers()
            trunk = await self.box.outbound_trunk(line.address, numbers=["+15550001"])
            self.free.put_nowait((line, trunk))
        self.busy = await self.box.phone.line()
        await self.busy.rejects(486)
        self.busy_trunk = await self.box.outbound_trunk(self.busy.address)

    async def one(self, number: int) -> None:
        """One call; its kind goes by its number."""
        kinds = (self.hung_up, self.hung_up, self.cancelled, self.placed, self.refused)
        kind = kinds[number % len(kinds)]
        try:
            await kind(number)
            self.outcomes[kind.__name__] += 1
        except Exception as error:
            self.outcomes[f"{kind.__name__}: {error!s:.120}"] += 1

    async def hung_up(self, number: int) -> None:
        """A call in that is answered; the caller hangs up."""
        call = await self.box.phone.dial(self.answered, caller=f"+1777{number:06}")
        await call.answered(within=20)
        await call.hang_up()
        await call.ended(within=10)

    async def cancelled(self, number: int) -> None:
        """A call in that rings and is cancelled."""
        call = await self.box.phone.dial(self.alone, caller=f"+1888{number:06}")
        await call.response(180, within=20)
        await call.cancel()
        await call.ended(within=10)

    async def placed(self, number: int) -> None:
        """A call out that is answered; the participant is removed."""
        line, trunk = await self.free.get()
        try:
            out = await self.box.call_out(
                trunk, line.number, wait=True, ringing_timeout=5, participant_identity=f"o-{number}"
            )
            call = await line.incoming(within=5)
            await out.room.remove(out.identity)
            await call.ended(within=10)
            await out.room.delete()
        finally:
            self.free.put_nowait((line, trunk))

    async def refused(self, number: int) -> None:
        """A call out to a busy line."""
        out = await self.box.call_out(
            self.busy_trunk, self.busy.number, participant_identity=f"busy-{number}"
        )
        await out.room.left(out.identity, within=10)
        await out.room.delete()


async def many(calls: Calls, numbers: range, at_once: int) -> None:
    """Place the calls, a few at a time."""
    todo = iter(numbers)

    async def worker() -> None:
        for number in todo:
            await calls.one(number)

    await asyncio.gather(*(worker() for _ in range(at_once)))


async def main() -> int:
    """Place the calls and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sandbox-leaks-") as name:
        async with running("native", Path(name)) as bench:
            pid = processes(bench)["sip"]
            box = bench.new("leaks")
            calls = Calls(box)
            await calls.prepare()
            await many(calls, range(WARM_UP), options.at_once)
            calls.outcomes.clear()
            before, _ = await settle(bench, pid, None)
            began = time.perf_counter()
            await many(calls, range(WARM_UP, WARM_UP + options.calls), options.at_once)
            took = time.perf_counter() - began
            right_after = await usage(bench, pid)
            after, waited = await settle(bench, pid, before)
            await box.close()
            title = f"{options.calls} calls in {took:.0f} s ({bench.stack.endpoints.sip_service})"
            table = Table("", "before", "right after", f"{waited:.0f} s later", title=title)
            for label, field in (
                ("goroutines", "goroutines"),
                ("descriptors", "descriptors"),
                ("connections to Redis, besides", "redis_pool"),
                ("UDP sockets", "udp_sockets"),
                ("calls active", "active"),
                ("resident memory, MB", "memory_mb"),
            ):
                values = (getattr(u, field) for u in (before, right_after, after))
                table.add_row(label, *(str(value) for value in values))
            console.print(table)
            console.print("; ".join(f"{k} {v}" for k, v in sorted(calls.outcomes.items())))
            if not after.settled(before):
                console.print("[red]not back at the start[/red]")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
