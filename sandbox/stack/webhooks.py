"""Receives livekit-server's signed webhooks, puts them on the timeline, and passes them on."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json

import aiohttp
from aiohttp import web
from google.protobuf.json_format import MessageToDict
from livekit import api

from sandbox.timeline import Event, Timeline

__all__ = ["WebhookServer", "follow_webhooks"]


class WebhookServer:
    """An HTTP server for livekit-server's `webhook.urls`.

    Each event becomes `webhook.<event>` on the timeline, with the fields of the WebhookEvent
    message (`room`, `participant`, `track`, …) as in its JSON form. A post whose signature does
    not verify is answered 401 and recorded as `webhook.refused`.

    The WebSocket at `events_url` passes them on to a run that attaches to this stack; it asks for
    the API secret as bearer token.
    """

    def __init__(self, timeline: Timeline, key: str, secret: str) -> None:
        self._timeline = timeline
        self._receiver = api.WebhookReceiver(api.TokenVerifier(key, secret))
        self._secret = secret
        self._runner: web.AppRunner | None = None
        self.url = ""
        self.events_url = ""

    async def start(self, host: str, port: int) -> None:
        """Listen on `host:port`."""
        app = web.Application()
        app.router.add_post("/webhook", self._receive)
        app.router.add_get("/events", self._pass_on)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.url = f"http://{host}:{port}/webhook"
        self.events_url = f"ws://{host}:{port}/events"

    async def stop(self) -> None:
        """Close the port."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _receive(self, request: web.Request) -> web.Response:
        body = (await request.read()).decode()
        try:
            event = self._receiver.receive(body, request.headers.get("Authorization", ""))
        except Exception as error:  # the verifier raises whatever PyJWT raises
            self._timeline.record("webhook", "webhook.refused", error=str(error))
            return web.Response(status=401)
        data = MessageToDict(event, preserving_proto_field_name=True)
        self._timeline.add(Event(source="webhook", name=f"webhook.{event.event}", data=data))
        return web.Response()

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self._secret}".encode()):
            return web.Response(status=401)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        queue: asyncio.Queue[Event] = asyncio.Queue()

        def take(event: Event) -> None:
            if event.source == "webhook":
                queue.put_nowait(event)

        async def push() -> None:
            while True:
                event = await queue.get()
                await socket.send_json({"name": event.name, "at": event.at, "data": event.data})

        leave = self._timeline.subscribe(take)
        pusher = asyncio.create_task(push())
        try:
            async for _ in socket:
                continue
        finally:
            leave()
            pusher.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await pusher
        return socket


async def follow_webhooks(
    url: str, secret: str, timeline: Timeline, connected: asyncio.Future[None]
) -> None:
    """Put the webhooks that another process receives on `timeline`, until cancelled.

    Args:
        url: the `events_url` of its WebhookServer.
        secret: the API secret of the stack.
        timeline: where they go.
        connected: resolved once they come, or failed with what prevents it.
    """
    try:
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {secret}"}) as session,
            session.ws_connect(url) as socket,
        ):
            connected.set_result(None)
            async for message in socket:
                event = json.loads(message.data)
                timeline.add(Event(source="webhook", **event))
    except (aiohttp.ClientError, OSError) as error:
        if not connected.done():
            connected.set_exception(error)
