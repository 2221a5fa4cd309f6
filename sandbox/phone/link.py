"""The client's connection to the phone service: requests over HTTP, events over a WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from sandbox.errors import PhoneError
from sandbox.phone import protocol
from sandbox.timeline import Event

__all__ = ["HeaderInput", "Link", "header_list"]

HeaderInput = Mapping[str, str] | list[tuple[str, str]] | tuple[tuple[str, str], ...] | None

#: A request that takes longer hangs, in seconds.
_TIMEOUT = 15.0
_LOG_LINES = 8


def header_list(headers: HeaderInput) -> protocol.HeaderList:
    """Headers as pairs; a mapping cannot repeat a name, a list of pairs can."""
    if headers is None:
        return []
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return [(str(name), str(value)) for name, value in pairs]


class Link:
    """One connection to the phone service."""

    def __init__(self, url: str, token: str, *, log_path: Path | None) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self.log_path = log_path
        #: Takes each event.
        self.on_event: Callable[[Event], None] = lambda event: None
        self._session: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._reader: asyncio.Task[None] | None = None
        self._closing = False
        #: Set when the service is gone although nobody closed the link.
        self.lost = False

    async def open(self) -> None:
        """Connect.

        Raises:
            PhoneError: nobody answers, or the token is wrong.
        """
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT),
        )
        try:
            self._socket = await self._session.ws_connect(
                f"{self._url}/events", max_msg_size=16 * 1024 * 1024, compress=0
            )
        except (aiohttp.ClientError, OSError) as error:
            await self._session.close()
            raise self._error(
                f"cannot connect to the phone at {self._url}: {error}",
                remedy="start it with `python -m sandbox.phone`, and use its token",
            ) from None
        self._reader = asyncio.create_task(self._read(self._socket))

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            value = json.loads(message.data)
            self.on_event(
                Event(
                    source="phone",
                    name=value["event"],
                    at=value["at"],
                    call=value["call"],
                    data=value["data"],
                )
            )
        if not self._closing:
            self.lost = True
            self.on_event(
                Event(
                    source="phone",
                    name="phone.crashed",
                    data={"log": self._last_log(), "log_path": str(self.log_path or "")},
                )
            )

    async def close(self) -> None:
        """Disconnect; safe to call twice."""
        self._closing = True
        if self._socket is not None:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                await self._socket.close()
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
            self._reader = None
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _last_log(self) -> str:
        if self.log_path is None:
            return ""
        try:
            return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-_LOG_LINES:])
        except OSError:
            return ""

    def _error(self, what: str, *, cause: str = "", remedy: str = "") -> PhoneError:
        log = self._last_log()
        return PhoneError(
            what,
            seen=tuple(log.splitlines()) if self.lost else (),
            cause=cause,
            remedy=remedy,
            evidence=str(self.log_path or ""),
        )

    def crashed(self) -> PhoneError:
        """The error for a service that is gone."""
        return self._error("the phone service has ended", cause="it crashed, or was stopped")

    async def ask(
        self, method: str, path: str, request: protocol.Request | None = None
    ) -> dict[str, Any]:
        """Send a request; the answer.

        Raises:
            PhoneError: the phone refused it (the error has its words), or is gone.
        """
        if self._session is None or self.lost:
            raise self.crashed()
        body = None if request is None else protocol.encode(request)
        try:
            async with self._session.request(
                method, self._url + path, json=body, timeout=aiohttp.ClientTimeout(_TIMEOUT)
            ) as response:
                answer: dict[str, Any] = await response.json()
                if response.status >= 400:
                    raise self._error(
                        f"the phone refused {method} {path}: {answer.get('error', response.status)}"
                    )
                return answer
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            self.lost = isinstance(error, aiohttp.ClientConnectionError)
            raise self._error(f"the phone did not answer {method} {path}: {error!r}") from None
