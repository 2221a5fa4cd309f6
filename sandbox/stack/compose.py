"""The Compose engine: compose.yaml, its containers reached at their own addresses (Linux)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import aiohttp

from sandbox import versions
from sandbox.errors import StackError
from sandbox.stack.compose_choice import Images, ready_images
from sandbox.stack.compose_part import ContainerPart
from sandbox.stack.compose_plan import (
    LIVEKIT_PORT,
    PHONE_PORT,
    REDIS_PORT,
    SIP_HEALTH_PORT,
    SIP_METRICS_PORT,
    SIP_PORT,
    Plan,
)
from sandbox.stack.compose_project import ComposeProject, Container
from sandbox.stack.compose_sweep import ComposeReaper, remove_run, sweep
from sandbox.stack.docker_cli import RUN_LABEL, Docker
from sandbox.stack.endpoints import Endpoints
from sandbox.stack.options import StackOptions
from sandbox.stack.parts import PartsEngine, stop_signal
from sandbox.stack.ports import PortBlock
from sandbox.stack.process import Child
from sandbox.stack.progress import terminal_progress
from sandbox.stack.webhooks import WebhookServer
from sandbox.timeline import Timeline

__all__ = ["ComposeEngine"]

_PORTS = {
    "redis": REDIS_PORT,
    "livekit-server": LIVEKIT_PORT,
    "sip": SIP_PORT,
    "phone": PHONE_PORT,
}


class ComposeEngine(PartsEngine[ContainerPart]):
    """The four parts as containers of one Compose project.

    Nothing but livekit-server's port is published. On Linux the containers' own addresses are
    reached from this machine, UDP included; elsewhere the tests run inside the network
    (RUNNER=container).
    """

    name = "compose"

    def __init__(self, options: StackOptions, timeline: Timeline) -> None:
        super().__init__(options, timeline)
        self._docker: Docker | None = None
        self._images: Images | None = None
        self._project: ComposeProject | None = None
        self._plan: Plan | None = None
        self._events: Child | None = None
        self._hearing: asyncio.Task[None] | None = None
        #: The exit status of each container, by its id.
        self._exits: dict[str, asyncio.Future[int]] = {}
        self._remover: ComposeReaper | None = None

    @property
    def project(self) -> ComposeProject:
        """The Compose project.

        Raises:
            StackError: it was not started.
        """
        if self._project is None:
            raise StackError("the stack is down")
        return self._project

    async def _prepare(self) -> None:
        if sys.platform != "linux":
            raise StackError(
                "on this system the containers cannot be reached from outside their network",
                cause="Docker Desktop runs them in a virtual machine, and published UDP breaks SIP",
                remedy="make test-e2e ENGINE=compose RUNNER=container",
            )
        self._docker = Docker()
        progress = terminal_progress(quiet=True)
        self._images = await asyncio.to_thread(ready_images, self._docker, progress)

    async def _bring_up(self) -> Endpoints:
        assert self._docker is not None
        assert self._images is not None
        docker = self._docker
        plan = self._plan = Plan(self._options, self._images)
        plan.write(plan.overlay())
        self._remover = ComposeReaper(docker, plan.run)
        project = self._project = ComposeProject(
            docker,
            name=plan.project,
            run=plan.run,
            files=plan.files(),
            folder=plan.folder,
            values={**plan.values(), "SANDBOX_HEALTH_INTERVAL": "30s"},
        )
        await self._follow_events(docker)
        swept = asyncio.create_task(asyncio.to_thread(sweep, docker))
        # redis first: the two Go programs give up at once when it does not answer. And only now
        # is there a network, with the address of this machine on it.
        await asyncio.to_thread(project.up, "redis", "phone")
        webhooks = await self._start_webhooks(plan)
        ends = Endpoints(
            engine=self.name,
            livekit_url="",
            api_key=plan.key,
            api_secret=plan.secret,
            sip_host="",
            sip_port=SIP_PORT,
            sip_service=self._images.sip_service,
            server_version=versions.LIVEKIT_SERVER,
            phone_url="",
            phone_token=plan.token,
            events_url=webhooks.events_url,
            run_dir=self._options.run_dir,
        )
        ends = await self._adopt_services(ends, "redis", "phone")
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            group.create_task(self._await_ready(self._parts["phone"], session, ends, "phone"))
            await self._await_ready(self._parts["redis"], session, ends, "redis")
            await asyncio.to_thread(project.up, "livekit-server", "sip")
            ends = await self._adopt_services(ends, "livekit-server", "sip")
            for kind in ("livekit-server", "sip"):
                group.create_task(self._await_ready(self._parts[kind], session, ends, kind))
        with contextlib.suppress(StackError):
            for run in await swept:
                self._timeline.record("stack", "stack.swept", run=run)
        return ends

    async def _start_webhooks(self, plan: Plan) -> WebhookServer:
        """Listen for webhooks on our address in this network, and on no other."""
        gateway = await asyncio.to_thread(self.project.gateway)
        webhooks = self._webhooks = WebhookServer(self._timeline, plan.key, plan.secret)
        try:
            self._blocks.append(PortBlock(gateway))
            await webhooks.start(gateway, self._blocks[-1].take())
        except (OSError, StackError) as failure:
            raise StackError(
                "livekit-server's webhooks cannot be received",
                seen=[
                    str(failure),
                    f"this machine should have {gateway or 'an address'} on Docker's bridge",
                ],
                cause="the daemon runs elsewhere: a virtual machine, rootless, another host",
                remedy="make test-e2e ENGINE=compose RUNNER=container",
            ) from failure
        plan.webhook_url = webhooks.url
        plan.write_server()
        return webhooks

    async def _follow_events(self, docker: Docker) -> None:
        """Hear of every container that ends, from before the first is started."""
        assert self._reaper is not None
        assert self._plan is not None
        self._events = await Child.start(
            "docker-events",
            [
                docker.program, "events", "--filter", f"label={RUN_LABEL}={self._plan.run}",
                "--filter", "event=die", "--filter", "event=oom", "--format", "{{json .}}",
            ],
            log=self._options.run_dir / "docker-events.log",
            reaper=self._reaper,
            pipe_stdout=True,
        )  # fmt: skip
        self._hearing = asyncio.create_task(self._hear(self._events))

    async def _hear(self, events: Child) -> None:
        assert events.process.stdout is not None
        async for line in events.process.stdout:
            told = json.loads(line)
            container, attributes = told["Actor"]["ID"], told["Actor"]["Attributes"]
            if told["Action"] == "oom":
                service = attributes.get("com.docker.compose.service", "")
                self._timeline.record("stack", "process.out_of_memory", part=service)
                continue
            exit_status = self._exit_of(container)
            if not exit_status.done():
                exit_status.set_result(int(attributes.get("exitCode", -1)))

    def _exit_of(self, container: str) -> asyncio.Future[int]:
        return self._exits.setdefault(container, asyncio.get_running_loop().create_future())

    async def _adopt_services(self, ends: Endpoints, *services: str) -> Endpoints:
        """Take on the containers that Compose has started; returns where they are."""
        containers = await asyncio.to_thread(self.project.containers)
        for service in services:
            if service not in containers:
                raise self.project.failure(service, "was not created")
            _, ends = await self._adopt(service, service, containers[service], ends)
        return ends

    async def _adopt(
        self, kind: str, name: str, container: Container, ends: Endpoints
    ) -> tuple[ContainerPart, Endpoints]:
        """Note where the container is, and follow its log into the run folder."""
        assert self._reaper is not None
        log = self._options.run_dir / f"{name}.log"
        follower = await Child.start(
            name,
            [self.project.docker.program, "logs", "--follow", container.id],
            log=log,
            reaper=self._reaper,
        )
        host = container.address
        part = self._parts[name] = ContainerPart(
            name,
            container.id,
            self.project,
            log=log,
            address=f"{host}:{_PORTS[kind]}",
            follower=follower,
            died=self._exit_of(container.id),
            stop_signal=stop_signal(kind),
        )
        return part, _moved(ends, kind, host)

    async def _launch(
        self, kind: str, name: str, changes: Mapping[str, Any], ends: Endpoints
    ) -> tuple[ContainerPart, Endpoints]:
        """One more container of a service of compose.yaml, with a configuration of its own."""
        assert self._plan is not None
        values = self._plan.write_another(kind, name, changes)
        container = await asyncio.to_thread(self.project.run_another, kind, values)
        return await self._adopt(kind, name, container, ends)

    async def _relaunch(self, kind: str, ends: Endpoints) -> tuple[ContainerPart, Endpoints]:
        await asyncio.to_thread(self.project.up, kind)
        ends = await self._adopt_services(ends, kind)
        return self._parts[kind], ends

    async def restart_phone(self) -> Endpoints:
        """Give the stack a new phone, its old one having crashed.

        Raises:
            StackError: the new one did not start either, or the stack is down.
        """
        if self.endpoints is None:
            raise StackError("the stack is down")
        await self._parts["phone"].stop(grace=0)
        await asyncio.to_thread(self.project.up, "phone")
        ends = await self._adopt_services(self.endpoints, "phone")
        async with aiohttp.ClientSession() as session:
            await self._await_ready(self._parts["phone"], session, ends, "phone")
        self.endpoints = ends
        return ends

    async def _take_down(self) -> None:
        try:
            if self._project is not None:
                # All that carries our label: containers, network and volumes, nothing saved.
                await asyncio.to_thread(remove_run, self._project.docker, self._project.run)
                self._project = None
        finally:
            await asyncio.gather(*(part.unfollow() for part in self._parts.values()))
            if self._events is not None:
                await self._events.stop(grace=0.2)
                self._events = None
            if self._hearing is not None:
                self._hearing.cancel()
                await asyncio.gather(self._hearing, return_exceptions=True)
                self._hearing = None
            if self._remover is not None:
                self._remover.dismiss()
                self._remover = None


def _moved(ends: Endpoints, kind: str, host: str) -> Endpoints:
    """The endpoints of a stack whose part of that kind is at `host`."""
    if kind == "redis":
        return replace(ends, redis_address=f"{host}:{REDIS_PORT}")
    if kind == "livekit-server":
        return replace(ends, livekit_url=f"ws://{host}:{LIVEKIT_PORT}")
    if kind == "phone":
        return replace(ends, phone_url=f"http://{host}:{PHONE_PORT}", phone_host=host)
    return replace(
        ends,
        sip_host=host,
        sip_health_url=f"http://{host}:{SIP_HEALTH_PORT}/",
        sip_metrics_url=f"http://{host}:{SIP_METRICS_PORT}/metrics",
    )
