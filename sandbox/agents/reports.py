"""Where the agents' processes report to: a socket on loopback, whose lines are timeline events."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets

from sandbox.agents.protocol import decode
from sandbox.timeline import Event, Timeline

__all__ = ["Reports"]


class Reports:
    """Takes the reports of agents under test (see `inside/livekit_sandbox_hooks.py`)."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._token = secrets.token_hex(16)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def address(self, agent: str) -> str:
        """What an agent's environment must say so that it reports here as `agent`."""
        if self._server is None:
            self._server = await asyncio.start_server(self._connected, "127.0.0.1", limit=1 << 20)
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"{host}:{port} {self._token} {agent}"

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await self._read(reader)
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            if decode(await reader.readline()).get("token") != self._token:
                return
        except (ValueError, json.JSONDecodeError):
            return
        while line := await reader.readline():
            message = decode(line)
            name, at = message.pop("event"), message.pop("at")
            self._timeline.add(Event(source="agent", name=name, at=at, data=message))

    async def close(self) -> None:
        """Take no more reports."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
