"""When livekit-server and the SIP service hear each other, told from what redis says."""

from __future__ import annotations

import asyncio
import fnmatch

import pytest

from sandbox.stack.readiness import bus_is_heard

SERVER = [
    *(f"IOInfo|{name}|{part}" for name in ("GetSIPTrunkAuthentication", "EvaluateSIPDispatchRules")
      for part in ("REQ", "RCLAIM")),
    "SIPInternal|CLI_server|RES", "SIPInternal|CLI_server|CLAIM",
]  # fmt: skip
SIP = [
    "SIPInternal|CreateSIPParticipant|REQ", "SIPInternal|CreateSIPParticipant|RCLAIM",
    "IOInfo|CLI_sip|RES", "IOInfo|CLI_sip|CLAIM",
]  # fmt: skip


@pytest.mark.parametrize(
    ("channels", "heard"),
    [
        (SERVER + SIP, True),
        (SERVER + SIP + ["IOInfo|CLI_another|RES", "Keepalive|CLI_x|RES"], True),
        ([name.replace("Participant|", "Participant|cluster|") for name in SERVER + SIP], True),
        (SERVER, False),
        (SIP, False),
        *((sorted({*SERVER, *SIP} - {missing}), False) for missing in SERVER + SIP),
        ([], False),
    ],
)
async def test_all_channels_must_be_there(channels: list[str], heard: bool) -> None:
    async def redis(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            command, what, pattern = line.decode().split()
            assert (command, what) == ("PUBSUB", "CHANNELS")
            found = [name for name in channels if fnmatch.fnmatchcase(name, pattern)]
            bulk = "".join(f"${len(name)}\r\n{name}\r\n" for name in found)
            writer.write(f"*{len(found)}\r\n{bulk}".encode())
        writer.close()

    async with await asyncio.start_server(redis, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await bus_is_heard("127.0.0.1", port) is heard


async def test_without_redis_nothing_is_heard() -> None:
    async with await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
    assert not await bus_is_heard("127.0.0.1", port)


async def test_an_error_of_redis_is_not_heard() -> None:
    async def redis(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"-NOAUTH Authentication required.\r\n")
        writer.close()

    async with await asyncio.start_server(redis, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert not await bus_is_heard("127.0.0.1", port)
