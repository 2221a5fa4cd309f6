"""The switchboard over HTTP: requests as JSON, events over one WebSocket, a bearer token."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hmac
import json
import os
import secrets
import signal
import stat
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from sandbox.phone import protocol
from sandbox.phone.service.pool import Pool, WorkerError
from sandbox.phone.service.switchboard import Switchboard
from sandbox.phone.service.zygote import Zygote, die_with_parent, launch

__all__ = ["application", "main"]

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SWITCHBOARD = web.AppKey("switchboard", Switchboard)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _error(status: int, what: str) -> web.Response:
    return web.json_response({"error": what}, status=status)


def _guard(token: str) -> Any:
    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), token.encode()):
            return _error(401, "the bearer token is missing or wrong")
        try:
            return await handler(request)
        except protocol.BadRequest as error:
            return _error(400, str(error))
        except json.JSONDecodeError as error:
            return _error(400, f"the body is not JSON: {error}")
        except WorkerError as error:
            return _error(error.status, str(error))

    return guard


async def _body(request: web.Request) -> Any:
    return json.loads(await request.text() or "{}")


async def _open(request: web.Request) -> web.Response:
    body = protocol.decode(protocol.OpenLine, await _body(request))
    return web.json_response(await request.app[_SWITCHBOARD].open(body))


async def _close(request: web.Request) -> web.Response:
    await request.app[_SWITCHBOARD].close(request.match_info["line"])
    return web.json_response({})


async def _on_line(request: web.Request) -> web.Response:
    op = request.match_info["op"]
    if op not in protocol.LINE_REQUESTS:
        return _error(404, f"no operation {op!r}; there are {', '.join(protocol.LINE_REQUESTS)}")
    body = protocol.decode(protocol.LINE_REQUESTS[op], await _body(request))
    board = request.app[_SWITCHBOARD]
    return web.json_response(await board.on_line(request.match_info["line"], op, body))


async def _on_call(request: web.Request) -> web.Response:
    op = request.match_info["op"]
    if op not in protocol.CALL_REQUESTS:
        return _error(404, f"no operation {op!r}; there are {', '.join(protocol.CALL_REQUESTS)}")
    body = protocol.decode(protocol.CALL_REQUESTS[op], await _body(request))
    board = request.app[_SWITCHBOARD]
    return web.json_response(await board.on_call(request.match_info["call"], op, body))


async def _reset(request: web.Request) -> web.Response:
    await request.app[_SWITCHBOARD].reset()
    return web.json_response({})


async def _leaks(request: web.Request) -> web.Response:
    return web.json_response({"calls": request.app[_SWITCHBOARD].leaks()})


async def _events(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(heartbeat=None, compress=False)
    await socket.prepare(request)
    queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    stop = request.app[_SWITCHBOARD].listen(queue.put_nowait)

    async def push() -> None:
        while True:
            await socket.send_str(json.dumps(await queue.get()))

    pusher = asyncio.create_task(push())
    try:
        async for message in socket:
            if message.type is WSMsgType.ERROR:
                break
    finally:
        stop()
        pusher.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await pusher
    return socket


def application(board: Switchboard, token: str) -> web.Application:
    """The web application around a switchboard."""
    app = web.Application(middlewares=[_guard(token)], client_max_size=16 * 1024 * 1024)
    app[_SWITCHBOARD] = board
    app.add_routes(
        [
            web.get("/events", _events),
            web.get("/leaks", _leaks),
            web.post("/reset", _reset),
            web.post("/lines", _open),
            web.delete("/lines/{line}", _close),
            web.post("/lines/{line}/{op}", _on_line),
            web.post("/calls/{call}/{op}", _on_call),
        ]
    )
    return app


async def _stdin_closed() -> None:
    """Wait until the other end of stdin is gone; forever if it is a terminal or a file."""
    mode = os.fstat(0).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        await asyncio.Event().wait()
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(4096):
        pass


async def _serve(options: argparse.Namespace, directory: Path, zygote: Zygote) -> None:
    token = os.environ.get(options.token_env) or secrets.token_urlsafe(24)
    pool = Pool(host=options.sip_host, directory=directory, ahead=options.ahead)
    await pool.start(zygote)
    board = Switchboard(pool)
    runner = web.AppRunner(application(board, token), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, options.host, options.port)
    await site.start()
    ready = {"ready": True, "port": runner.addresses[0][1], "pid": os.getpid()}
    if not os.environ.get(options.token_env):
        ready["token"] = token
    print(json.dumps(ready), flush=True)  # noqa: T201 - the caller reads it
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    waits = {asyncio.create_task(_stdin_closed()), asyncio.create_task(stop.wait())}
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    await pool.close()
    await runner.cleanup()


def main(arguments: list[str] | None = None, zygote: Zygote | None = None) -> None:
    """Run the phone until stdin closes (a pipe or socket), the parent dies, or a signal comes.

    Args:
        arguments: of the command line; `sys.argv` by default.
        zygote: already started, to save the time of its imports.
    """
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.phone", description="A SIP switchboard for tests."
    )
    parser.add_argument("--host", default="127.0.0.1", help="HTTP address; loopback only")
    parser.add_argument("--port", type=int, default=0, help="HTTP port; 0 takes a free one")
    parser.add_argument("--sip-host", default="127.0.0.1", help="address for SIP and RTP")
    parser.add_argument(
        "--token-env",
        default=protocol.TOKEN_VARIABLE,
        help="variable with the bearer token; unset, a random one is printed",
    )
    parser.add_argument("--log-dir", help="where logs and recordings go")
    parser.add_argument("--ahead", type=int, default=2, help="lines kept ready")
    parser.add_argument(
        "--any-host", action="store_true", help="allow --host to be no loopback address"
    )
    options = parser.parse_args(arguments)
    if options.host not in _LOOPBACK and not options.any_host:
        parser.error(
            f"--host {options.host}: the phone's HTTP is for this machine only; "
            "in a container of its own, add --any-host"
        )
    directory = Path(options.log_dir or tempfile.mkdtemp(prefix="sandbox-phone-")).absolute()
    directory.mkdir(parents=True, exist_ok=True)
    die_with_parent()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(options, directory, zygote or launch()))
