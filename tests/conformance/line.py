"""Raw sockets that speak SIP: what is sent goes out as it is, what comes in is handed on."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["Line", "TcpLine", "UdpLine", "open_line"]

#: Called with the text of a message and when it came, on the monotonic clock.
Receive = Callable[[str, float], None]


class Line(Protocol):
    """One address of ours."""

    @property
    def port(self) -> int:
        """The port it is reached at."""

    async def send(self, text: str) -> None:
        """Send a message to the SIP service, byte by byte as given."""

    def close(self) -> None:
        """Give the port back."""


class UdpLine(asyncio.DatagramProtocol):
    """A UDP socket; every datagram is a message."""

    def __init__(self, service: tuple[str, int], receive: Receive) -> None:
        self._service = service
        self._receive = receive
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self, host: str) -> None:
        """Bind a free port of `host`."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(host, 0))

    @property
    def port(self) -> int:
        assert self._transport is not None
        return int(self._transport.get_extra_info("sockname")[1])

    async def send(self, text: str) -> None:
        self.post(text)

    def post(self, text: str) -> None:
        """The same, for who cannot wait: a datagram goes out at once."""
        assert self._transport is not None
        self._transport.sendto(text.encode(), self._service)

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._receive(data.decode(errors="replace"), time.monotonic())

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class TcpLine:
    """A TCP port that takes connections, and one connection out to the SIP service.

    A response goes back on the connection its request came on, all else on our own.
    """

    def __init__(self, service: tuple[str, int], receive: Receive) -> None:
        self._service = service
        self._receive = receive
        self._server: asyncio.Server | None = None
        self._out: asyncio.StreamWriter | None = None
        self._asked: asyncio.StreamWriter | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, host: str) -> None:
        """Listen on a free port of `host`."""
        self._server = await asyncio.start_server(self._serve, host, 0)

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def send(self, text: str) -> None:
        if text.startswith("SIP/2.0") and self._asked is not None:
            writer = self._asked
        else:
            if self._out is None:
                reader, self._out = await asyncio.open_connection(*self._service)
                self._keep(reader, self._out)
            writer = self._out
        writer.write(text.encode())
        await writer.drain()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._keep(reader, writer)

    def _keep(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        task = asyncio.create_task(self._read(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode(errors="replace")
                head = head.lstrip("\r\n")
                if not head:
                    continue
                length = re.search(r"(?im)^(?:content-length|l)\s*:\s*(\d+)", head)
                body = await reader.readexactly(int(length[1])) if length else b""
                if not head.startswith("SIP/2.0"):
                    self._asked = writer
                self._receive(head + body.decode(errors="replace"), time.monotonic())
        except (asyncio.IncompleteReadError, ConnectionError):
            return

    def disconnect(self) -> None:
        """Close all connections, and go on to listen."""
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.close()
        self._writers.clear()
        self._out = self._asked = None

    def close(self) -> None:
        self.disconnect()
        if self._server is not None:
            self._server.close()


async def open_line(transport: str, host: str, service: tuple[str, int], receive: Receive) -> Line:
    """Open a line on a free port of `host`, for `udp` or `tcp`."""
    line = TcpLine(service, receive) if transport == "tcp" else UdpLine(service, receive)
    await line.open(host)
    return line
