"""Probes that tell whether a part of the stack truly answers, not merely listens."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Mapping

import aiohttp
from livekit import api

from sandbox.stack.endpoints import Endpoints

__all__ = [
    "answers",
    "bus_is_heard",
    "http_ok",
    "redis_answers",
    "redis_says",
    "server_answers",
    "sip_answers",
    "until",
]

#: Pause between two tries of a probe, in seconds: a part that starts has no event to wait for.
_PAUSE = 0.015

#: What livekit-server and the SIP service subscribe to in redis (psrpc 0.7) to ask each other: the
#: requests of one, and the answers that the other waits for, in both directions.
_BUS = (
    *(f"IOInfo|{name}|*{part}" for name in ("GetSIPTrunkAuthentication", "EvaluateSIPDispatchRules")
      for part in ("REQ", "RCLAIM")),
    *(f"SIPInternal|CreateSIPParticipant|*{part}" for part in ("REQ", "RCLAIM")),
    *(f"{service}|CLI_*|{part}" for service in ("IOInfo", "SIPInternal")
      for part in ("RES", "CLAIM")),
)  # fmt: skip


async def until(probe: Callable[[], Awaitable[bool]], *, within: float) -> bool:
    """Try `probe` until it answers True; False when `within` seconds passed first."""
    with contextlib.suppress(asyncio.TimeoutError):
        async with asyncio.timeout(within):
            while not await probe():  # noqa: ASYNC110 - another process cannot set our event
                await asyncio.sleep(_PAUSE)
            return True
    return False


async def answers(kind: str, session: aiohttp.ClientSession, ends: Endpoints) -> bool:
    """Whether a part of a stack answers: `redis`, `livekit-server`, `sip` or `phone`."""
    if kind == "redis":
        host, _, port = ends.redis_address.rpartition(":")
        return await redis_answers(host, int(port))
    if kind == "livekit-server":
        return await server_answers(session, ends.livekit_url, ends.api_key, ends.api_secret)
    if kind == "phone":
        headers = {"Authorization": f"Bearer {ends.phone_token}"}
        return await http_ok(session, f"{ends.phone_url}/leaks", headers)
    return await http_ok(session, ends.sip_health_url) and await sip_answers(
        ends.sip_host, ends.sip_port
    )


async def redis_says(host: str, port: int, *commands: str) -> list[set[str]]:
    """What redis answers to each command (RESP): the elements of an array, or the one status.

    Raises:
        OSError: it is not there, or has gone.
        ValueError: it answered with an error.
    """
    reader, writer = await asyncio.open_connection(host, port)
    try:
        said = []
        for command in commands:
            writer.write(f"{command}\r\n".encode())
            first = (await reader.readline()).decode().strip()
            if first.startswith("+"):
                said.append({first[1:]})
                continue
            elements = set()
            for _ in range(int(first.removeprefix("*"))):
                size = int((await reader.readline()).removeprefix(b"$"))
                elements.add((await reader.readexactly(size + 2))[:-2].decode("latin-1"))
            said.append(elements)
        return said
    except asyncio.IncompleteReadError as cut:
        raise ConnectionResetError("redis has gone in the middle of an answer") from cut
    finally:
        writer.close()


async def redis_answers(host: str, port: int) -> bool:
    """Whether redis answers PING with PONG."""
    with contextlib.suppress(OSError, ValueError):
        return await redis_says(host, port, "PING") == [{"PONG"}]
    return False


async def bus_is_heard(host: str, port: int) -> bool:
    """Whether livekit-server and the SIP service listen to each other in that redis.

    They subscribe in the background, after they have said that they are ready: a question that is
    asked before gets no answer, and the call a 503.
    """
    with contextlib.suppress(OSError, ValueError):
        return all(await redis_says(host, port, *(f"PUBSUB CHANNELS {name}" for name in _BUS)))
    return False


async def server_answers(session: aiohttp.ClientSession, url: str, key: str, secret: str) -> bool:
    """Whether livekit-server answers RoomService.ListRooms."""
    client = api.LiveKitAPI(url, key, secret, session=session, failover=False)
    try:
        await client.room.list_rooms(api.ListRoomsRequest())
    except (aiohttp.ClientError, api.TwirpError, OSError):
        return False
    return True


async def http_ok(
    session: aiohttp.ClientSession, url: str, headers: Mapping[str, str] | None = None
) -> bool:
    """Whether a GET of `url` answers 200."""
    try:
        async with session.get(url, headers=headers) as response:
            return response.status == 200
    except (aiohttp.ClientError, OSError):
        return False


class _Answer(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.first: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self.first.done():
            self.first.set_result(data)

    def error_received(self, exc: Exception) -> None:
        # ICMP port unreachable: nothing listens there yet.
        if not self.first.done():
            self.first.set_exception(exc)


async def sip_answers(host: str, port: int, *, within: float = 0.25) -> bool:
    """Whether a SIP OPTIONS over UDP gets any final answer (RFC 3261 section 11)."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(_Answer, remote_addr=(host, port))
    try:
        local_host, local_port = transport.get_extra_info("sockname")[:2]
        tag = secrets.token_hex(4)
        lines = [
            f"OPTIONS sip:{host}:{port} SIP/2.0",
            f"Via: SIP/2.0/UDP {local_host}:{local_port};branch=z9hG4bK{tag};rport",
            f"From: <sip:probe@{local_host}>;tag={tag}",
            f"To: <sip:{host}:{port}>",
            f"Call-ID: probe-{secrets.token_hex(8)}",
            "CSeq: 1 OPTIONS",
            f"Contact: <sip:probe@{local_host}:{local_port}>",
            "Max-Forwards: 70",
            "Content-Length: 0",
            "",
            "",
        ]
        transport.sendto("\r\n".join(lines).encode())
        answer = await asyncio.wait_for(protocol.first, within)
        return answer.startswith(b"SIP/2.0 ")
    except (TimeoutError, OSError):
        return False
    finally:
        transport.close()
