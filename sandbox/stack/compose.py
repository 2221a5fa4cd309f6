"""The Compose engine: compose.yaml, its containers reached at their own addresses (Linux)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import aiohttp

from sandbox import versions
from sandbox.errors import StackError
from sandbox.stack.compose_choice import ready_images
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
from sandbox.stack.ports import PortBlock
from sandbox.stack.process import Child, Reaper
from sandbox.stack.progress import terminal_progress
from sandbox.stack.readiness import http_ok, redis_answers, server_answers, sip_answers, until
from sandbox.stack.webhooks import WebhookServer
from sandbox.timeline import Timeline

__all__ = ["ComposeEngine"]

_SERVICES = ("redis", "livekit-server", "sip", "phone")


class ComposeEngine:
    """The four parts as containers of one Compose project; see `NativeEngine` for the interface.

    Nothing but livekit-server's port is published. On Linux the containers' own addresses are
    reached from this machine, UDP included; elsewhere the tests run inside the network
    (RUNNER=container).
    """

    name = "compose"

    def __init__(self, options: StackOptions, timeline: Timeline) -> None:
        self._options = options
        self._timeline = timeline
        self._project: ComposeProject | None = None
        self._plan: Plan | None = None
        self._containers: dict[str, Container] = {}
        self._followers: dict[str, Child] = {}
        self._events: Child | None = None
        self._watch: asyncio.Task[None] | None = None
        self._died: dict[str, asyncio.Event] = {}
        self._expected: set[str] = set()
        self._reaper: Reaper | None = None
        self._remover: ComposeReaper | None = None
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
    def project(self) -> ComposeProject:
        """The Compose project.

        Raises:
            StackError: it was not started.
        """
        if self._project is None:
            raise StackError("the stack is down")
        return self._project

    async def start(self) -> Endpoints:
        """Bring the parts up, redis and the phone first.

        Raises:
            SetupError: there is no Docker, or there are no images.
            StackError: a part did not become ready; everything started is gone again.
        """
        if sys.platform != "linux":
            raise StackError(
                "on this system the containers cannot be reached from outside their network",
                cause="Docker Desktop runs them in a virtual machine, and published UDP breaks SIP",
                remedy="make test-e2e ENGINE=compose RUNNER=container",
            )
        docker = Docker()
        images = await asyncio.to_thread(ready_images, docker, terminal_progress(quiet=True))
        self._options.run_dir.mkdir(parents=True, exist_ok=True)
        self._started_at = time.monotonic()
        self._plan = plan = Plan(self._options, images)
        plan.write(plan.overlay())
        self._reaper = Reaper()
        self._remover = ComposeReaper(docker, plan.run)
        project = self._project = ComposeProject(
            docker,
            name=plan.project,
            run=plan.run,
            files=plan.files(),
            folder=plan.folder,
            values={**plan.values(), "SANDBOX_HEALTH_INTERVAL": "30s"},
        )
        try:
            await self._follow_events(docker)
            swept = asyncio.create_task(asyncio.to_thread(sweep, docker))
            # redis first: the two Go programs give up at once when it does not answer. And only now
            # is there a network, with the address of this machine on it.
            await asyncio.to_thread(project.up, "redis", "phone")
            gateway = await asyncio.to_thread(project.gateway)
            await self._start_webhooks(gateway, plan)
            containers = await asyncio.to_thread(project.containers)
            await self._adopt(containers, "redis", "phone")
            redis = containers["redis"].address
            async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
                phone = group.create_task(
                    self._await_ready("phone", lambda: self._phone_answers(session))
                )
                await self._await_ready("redis", lambda: redis_answers(redis, REDIS_PORT))
                await asyncio.to_thread(project.up, "livekit-server", "sip")
                await self._adopt(
                    await asyncio.to_thread(project.containers), "livekit-server", "sip"
                )
                server, sip = (self._containers[name].address for name in ("livekit-server", "sip"))
                url = f"ws://{server}:{LIVEKIT_PORT}"
                group.create_task(
                    self._await_ready(
                        "livekit-server",
                        lambda: server_answers(session, url, plan.key, plan.secret),
                    )
                )

                async def sip_ready() -> bool:
                    health = f"http://{sip}:{SIP_HEALTH_PORT}/"
                    return await http_ok(session, health) and await sip_answers(sip, SIP_PORT)

                group.create_task(self._await_ready("sip", sip_ready))
                await phone
            self._ready["total"] = time.monotonic() - self._started_at
            with contextlib.suppress(StackError):
                for run in await swept:
                    self._timeline.record("stack", "stack.swept", run=run)
        except BaseExceptionGroup as failures:
            await self.stop()
            raise _first(failures) from None
        except BaseException:
            await self.stop()
            raise
        assert self._webhooks is not None
        phone_address = self._containers["phone"].address
        self.endpoints = Endpoints(
            engine=self.name,
            livekit_url=url,
            api_key=plan.key,
            api_secret=plan.secret,
            sip_host=sip,
            sip_port=SIP_PORT,
            sip_service=images.sip_service,
            server_version=versions.LIVEKIT_SERVER,
            phone_url=f"http://{phone_address}:{PHONE_PORT}",
            phone_token=plan.token,
            phone_host=phone_address,
            redis_address=f"{redis}:{REDIS_PORT}",
            sip_health_url=f"http://{sip}:{SIP_HEALTH_PORT}/",
            sip_metrics_url=f"http://{sip}:{SIP_METRICS_PORT}/metrics",
            events_url=self._webhooks.events_url,
            run_dir=self._options.run_dir,
        )
        return self.endpoints

    async def _start_webhooks(self, gateway: str, plan: Plan) -> None:
        """Listen for webhooks on our address in this network, and on no other."""
        self._webhooks = WebhookServer(self._timeline, plan.key, plan.secret)
        try:
            self._block = PortBlock(gateway)
            await self._webhooks.start(gateway, self._block.take())
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
        plan.write_server(self._webhooks.url)

    async def _follow_events(self, docker: Docker) -> None:
        """Hear of every container that ends, from before the first is started."""
        assert self._reaper is not None
        assert self._plan is not None
        self._died = {name: asyncio.Event() for name in _SERVICES}
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
        self._watch = asyncio.create_task(self._hear(self._events))

    async def _hear(self, events: Child) -> None:
        assert events.process.stdout is not None
        async for line in events.process.stdout:
            told = json.loads(line)
            attributes = told["Actor"]["Attributes"]
            service = attributes.get("com.docker.compose.service", "")
            if service in self._expected or service not in self._died:
                continue
            if told["Action"] == "oom":
                self._timeline.record("stack", "process.out_of_memory", part=service)
                continue
            code = int(attributes.get("exitCode", -1))
            self._timeline.record("stack", "process.died", part=service, code=code)
            self._died[service].set()

    async def _adopt(self, containers: dict[str, Container], *services: str) -> None:
        """Note where the services are, and follow their logs into the run folder."""
        assert self._reaper is not None
        for service in services:
            if service not in containers:
                raise self.project.failure(service, "was not created")
            container = self._containers[service] = containers[service]
            self._followers[service] = await Child.start(
                service,
                [self.project.docker.program, "logs", "--follow", container.id],
                log=self._log(service),
                reaper=self._reaper,
            )

    def _log(self, service: str) -> Path:
        return self._options.run_dir / f"{service}.log"

    async def _phone_answers(self, session: aiohttp.ClientSession) -> bool:
        assert self._plan is not None
        url = f"http://{self._containers['phone'].address}:{PHONE_PORT}/leaks"
        headers = {"Authorization": f"Bearer {self._plan.token}"}
        try:
            async with session.get(url, headers=headers) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, OSError):
            return False

    async def _await_ready(self, service: str, probe: Callable[[], Awaitable[bool]]) -> None:
        """Wait until `probe` holds; any exit before that is a failure (both Go programs exit 0)."""
        within = self._options.start_timeout
        died = asyncio.create_task(self._died[service].wait())
        ready = asyncio.create_task(until(probe, within=within))
        try:
            await asyncio.wait({ready, died}, return_when=asyncio.FIRST_COMPLETED)
            if died.done():
                what = "ended before it was ready"
            elif not ready.result():
                what = f"did not answer within {within:g} s"
            else:
                self._ready[service] = time.monotonic() - self._started_at
                return
        finally:
            ready.cancel()
            died.cancel()
        raise await asyncio.to_thread(self.project.failure, service, what, self._log(service))

    async def restart_phone(self) -> Endpoints:
        """Give the stack a new phone, its old one having crashed.

        Raises:
            StackError: the new one did not start either, or the stack is down.
        """
        if self.endpoints is None:
            raise StackError("the stack is down")
        project = self.project
        self._expected.add("phone")
        await self._followers["phone"].stop(grace=0)
        await asyncio.to_thread(project.docker.try_ask, "rm", "-f", self._containers["phone"].id)
        await asyncio.to_thread(project.up, "phone")
        self._expected.discard("phone")
        self._died["phone"].clear()
        await self._adopt(await asyncio.to_thread(project.containers), "phone")
        async with aiohttp.ClientSession() as session:
            await self._await_ready("phone", lambda: self._phone_answers(session))
        address = self._containers["phone"].address
        self.endpoints = replace(
            self.endpoints, phone_url=f"http://{address}:{PHONE_PORT}", phone_host=address
        )
        return self.endpoints

    def watch_path(self, path: Path) -> None:
        """Have a file or folder removed should this process be killed."""
        assert self._reaper is not None
        self._reaper.watch_path(path)

    async def stop(self) -> None:
        """Take everything down; safe to call twice, or on a half-started stack."""
        self._expected.update(_SERVICES)
        try:
            if self._project is not None:
                await asyncio.to_thread(self._take_down, self._project)
                self._project = None
        finally:
            await self._stop_helpers()

    @staticmethod
    def _take_down(project: ComposeProject) -> None:
        """Remove all that carries our label: containers, network and volumes, nothing saved."""
        remove_run(project.docker, project.run)

    async def _stop_helpers(self) -> None:
        # The followers end by themselves with the containers, having written the last lines.
        for follower in self._followers.values():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.shield(follower.exited), 0.5)
        children = [*self._followers.values(), *([self._events] if self._events else [])]
        await asyncio.gather(*(child.stop(grace=0.2) for child in children))
        self._followers.clear()
        self._events = None
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            self._watch = None
        if self._webhooks is not None:
            await self._webhooks.stop()
            self._webhooks = None
        if self._block is not None:
            self._block.release()
            self._block = None
        for helper in (self._remover, self._reaper):
            if helper is not None:
                helper.dismiss()
        self._remover = self._reaper = None
        self.endpoints = None


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first plain exception of a group: the part that failed, not those cancelled for it."""
    failure: BaseException = failures
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure
