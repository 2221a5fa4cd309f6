"""The attach engine: a deployment that runs already, plus a phone of ours."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
from google.protobuf.json_format import MessageToDict
from livekit import api

from sandbox.errors import StackError, UsageError
from sandbox.stack import provision
from sandbox.stack.endpoints import Endpoints
from sandbox.stack.options import StackOptions
from sandbox.stack.phone import PhoneProcess, start_phone
from sandbox.stack.process import Reaper
from sandbox.stack.webhooks import follow_webhooks
from sandbox.timeline import Event, Timeline

__all__ = ["AttachEngine"]

_NEEDED = ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "SANDBOX_SIP_ADDRESS")
#: Seconds between two looks at the rooms: a foreign deployment sends us no webhooks.
_INTERVAL = 0.1


class AttachEngine:
    """Runs scenarios against a deployment of somebody else's: staging, Kubernetes, `sandbox up`.

    Only the phone is started. `SANDBOX_PHONE_HOST` is the address its lines bind, which the
    deployment must be able to reach; left out, it is the one from which this machine reaches
    `SANDBOX_SIP_ADDRESS`. A stack of `sandbox up` passes its webhooks on
    (`SANDBOX_EVENTS_URL`). Any other deployment does not post its webhooks here: what happens in
    rooms is then seen by looking at RoomService, without disconnect reasons.
    """

    name = "attach"
    why_fixed = "the deployment that is attached to is not ours to change"

    def __init__(self, options: StackOptions, timeline: Timeline) -> None:
        self._options = options
        self._timeline = timeline
        self._reaper: Reaper | None = None
        self._phone: PhoneProcess | None = None
        self._watch: asyncio.Task[None] | None = None
        self._took = 0.0
        self.endpoints: Endpoints | None = None

    @property
    def timings(self) -> dict[str, float]:
        """Seconds until the phone answered."""
        return {"phone": self._took, "total": self._took}

    async def start(self) -> Endpoints:
        """Start the phone and check that the deployment answers.

        Raises:
            UsageError: an environment variable is missing or malformed.
            StackError: the deployment refuses the key, or does not answer.
        """
        env = os.environ
        missing = [name for name in _NEEDED if not env.get(name)]
        if missing:
            raise UsageError(
                "the attach engine needs to know the deployment",
                seen=[f"not set: {', '.join(missing)}"],
                remedy='set them, or for a stack of `sandbox up`: eval "$(sandbox status -o env)"',
            )
        sip_host, _, sip_port = env["SANDBOX_SIP_ADDRESS"].rpartition(":")
        if not sip_host or not sip_port.isdigit():
            raise UsageError(
                f"SANDBOX_SIP_ADDRESS is {env['SANDBOX_SIP_ADDRESS']!r}; it must be host:port"
            )
        url = env["LIVEKIT_URL"]
        client = api.LiveKitAPI(url, env["LIVEKIT_API_KEY"], env["LIVEKIT_API_SECRET"])
        try:
            await client.room.list_rooms(api.ListRoomsRequest())
        except Exception as error:
            await client.aclose()
            raise StackError(
                f"{url} does not answer RoomService.ListRooms",
                seen=[str(error)],
                remedy="check LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET",
            ) from error
        started = time.monotonic()
        self._reaper = Reaper()
        try:
            host = env.get("SANDBOX_PHONE_HOST") or await _this_side(sip_host, int(sip_port))
            phone = await self._start_phone(host)
        except BaseException:
            await client.aclose()
            await self.stop()
            raise
        self._took = time.monotonic() - started
        await self._watch_rooms(client, env)
        self.endpoints = Endpoints(
            engine=self.name,
            livekit_url=url,
            api_key=env["LIVEKIT_API_KEY"],
            api_secret=env["LIVEKIT_API_SECRET"],
            sip_host=sip_host,
            sip_port=int(sip_port),
            sip_service=env.get("SANDBOX_SIP_SERVICE", "unknown (attached)"),
            phone_url=phone.url,
            phone_token=phone.token,
            phone_host=host,
            run_dir=self._options.run_dir,
            server_version=env.get("SANDBOX_SERVER_VERSION", ""),
            redis_address=env.get("SANDBOX_REDIS_ADDRESS", ""),
            sip_health_url=env.get("SANDBOX_SIP_HEALTH_URL", ""),
            sip_metrics_url=env.get("SANDBOX_SIP_METRICS_URL", ""),
        )
        return self.endpoints

    async def _watch_rooms(self, client: api.LiveKitAPI, env: Mapping[str, str]) -> None:
        url = env.get("SANDBOX_EVENTS_URL")
        if not url:
            self._watch = asyncio.create_task(self._look(client))
            return
        await client.aclose()
        connected = asyncio.get_running_loop().create_future()
        secret = env["LIVEKIT_API_SECRET"]
        self._watch = asyncio.create_task(follow_webhooks(url, secret, self._timeline, connected))
        try:
            await asyncio.wait_for(connected, 5)
        except (TimeoutError, OSError, aiohttp.ClientError) as error:
            await self.stop()
            raise StackError(
                f"{url} does not pass events on",
                seen=[repr(error)],
                remedy='is that stack still up? Then: eval "$(sandbox status -o env)"',
            ) from error

    async def _start_phone(self, sip_host: str) -> PhoneProcess:
        assert self._reaper is not None
        self._phone = await start_phone(
            provision.phone_python(),
            sip_host=sip_host,
            run_dir=self._options.run_dir,
            reaper=self._reaper,
            timeout=self._options.start_timeout,
        )
        return self._phone

    async def restart_phone(self) -> Endpoints:
        """Give the stack a new phone, its old one having crashed."""
        assert self.endpoints is not None
        assert self._phone is not None
        await self._phone.child.stop(grace=0)
        phone = await self._start_phone(self.endpoints.phone_host)
        self.endpoints = replace(self.endpoints, phone_url=phone.url, phone_token=phone.token)
        return self.endpoints

    async def _look(self, client: api.LiveKitAPI) -> None:
        """Record participants that come and go, under the names of the webhooks."""
        seen: dict[tuple[str, str], dict[str, Any]] = {}
        rooms: dict[str, dict[str, Any]] = {}
        try:
            while True:
                now: dict[tuple[str, str], dict[str, Any]] = {}
                listed = (await client.room.list_rooms(api.ListRoomsRequest())).rooms
                for room in listed:
                    answer = await client.room.list_participants(
                        api.ListParticipantsRequest(room=room.name)
                    )
                    for who in answer.participants:
                        now[room.name, who.sid] = _dict(who)
                current = {room.name: _dict(room) for room in listed}
                for name in current.keys() - rooms.keys():
                    self._say("room_started", current[name])
                for key in now.keys() - seen.keys():
                    self._say("participant_joined", {"name": key[0]}, now[key])
                for key in seen.keys() - now.keys():
                    self._say("participant_left", {"name": key[0]}, seen[key])
                for name in rooms.keys() - current.keys():
                    self._say("room_finished", rooms[name])
                seen, rooms = now, current
                await asyncio.sleep(_INTERVAL)
        finally:
            await client.aclose()

    def _say(
        self, name: str, room: Mapping[str, Any], who: Mapping[str, Any] | None = None
    ) -> None:
        data = {"event": name, "room": dict(room), **({"participant": dict(who)} if who else {})}
        self._timeline.add(Event(source="webhook", name=f"webhook.{name}", data=data))

    def watch_path(self, path: Path) -> None:
        """Have a file or folder removed should this process be killed."""
        assert self._reaper is not None
        self._reaper.watch_path(path)

    async def stop(self) -> None:
        """End the phone; the deployment is left as it is."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            self._watch = None
        if self._phone is not None:
            await self._phone.child.stop(grace=1.0)
            self._phone = None
        if self._reaper is not None:
            self._reaper.dismiss()
            self._reaper = None
        self.endpoints = None


def _dict(message: Any) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True)


async def _this_side(host: str, port: int) -> str:
    """The address from which packets to `host` leave this machine; nothing is sent.

    Raises:
        StackError: there is no such host, or no way to it.
    """
    loop = asyncio.get_running_loop()
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            found = await loop.getaddrinfo(host, port, family=socket.AF_INET)
            probe.connect(found[0][4])
            return str(probe.getsockname()[0])
    except OSError as error:
        raise StackError(
            f"no way to the SIP service at {host}:{port}",
            seen=[str(error)],
            remedy="check SANDBOX_SIP_ADDRESS, or name our own address in SANDBOX_PHONE_HOST",
        ) from error
