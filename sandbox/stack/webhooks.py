"""Receives livekit-server's signed webhooks and puts them on the timeline."""

from __future__ import annotations

from aiohttp import web
from google.protobuf.json_format import MessageToDict
from livekit import api

from sandbox.timeline import Event, Timeline

__all__ = ["WebhookServer"]


class WebhookServer:
    """An HTTP server for livekit-server's `webhook.urls`.

    Each event becomes `webhook.<event>` on the timeline, with the fields of the WebhookEvent
    message (`room`, `participant`, `track`, …) as in its JSON form. A post whose signature does
    not verify is answered 401 and recorded as `webhook.refused`.
    """

    def __init__(self, timeline: Timeline, key: str, secret: str) -> None:
        self._timeline = timeline
        self._receiver = api.WebhookReceiver(api.TokenVerifier(key, secret))
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self, host: str, port: int) -> None:
        """Listen on `host:port`."""
        app = web.Application()
        app.router.add_post("/webhook", self._receive)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.url = f"http://{host}:{port}/webhook"

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
