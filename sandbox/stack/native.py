"""The native engine: redis, livekit-server, the SIP service and the phone as plain processes."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from sandbox import versions
from sandbox.errors import StackError
from sandbox.stack import provision
from sandbox.stack.configs import merged, server_config, sip_config
from sandbox.stack.endpoints import Endpoints
from sandbox.stack.parts import PartsEngine, stop_signal
from sandbox.stack.phone import PhoneProcess, start_phone
from sandbox.stack.ports import PortBlock
from sandbox.stack.process import Child
from sandbox.stack.webhooks import WebhookServer

__all__ = ["NativeEngine"]

_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class _SipPorts:
    """The ports of one SIP service."""

    sip: int
    health: int
    metrics: int
    rtp: tuple[int, int]

    @classmethod
    def of(cls, block: PortBlock) -> _SipPorts:
        return cls(block.take(), block.take(), block.take(), block.rtp_range)


class NativeEngine(PartsEngine[Child]):
    """Four processes on 127.0.0.1, all ports dynamic, nothing left behind."""

    name = "native"

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each part."""
        return {name: child.process.pid for name, child in self._parts.items()}

    async def _prepare(self) -> None:
        self._redis = provision.redis_server()
        self._server = provision.livekit_server()
        # Once for all SIP services of the stack: it would be built anew where the stand-in's
        # sources are edited meanwhile.
        self._sip = provision.sip_service()
        self._sip_ports: dict[str, _SipPorts] = {}
        self._commands: dict[str, list[str | Path]] = {}
        provision.phone_python()

    async def _bring_up(self) -> Endpoints:
        block = PortBlock(_HOST)
        self._blocks.append(block)
        key, secret = f"API{secrets.token_hex(6)}", secrets.token_urlsafe(32)
        self._webhooks = WebhookServer(self._timeline, key, secret)
        await self._webhooks.start(_HOST, block.take())
        self._sip_ports["sip"] = _SipPorts.of(block)
        ends = Endpoints(
            engine=self.name,
            livekit_url="",
            api_key=key,
            api_secret=secret,
            sip_host=_HOST,
            sip_port=0,
            sip_service=self._sip.label,
            server_version=versions.LIVEKIT_SERVER,
            phone_url="",
            phone_token="",
            phone_host=_HOST,
            events_url=self._webhooks.events_url,
            run_dir=self._options.run_dir,
        )
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            phone = group.create_task(self._start_phone())
            # livekit-server and livekit-sip give up at once when redis does not answer.
            redis, ends = await self._launch("redis", "redis", {}, ends)
            await self._await_ready(redis, session, ends, "redis")
            server, ends = await self._launch(
                "livekit-server", "livekit-server", self._options.server_config, ends
            )
            sip, ends = await self._launch("sip", "sip", self._options.sip_config, ends)
            group.create_task(self._await_ready(server, session, ends, "livekit-server"))
            group.create_task(self._await_ready(sip, session, ends, "sip"))
        return replace(ends, phone_url=phone.result().url, phone_token=phone.result().token)

    async def _launch(
        self, kind: str, name: str, changes: Mapping[str, Any], ends: Endpoints
    ) -> tuple[Child, Endpoints]:
        block = self._blocks[0]
        command: list[str | Path]
        if kind == "redis":
            port = block.take()
            ends = replace(ends, redis_address=f"{_HOST}:{port}")
            command = [
                self._redis, "--port", str(port), "--bind", _HOST, "--protected-mode", "yes",
                "--save", "", "--appendonly", "no", "--dir", self._options.run_dir,
            ]  # fmt: skip
        elif kind == "livekit-server":
            port = block.take()
            ends = replace(ends, livekit_url=f"ws://{_HOST}:{port}")
            config = self._server_config(port, block.take(), ends)
            file = self._write(f"{name}.yaml", merged(config, changes))
            command = [self._server, "--config", file, "--node-ip", _HOST]
        else:
            ports = self._sip_ports.get(name)
            if ports is None:
                self._blocks.append(PortBlock(_HOST))
                ports = self._sip_ports[name] = _SipPorts.of(self._blocks[-1])
            port = ports.sip
            ends = replace(
                ends,
                sip_port=port,
                sip_health_url=f"http://{_HOST}:{ports.health}/",
                sip_metrics_url=f"http://{_HOST}:{ports.metrics}/metrics",
            )
            file = self._write(f"{name}.yaml", merged(_sip_config(ports, ends), changes))
            command = [self._sip.path, "--config", file]
        self._commands[name] = command
        child = await self._spawn(kind, name)
        child.address = f"{_HOST}:{port}"
        return child, ends

    async def _spawn(self, kind: str, name: str) -> Child:
        assert self._reaper is not None
        child = await Child.start(
            name,
            self._commands[name],
            log=self._options.run_dir / f"{name}.log",
            reaper=self._reaper,
            stop_signal=stop_signal(kind),
            carries_audio=kind != "redis",
        )
        self._parts[name] = child
        return child

    async def _relaunch(self, kind: str, ends: Endpoints) -> tuple[Child, Endpoints]:
        address = self._parts[kind].address
        child = await self._spawn(kind, kind)
        child.address = address
        return child, ends

    def _server_config(self, port: int, udp_port: int, ends: Endpoints) -> dict[str, Any]:
        assert self._webhooks is not None
        return server_config(
            host=_HOST,
            port=port,
            udp_port=udp_port,
            redis=ends.redis_address,
            key=ends.api_key,
            secret=ends.api_secret,
            webhook_url=self._webhooks.url,
        )

    def _write(self, name: str, content: dict[str, Any]) -> Path:
        path = self._options.run_dir / name
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        path.chmod(0o600)
        return path

    async def _start_phone(self) -> PhoneProcess:
        assert self._reaper is not None
        phone = await start_phone(
            provision.phone_python(),
            sip_host=_HOST,
            run_dir=self._options.run_dir,
            reaper=self._reaper,
            timeout=self._options.start_timeout,
        )
        self._parts["phone"] = phone.child
        self._is_ready(phone.child)
        return phone

    async def restart_phone(self) -> Endpoints:
        """Give the stack a new phone, its old one having crashed.

        Raises:
            StackError: the new one did not start either, or the stack is down.
        """
        if self.endpoints is None:
            raise StackError("the stack is down")
        await self._parts["phone"].stop(grace=0)
        phone = await self._start_phone()
        self.endpoints = replace(self.endpoints, phone_url=phone.url, phone_token=phone.token)
        return self.endpoints

    async def _take_down(self) -> None:
        # redis last: the others log the loss of it.
        redis = self._parts.pop("redis", None)
        await asyncio.gather(*(child.stop(grace=1.0) for child in self._parts.values()))
        if redis is not None:
            await redis.stop(grace=1.0)


def _sip_config(ports: _SipPorts, ends: Endpoints) -> dict[str, Any]:
    return sip_config(
        host=_HOST,
        sip_port=ports.sip,
        rtp_range=ports.rtp,
        health_port=ports.health,
        prometheus_port=ports.metrics,
        redis=ends.redis_address,
        key=ends.api_key,
        secret=ends.api_secret,
        ws_url=ends.livekit_url,
    )
