"""The native engine: redis, livekit-server, the SIP service and the phone as plain processes."""

from __future__ import annotations

import asyncio
import secrets
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from sandbox import versions
from sandbox.errors import StackError
from sandbox.stack import provision
from sandbox.stack.configs import merged, server_config, sip_config
from sandbox.stack.endpoints import Endpoints
from sandbox.stack.options import StackOptions
from sandbox.stack.phone import PhoneProcess, start_phone
from sandbox.stack.ports import PortBlock
from sandbox.stack.process import Child, Reaper
from sandbox.stack.readiness import http_ok, redis_answers, server_answers, sip_answers, until
from sandbox.stack.webhooks import WebhookServer
from sandbox.timeline import Timeline

__all__ = ["NativeEngine"]

_HOST = "127.0.0.1"


class NativeEngine:
    """Four processes on 127.0.0.1, all ports dynamic, nothing left behind.

    Use `Stack`, which picks the engine; this class is the seam that every engine fills:
    `start`, `stop`, `restart_phone` and `endpoints`.
    """

    name = "native"

    def __init__(self, options: StackOptions, timeline: Timeline) -> None:
        self._options = options
        self._timeline = timeline
        self._children: dict[str, Child] = {}
        self._watchers: list[asyncio.Task[None]] = []
        self._reaper: Reaper | None = None
        self._block: PortBlock | None = None
        self._webhooks: WebhookServer | None = None
        self._ready: dict[str, float] = {}
        self._started_at = 0.0
        self.endpoints: Endpoints | None = None

    @property
    def timings(self) -> dict[str, float]:
        """Seconds from the start of the stack until each part answered."""
        return dict(self._ready)

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each part."""
        return {name: child.process.pid for name, child in self._children.items()}

    async def start(self) -> Endpoints:
        """Bring the four parts up, side by side where one does not need the other.

        Raises:
            SetupError: a program is missing.
            StackError: a part did not become ready; everything started is down again.
        """
        redis = provision.redis_server()
        server = provision.livekit_server()
        sip = provision.sip_service()
        provision.phone_python()
        self._options.run_dir.mkdir(parents=True, exist_ok=True)
        self._started_at = time.monotonic()
        self._reaper = Reaper()
        try:
            self._block = block = PortBlock(_HOST)
            key = f"API{secrets.token_hex(6)}"
            secret = secrets.token_urlsafe(32)
            redis_port, port, udp_port, sip_port, health_port, prometheus_port, hook_port = (
                block.take() for _ in range(7)
            )
            redis_address = f"{_HOST}:{redis_port}"
            ws_url = f"ws://{_HOST}:{port}"
            self._webhooks = WebhookServer(self._timeline, key, secret)
            await self._webhooks.start(_HOST, hook_port)
            server_file = self._write(
                "livekit-server.yaml",
                merged(
                    server_config(
                        host=_HOST,
                        port=port,
                        udp_port=udp_port,
                        redis=redis_address,
                        key=key,
                        secret=secret,
                        webhook_url=self._webhooks.url,
                    ),
                    self._options.server_config,
                ),
            )
            sip_file = self._write(
                "sip.yaml",
                merged(
                    sip_config(
                        host=_HOST,
                        sip_port=sip_port,
                        rtp_range=block.rtp_range,
                        health_port=health_port,
                        prometheus_port=prometheus_port,
                        redis=redis_address,
                        key=key,
                        secret=secret,
                        ws_url=ws_url,
                    ),
                    self._options.sip_config,
                ),
            )

            async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
                phone_start = group.create_task(self._timed("phone", self._start_phone()))
                # livekit-server and livekit-sip give up at once when redis does not answer.
                await self._spawn(
                    "redis",
                    [redis, "--port", redis_port, "--bind", _HOST, "--protected-mode", "yes",
                     "--save", "", "--appendonly", "no", "--dir", self._options.run_dir],
                )  # fmt: skip
                await self._await_ready("redis", lambda: redis_answers(_HOST, redis_port))
                await self._spawn(
                    "livekit-server", [server, "--config", server_file, "--node-ip", _HOST]
                )
                await self._spawn("sip", [sip.path, "--config", sip_file])
                group.create_task(
                    self._await_ready(
                        "livekit-server", lambda: server_answers(session, ws_url, key, secret)
                    )
                )

                async def sip_ready() -> bool:
                    return await http_ok(
                        session, f"http://{_HOST}:{health_port}/"
                    ) and await sip_answers(_HOST, sip_port)

                group.create_task(self._await_ready("sip", sip_ready))
            self._ready["total"] = time.monotonic() - self._started_at
        except BaseExceptionGroup as failures:
            await self.stop()
            raise _first(failures) from None
        except BaseException:
            await self.stop()
            raise
        self.endpoints = Endpoints(
            engine=self.name,
            livekit_url=ws_url,
            api_key=key,
            api_secret=secret,
            sip_host=_HOST,
            sip_port=sip_port,
            sip_service=sip.label,
            server_version=versions.LIVEKIT_SERVER,
            phone_url=phone_start.result().url,
            phone_token=phone_start.result().token,
            phone_host=_HOST,
            redis_address=redis_address,
            sip_health_url=f"http://{_HOST}:{health_port}/",
            sip_metrics_url=f"http://{_HOST}:{prometheus_port}/metrics",
            events_url=self._webhooks.events_url,
            run_dir=self._options.run_dir,
        )
        return self.endpoints

    def _write(self, name: str, content: dict[str, Any]) -> str:
        path = self._options.run_dir / name
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        path.chmod(0o600)
        return str(path)

    async def _spawn(self, name: str, command: list[Any], **options: Any) -> Child:
        assert self._reaper is not None
        log = self._options.run_dir / f"{name}.log"
        child = await Child.start(name, command, log=log, reaper=self._reaper, **options)
        self._adopt(child)
        return child

    def _adopt(self, child: Child) -> None:
        self._children[child.name] = child
        self._watchers.append(asyncio.create_task(self._watch(child)))

    async def _timed(self, name: str, start: Awaitable[PhoneProcess]) -> PhoneProcess:
        result = await start
        self._ready[name] = time.monotonic() - self._started_at
        return result

    async def _watch(self, child: Child) -> None:
        """Put an end that nobody asked for on the timeline."""
        code = await asyncio.shield(child.exited)
        if not child.stopping:
            self._timeline.record("stack", "process.died", part=child.name, code=code)

    async def _await_ready(self, name: str, probe: Callable[[], Awaitable[bool]]) -> None:
        """Wait until `probe` holds; any exit before that is a failure (both Go programs exit 0)."""
        child = self._children[name]
        ready = asyncio.create_task(until(probe, within=self._options.start_timeout))
        try:
            await asyncio.wait({ready, child.exited}, return_when=asyncio.FIRST_COMPLETED)
            if child.exited.done():
                raise child.failure(f"exited with {child.exited.result()} before it was ready")
            if not ready.result():
                raise child.failure(f"did not answer within {self._options.start_timeout:g} s")
        finally:
            ready.cancel()
        self._ready[name] = time.monotonic() - self._started_at

    async def _start_phone(self) -> PhoneProcess:
        assert self._reaper is not None
        phone = await start_phone(
            provision.phone_python(),
            host=_HOST,
            run_dir=self._options.run_dir,
            reaper=self._reaper,
            timeout=self._options.start_timeout,
        )
        self._adopt(phone.child)
        return phone

    async def restart_phone(self) -> Endpoints:
        """Give the stack a new phone, its old one having crashed.

        Raises:
            StackError: the new one did not start either, or the stack is down.
        """
        if self.endpoints is None:
            raise StackError("the stack is down")
        await self._children["phone"].stop(grace=0)
        phone = await self._start_phone()
        self.endpoints = replace(self.endpoints, phone_url=phone.url, phone_token=phone.token)
        return self.endpoints

    def child(self, name: str) -> Child:
        """The process of a part (`redis`, `livekit-server`, `sip`, `phone`).

        Raises:
            StackError: there is no such part.
        """
        try:
            return self._children[name]
        except KeyError:
            raise StackError(
                f"the stack has no part {name!r}", seen=[", ".join(self._children)]
            ) from None

    def watch_path(self, path: Path) -> None:
        """Have a file or folder removed should this process be killed."""
        assert self._reaper is not None
        self._reaper.watch_path(path)

    async def stop(self) -> None:
        """Take everything down; safe to call twice, or on a half-started stack."""
        # livekit-sip drains its calls on SIGTERM and kills them on SIGINT.
        order = {"phone": signal.SIGTERM, "sip": signal.SIGINT, "livekit-server": signal.SIGINT}
        await asyncio.gather(
            *(
                child.stop(number=order.get(name, signal.SIGTERM), grace=1.0)
                for name, child in self._children.items()
                if name != "redis"
            )
        )
        if "redis" in self._children:
            await self._children["redis"].stop(grace=1.0)
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        self._children.clear()
        self._watchers.clear()
        if self._webhooks is not None:
            await self._webhooks.stop()
            self._webhooks = None
        if self._block is not None:
            self._block.release()
            self._block = None
        if self._reaper is not None:
            self._reaper.dismiss()
            self._reaper = None
        self.endpoints = None


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first plain exception of a group: the part that failed, not those cancelled for it."""
    failure: BaseException = failures
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure
