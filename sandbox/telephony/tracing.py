"""A plain LiveKitAPI whose every request and answer is on the timeline."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from livekit import api
from livekit.protocol import agent_dispatch, room, sip

from sandbox.timeline import Event, Timeline

__all__ = ["api_client", "sip_request"]

_MODULES = (sip, room, agent_dispatch)


def _methods() -> Iterator[tuple[str, tuple[type[Message], type[Message]]]]:
    for module in _MODULES:
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield (
                    f"{service.name}/{method.name}",
                    (GetMessageClass(method.input_type), GetMessageClass(method.output_type)),
                )


_TYPES = dict(_methods())


async def sip_request(client: api.LiveKitAPI, method: str, request: Message) -> Any:
    """Call any method of the SIP service, also those that the SDK has no function for.

    Args:
        client: a client of `api_client`, or a plain one.
        method: as in livekit_sip.proto: `GetSIPInboundTrunk`.
        request: its request message.

    Returns:
        Its response message.

    Raises:
        livekit.api.ServerError: livekit-server refused it.
    """
    grants = api.SIPGrants(admin=True, call=True)
    service = client.sip
    return await service._client.request(
        "SIP",
        method,
        request,
        service._auth_header(api.VideoGrants(), sip=grants),
        _TYPES[f"SIP/{method}"][1],
    )


def _decode(kind: type[Message] | None, body: bytes) -> Any:
    if kind is None:
        return {"bytes": len(body)}
    message = kind()
    message.ParseFromString(body)
    return MessageToDict(message, preserving_proto_field_name=True)


def _trace(timeline: Timeline) -> aiohttp.TraceConfig:
    config = aiohttp.TraceConfig()

    async def start(_: Any, context: SimpleNamespace, params: Any) -> None:
        context.method = "/".join(params.url.path.split("/")[-2:]).removeprefix("livekit.")
        context.sent = bytearray()
        context.received = bytearray()

    async def sent(_: Any, context: SimpleNamespace, params: Any) -> None:
        context.sent += params.chunk
        kinds = _TYPES.get(context.method)
        context.started = time.monotonic()
        timeline.record(
            "api",
            "api.request",
            method=context.method,
            message=_decode(kinds[0] if kinds else None, bytes(context.sent)),
        )

    async def received(_: Any, context: SimpleNamespace, params: Any) -> None:
        context.received += params.chunk

    async def end(_: Any, context: SimpleNamespace, params: Any) -> None:
        # Read here at the latest: the SDK reads the body only after this event.
        body = await params.response.read()
        data: dict[str, Any] = {
            "method": context.method,
            "http": params.response.status,
            "seconds": round(time.monotonic() - getattr(context, "started", time.monotonic()), 4),
        }
        if params.response.status == 200:
            kinds = _TYPES.get(context.method)
            data["message"] = _decode(kinds[1] if kinds else None, body)
        else:
            try:
                data["error"] = json.loads(body)
            except ValueError:
                data["error"] = body.decode(errors="replace")
        timeline.add(Event(source="api", name="api.answer", data=data))

    async def failed(_: Any, context: SimpleNamespace, params: Any) -> None:
        timeline.record("api", "api.failed", method=context.method, error=repr(params.exception))

    config.on_request_start.append(start)
    config.on_request_chunk_sent.append(sent)
    config.on_response_chunk_received.append(received)
    config.on_request_end.append(end)
    config.on_request_exception.append(failed)
    return config


@asynccontextmanager
async def api_client(
    url: str, key: str, secret: str, timeline: Timeline, *, timeout: float = 90.0
) -> AsyncIterator[api.LiveKitAPI]:
    """A `livekit.api.LiveKitAPI` whose requests land on `timeline`.

    Each request is an `api.request` event (`method`, `message`) and each answer an `api.answer`
    (`method`, `http`, `seconds`, `message` or `error`), the messages as in their JSON form.

    Args:
        url: of livekit-server.
        key: the API key.
        secret: its secret.
        timeline: where the requests are recorded.
        timeout: for one request, in seconds; a call with `wait_until_answered` takes as long as
            the callee lets it ring.
    """
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=timeout), trace_configs=[_trace(timeline)]
    ) as session:
        yield api.LiveKitAPI(url, key, secret, session=session, failover=False)
