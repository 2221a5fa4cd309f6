"""The Compose engine from inside: tests in the `runner` container, beside a stack that is up."""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import time
from pathlib import Path

import aiohttp

from sandbox import versions
from sandbox.errors import StackError, UsageError
from sandbox.stack.compose_files import INSIDE
from sandbox.stack.compose_plan import (
    LIVEKIT_PORT,
    PHONE_PORT,
    REDIS_PORT,
    SIP_HEALTH_PORT,
    SIP_METRICS_PORT,
    SIP_PORT,
    WEBHOOK_PORT,
)
from sandbox.stack.endpoints import Endpoints
from sandbox.stack.options import StackOptions
from sandbox.stack.readiness import answers, until
from sandbox.stack.webhooks import WebhookServer
from sandbox.timeline import Timeline

__all__ = ["InsideEngine"]


class InsideEngine:
    """Nothing is started: `sandbox.stack.compose_runner` has done so, and takes it down."""

    name = "compose"
    why_fixed = "inside the runner container Docker is out of reach: nothing more can be started"

    def __init__(self, options: StackOptions, timeline: Timeline) -> None:
        self._options = options
        self._timeline = timeline
        self._webhooks: WebhookServer | None = None
        self._took = 0.0
        self.endpoints: Endpoints | None = None

    @property
    def timings(self) -> dict[str, float]:
        """Seconds until the parts answered."""
        return {"total": self._took}

    async def start(self) -> Endpoints:
        """Listen for webhooks and see that each part answers.

        Raises:
            UsageError: several stacks are wanted (pytest-xdist), and there is one.
            StackError: a part does not answer.
        """
        if os.environ.get("PYTEST_XDIST_WORKER", "gw0") != "gw0":
            raise UsageError(
                "the runner has one stack, and pytest-xdist wants one for each worker",
                remedy="leave -n out with RUNNER=container",
            )
        started = time.monotonic()
        env = os.environ
        key, secret = env["LIVEKIT_API_KEY"], env["LIVEKIT_API_SECRET"]
        self._webhooks = WebhookServer(self._timeline, key, secret)
        await self._webhooks.start(_address(socket.gethostname()), WEBHOOK_PORT)
        redis, server, sip, phone = (
            _address(name) for name in ("redis", "livekit-server", "sip", "phone")
        )
        self._link_logs()
        ends = Endpoints(
            engine=self.name,
            livekit_url=f"ws://{server}:{LIVEKIT_PORT}",
            api_key=key,
            api_secret=secret,
            sip_host=sip,
            sip_port=SIP_PORT,
            sip_service=env.get("SANDBOX_SIP_SERVICE", "unknown"),
            server_version=versions.LIVEKIT_SERVER,
            phone_url=f"http://{phone}:{PHONE_PORT}",
            phone_token=env["SANDBOX_PHONE_TOKEN"],
            phone_host=phone,
            redis_address=f"{redis}:{REDIS_PORT}",
            sip_health_url=f"http://{sip}:{SIP_HEALTH_PORT}/",
            sip_metrics_url=f"http://{sip}:{SIP_METRICS_PORT}/metrics",
            events_url=self._webhooks.events_url,
            run_dir=self._options.run_dir,
        )
        within = self._options.start_timeout
        async with aiohttp.ClientSession() as session:
            for kind in ("redis", "livekit-server", "sip", "phone"):
                probe = functools.partial(answers, kind, session, ends)
                if not await until(probe, within=within):
                    await self.stop()
                    raise StackError(f"{kind} does not answer within {within:g} s")
        self._took = time.monotonic() - started
        self.endpoints = ends
        return ends

    def _link_logs(self) -> None:
        """Have the logs, which are followed from outside, in the run folder too."""
        folder = self._options.run_dir
        folder.mkdir(parents=True, exist_ok=True)
        for log in Path(os.environ[INSIDE]).glob("*.log"):
            link = folder / log.name
            if not link.exists():
                link.symlink_to(os.path.relpath(log, folder))

    async def restart_phone(self) -> Endpoints:
        """Not from inside: Docker is out of reach here.

        Raises:
            StackError: always.
        """
        raise StackError(
            "the phone has crashed, and from inside the network it cannot be started again",
            remedy="run the suite again",
            evidence=os.environ[INSIDE],
        )

    def watch_path(self, path: Path) -> None:
        """Nothing to do: the container is gone when its process is."""

    async def stop(self) -> None:
        """Close the webhook port; safe to call twice."""
        if self._webhooks is not None:
            await self._webhooks.stop()
            self._webhooks = None
        await asyncio.sleep(0)
        self.endpoints = None


def _address(name: str) -> str:
    try:
        return socket.gethostbyname(name)
    except OSError as failure:
        raise StackError(
            f"{name} has no address in this network",
            seen=[str(failure)],
            remedy="see that its container runs: docker compose ps",
        ) from failure
