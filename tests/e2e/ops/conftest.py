"""A second stack, whose SIP service a scenario may configure, stop and start as it likes."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml

from sandbox import Phone, Sandbox, Stack, StackOptions, Timeline
from sandbox.agents.worker import AgentHost
from sandbox.stack import provision
from sandbox.stack.configs import merged
from sandbox.stack.native import NativeEngine
from sandbox.stack.ports import PortBlock
from sandbox.stack.process import Child, Reaper
from sandbox.stack.readiness import http_ok, redis_answers, sip_answers, until
from sandbox.telephony.tracing import api_client
from tests.e2e.wire import Wire

HOST = "127.0.0.1"


@functools.cache
def _program() -> Path:
    # Once: where the stand-in's sources are edited meanwhile, it would be built again.
    return provision.sip_service().path


class Side:
    """The second stack.

    Attributes:
        sandbox: a scenario's view of it.
        wire: a SIP user agent of raw sockets.
        sip: the SIP service that runs; None if it was stopped.
    """

    def __init__(self, engine: NativeEngine, sandbox: Sandbox, wire: Wire, reaper: Reaper) -> None:
        self.sandbox = sandbox
        self.wire = wire
        self.sip: Child | None = engine.child("sip")
        self._engine = engine
        self._reaper = reaper
        self._others: list[Child] = []
        self._blocks: list[PortBlock] = []
        self._config: dict[str, Any] = yaml.safe_load(self.run_dir.joinpath("sip.yaml").read_text())

    @property
    def run_dir(self) -> Path:
        """Where its logs are."""
        return self.sandbox.endpoints.run_dir

    @property
    def config(self) -> dict[str, Any]:
        """The configuration that its SIP service began with."""
        return dict(self._config)

    def log(self, name: str = "sip") -> str:
        """The log of the SIP service, or of another part."""
        return self.run_dir.joinpath(f"{name}.log").read_text(errors="replace")

    async def stop(self) -> None:
        """End the SIP service, and every other that was started."""
        for child in (self.sip, *self._others):
            if child is not None:
                await child.stop(number=signal.SIGINT, grace=1.0)
        self.sip = None
        self._others.clear()

    async def run(self, name: str, config: Mapping[str, Any]) -> Child:
        """Start a SIP service with exactly `config`, ready or not."""
        path = self.run_dir / f"side-{name}.yaml"
        path.write_text(yaml.safe_dump(dict(config), sort_keys=False))
        path.chmod(0o600)
        child = await Child.start(
            name,
            [_program(), "--config", path],
            log=self.run_dir / f"{name}.log",
            reaper=self._reaper,
        )
        self._others.append(child)
        return child

    async def start(self, **changes: Any) -> Child:
        """Start the SIP service anew, with `changes` laid over its configuration."""
        if self.sip is not None:
            await self.sip.stop(number=signal.SIGINT, grace=1.0)
        config = merged(self._config, changes)
        self.sip = child = await self.run("sip", config)
        await self._ready(child, config)
        return child

    async def second(self) -> Child:
        """Start another SIP service beside the first, at other ports."""
        block = PortBlock(HOST)
        self._blocks.append(block)
        port = block.take()
        config = merged(
            self._config,
            {
                "sip_port": port,
                "sip_port_listen": port,
                "health_port": block.take(),
                "prometheus_port": block.take(),
                "rtp_port": "{}-{}".format(*block.rtp_range),
            },
        )
        child = await self.run("sip-2", config)
        await self._ready(child, config)
        return child

    async def redis(self) -> str:
        """Start another redis; its address."""
        block = PortBlock(HOST)
        self._blocks.append(block)
        port = block.take()
        child = await Child.start(
            "redis-2",
            [provision.redis_server(), "--port", str(port), "--bind", HOST, "--save", "",
             "--appendonly", "no", "--dir", str(self.run_dir)],
            log=self.run_dir / "redis-2.log",
            reaper=self._reaper,
        )  # fmt: skip
        self._others.append(child)
        assert await until(lambda: redis_answers(HOST, port), within=5)
        return f"{HOST}:{port}"

    async def health(self) -> tuple[int, str]:
        """Status and text of the health endpoint."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{HOST}:{self._config['health_port']}/") as answer,
        ):
            return answer.status, (await answer.text()).strip()

    async def _ready(self, child: Child, config: Mapping[str, Any]) -> None:
        async with aiohttp.ClientSession() as session:

            async def answers() -> bool:
                health = f"http://{HOST}:{config['health_port']}/"
                port = config["sip_port_listen"]
                return await http_ok(session, health) and await sip_answers(HOST, port)

            async def settled() -> bool:
                return child.exited.done() or await answers()

            if not await until(settled, within=10) or child.exited.done():
                raise child.failure("did not become ready")

    async def close(self) -> None:
        """End what was started."""
        await self.stop()
        for block in self._blocks:
            block.release()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def side_stack(
    request: pytest.FixtureRequest, sandbox_stack: Stack, sandbox_output: Path
) -> AsyncIterator[Stack]:
    """A second stack, of the native engine."""
    if not isinstance(sandbox_stack.engine, NativeEngine):
        pytest.skip("starts and stops SIP services of its own: native engine only")
    name = f"{sandbox_stack.options.name}-ops"
    options = StackOptions(engine="native", run_dir=sandbox_output / f"stack-{name}", name=name)
    _program()
    async with Stack(options, Timeline()) as stack:
        yield stack


@pytest_asyncio.fixture(loop_scope="session")
async def side(request: pytest.FixtureRequest, side_stack: Stack) -> AsyncIterator[Side]:
    """The second stack, for one scenario."""
    engine = side_stack.engine
    assert isinstance(engine, NativeEngine)
    ends, timeline = side_stack.endpoints, side_stack.timeline
    reaper = Reaper()
    async with (
        api_client(ends.livekit_url, ends.api_key, ends.api_secret, timeline) as client,
        await Phone.connect(ends.phone_url, ends.phone_token, timeline) as phone,
    ):
        host = AgentHost(ends, timeline)
        box = Sandbox(side_stack, client, phone, host, request.node.name)
        wire = await Wire(ends, timeline).open()
        side = Side(engine, box, wire, reaper)
        if side.sip is not None and not side.sip.running:
            side.sip = None
        try:
            yield side
        finally:
            await wire.close()
            await side.close()
            # A SIP service that was stopped leaves its participants for a while.
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(box.close(), 20)
            reaper.dismiss()
