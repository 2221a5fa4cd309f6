"""A second stack, whose SIP service a scenario may configure, stop and start as it likes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml

from sandbox import Sandbox, Stack, StackOptions, Timeline
from sandbox.stack.parts import Part
from sandbox.stack.ports import is_free
from sandbox.stack.readiness import redis_says, until
from tests.e2e.wire import Wire

#: What livekit-server logs when it is asked to end.
_EXITING = "exit requested, shutting down"


class Side:
    """The second stack.

    Attributes:
        sandbox: a scenario's view of it.
        wire: a SIP user agent of raw sockets.
        sip: the SIP service that runs; None if it was stopped.
    """

    def __init__(self, stack: Stack, sandbox: Sandbox, wire: Wire, rtp: tuple[int, int]) -> None:
        self.sandbox = sandbox
        self.wire = wire
        self.sip: Part | None = stack.part("sip")
        if not self.sip.running:
            self.sip = None
        self._stack = stack
        self._rtp = rtp
        self._others: list[Part] = []
        self._channels: set[str] = set()

    def log(self, name: str = "sip") -> str:
        """The log of the SIP service, or of another part."""
        return self._stack.part(name).log.read_text(errors="replace")

    async def stop(self) -> None:
        """End the SIP service, and every other that was started."""
        for part in (self.sip, *self._others):
            if part is not None:
                await part.stop(grace=1.0)
        self.sip = None
        self._others.clear()

    async def run(self, name: str, **changes: Any) -> Part:
        """Start a SIP service with `changes` over its configuration, ready or not."""
        part = await self._stack.start_part("sip", name, changes, wait=False)
        self._others.append(part)
        await self._follow()
        return part

    async def start(self, **changes: Any) -> Part:
        """Start the SIP service anew, with `changes` laid over its configuration."""
        self.sip = part = await self._stack.start_part("sip", "sip", changes)
        await self._follow()
        return part

    async def _follow(self) -> None:
        """It may have another address now."""
        self.sandbox.moved()
        await self.wire.close()
        self.wire = await Wire(self._stack.endpoints, self._stack.timeline).open()

    async def second(self) -> Part:
        """Start another SIP service beside the first."""
        part = await self._stack.start_part("sip", "sip-2")
        self._others.append(part)
        return part

    async def crash(self, part: str) -> None:
        """Kill `livekit-server` or `redis`; it is started anew by `restart`, or at the end."""
        if part == "redis":
            self._channels = await self._redis("PUBSUB CHANNELS")
            # A redis that keeps its data: it reads at its start what it writes here.
            await self._redis("SAVE")
        await self._stack.part(part).stop(number=signal.SIGKILL)

    async def shut_down(self) -> None:
        """Have livekit-server end: asked once it lets rooms go on, asked twice it does not."""
        name = "livekit-server"
        server, asked = self._stack.part(name), self.log(name).count(_EXITING)

        async def heard() -> bool:
            return self.log(name).count(_EXITING) > asked

        await server.send_signal(signal.SIGINT)
        assert await until(heard, within=5)
        await server.send_signal(signal.SIGINT)
        await asyncio.wait_for(asyncio.shield(server.exited), 10)

    async def restart(self, part: str) -> None:
        """Start `livekit-server` or `redis` anew.

        redis is back when livekit-server and the SIP service listen to it as they did before, and
        livekit-server has said there anew that it lives (every 2 s): its word from before is too
        old 5 s later, and then it finds no node for a room.
        """
        await self._revive(part)
        if part != "redis":
            return

        async def heard() -> bool:
            return self._channels <= await self._redis("PUBSUB CHANNELS")

        said = await self._redis("HVALS nodes")

        async def lives() -> bool:
            return await self._redis("HVALS nodes") != said

        assert await until(heard, within=10), "not everybody came back to redis"
        assert await until(lives, within=10), "livekit-server did not say that it lives"

    async def _revive(self, part: str) -> None:
        await self._stack.restart(part)
        self.sandbox.moved()
        # The next stack in this folder is to begin without it.
        for saved in self._stack.endpoints.run_dir.glob("**/dump.rdb"):
            saved.unlink()

    async def _redis(self, command: str) -> set[str]:
        """Ask redis; the texts of its answer."""
        host, _, port = self._stack.endpoints.redis_address.rpartition(":")
        (said,) = await redis_says(host, int(port), command)
        return said

    def frozen(self, part: str) -> AbstractAsyncContextManager[None]:
        """Have a part stand still for a while, as if it hung."""
        return self._stack.part(part).frozen()

    async def redis(self) -> str:
        """Start another redis; its address."""
        part = await self._stack.start_part("redis", "redis-2")
        self._others.append(part)
        return part.address

    async def health(self) -> tuple[int, str]:
        """Status and text of the health endpoint."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(self.sandbox.endpoints.sip_health_url) as answer,
        ):
            return answer.status, (await answer.text()).strip()

    def one_rtp_port(self) -> str:
        """A `rtp_port` that is good for one call: an even port that nobody has."""
        host = self.sandbox.endpoints.sip_host
        # On loopback the phones of other runs take their RTP ports anywhere.
        shared = host.startswith("127.")
        first, last = self._rtp
        port = next(p for p in range(first, last, 2) if not shared or is_free(host, p))
        return f"{port}-{port + 1}"

    async def close(self) -> None:
        """End what was started, and start anew what was ended of the stack."""
        await self.wire.close()
        # These first: a container takes the lowest address that is free, and is to get its own.
        for part in ("redis", "livekit-server"):
            if not self._stack.part(part).running:
                await self._revive(part)
        await self.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def side_stack(sandbox_stack: Stack, sandbox_output: Path) -> AsyncIterator[Stack]:
    """A second stack, of the same engine."""
    if sandbox_stack.why_fixed:
        pytest.skip(sandbox_stack.why_fixed)
    name = f"{sandbox_stack.options.name}-ops"
    options = StackOptions(
        engine=sandbox_stack.engine.name, run_dir=sandbox_output / f"stack-{name}", name=name
    )
    async with Stack(options, Timeline()) as stack:
        yield stack


@pytest.fixture(scope="session")
def side_rtp(side_stack: Stack) -> tuple[int, int]:
    """The RTP ports that its SIP service began with."""
    config = yaml.safe_load((side_stack.options.run_dir / "sip.yaml").read_text())
    first, _, last = config["rtp_port"].partition("-")
    return int(first), int(last)


@pytest_asyncio.fixture(loop_scope="session")
async def side(
    side_stack: Stack,
    side_rtp: tuple[int, int],
    sandbox_scenario: Callable[[Stack], AbstractAsyncContextManager[Sandbox]],
) -> AsyncIterator[Side]:
    """The second stack, for one scenario."""
    async with sandbox_scenario(side_stack) as box:
        wire = await Wire(side_stack.endpoints, side_stack.timeline).open()
        side = Side(side_stack, box, wire, side_rtp)
        try:
            yield side
        finally:
            await side.close()
