"""The switchboard: lines and calls by id, workers behind them, events to whoever listens."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

from sandbox.phone import protocol
from sandbox.phone.service.pool import Pool, Worker, WorkerError

__all__ = ["Switchboard"]

Event = dict[str, Any]

#: How long a line that is given back may take to end its calls politely, in seconds.
_POLITE = 0.25


class _Line:
    def __init__(self, name: str, worker: Worker) -> None:
        self.name = name
        self.worker = worker
        self.calls: set[str] = set()
        self.closing = False


class Switchboard:
    """All lines of the phone."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._lines: dict[str, _Line] = {}
        self._numbers = itertools.count(1)
        self._listeners: set[Callable[[Event], None]] = set()

    # --- events ------------------------------------------------------------------------------

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Tell `listener` every event from now on; returns the function that ends it."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    def _tell(self, event: Event) -> None:
        for listener in tuple(self._listeners):
            listener(event)

    def _from_worker(self, line: _Line, event: Event) -> None:
        name, call = event["event"], event["call"]
        if call and name == "call.ended":
            line.calls.discard(call)
        elif call and name in ("call.incoming", "transfer.dialed"):
            line.calls.add(event["data"].get("new_call") or call)
        event["data"].setdefault("line", line.name)
        self._tell(event)

    def _ended(self, line: _Line, code: int) -> None:
        self._lines.pop(line.name, None)
        if line.closing and code == 0:
            return
        log = line.worker.last_log()
        for call in sorted(line.calls):
            self._tell(
                {
                    "event": "call.ended",
                    "at": time.time(),
                    "call": call,
                    "data": {
                        "status": 0,
                        "reason": "the line was closed" if line.closing else "the line crashed",
                        "by": "local",
                        "answered": False,
                        "stats": {},
                        "line": line.name,
                    },
                }
            )
        line.calls.clear()
        if not line.closing:
            self._tell(
                {
                    "event": "line.crashed",
                    "at": time.time(),
                    "call": "",
                    "data": {
                        "line": line.name,
                        "code": code,
                        "log": log,
                        "log_path": str(line.worker.log),
                    },
                }
            )

    # --- lines -------------------------------------------------------------------------------

    async def open(self, request: protocol.OpenLine) -> dict[str, Any]:
        """Make a line.

        Raises:
            WorkerError: its worker did not start, or refused the options.
        """
        worker = await self._pool.take()
        line = _Line(f"l{next(self._numbers)}", worker)
        self._lines[line.name] = line
        worker.on_event = lambda event: self._from_worker(line, event)
        worker.on_end = lambda code: self._ended(line, code)
        try:
            await worker.ask("line.open", {"line": line.name, "request": protocol.encode(request)})
        except WorkerError:
            line.closing = True
            worker.kill()
            raise
        return {"line": line.name, "address": worker.address, "number": request.number}

    def _line(self, name: str) -> _Line:
        line = self._lines.get(name)
        if line is None or line.closing:
            raise WorkerError(f"there is no line {name}", 404)
        return line

    async def on_line(self, name: str, op: str, request: protocol.Request) -> Any:
        """Do something with a line.

        Raises:
            WorkerError: there is no such line, or it refused.
        """
        line = self._line(name)
        answer = await line.worker.ask(f"line.{op}", {"request": protocol.encode(request)})
        if op == "dial":
            line.calls.add(answer["call"])
        return answer

    async def on_call(self, call: str, op: str, request: protocol.Request) -> Any:
        """Do something with a call.

        Raises:
            WorkerError: there is no such call, or it refused.
        """
        line = self._line(call.partition(".")[0])
        body: Mapping[str, Any] = {"call": call, "request": protocol.encode(request)}
        return await line.worker.ask(f"call.{op}", body)

    async def close(self, name: str) -> None:
        """End a line and its calls."""
        await self._close(self._line(name))

    async def _close(self, line: _Line) -> None:
        line.closing = True
        worker = line.worker
        ended = asyncio.get_running_loop().create_future()
        noticed = worker.on_end

        def end(code: int) -> None:
            noticed(code)
            if not ended.done():
                ended.set_result(None)

        worker.on_end = end
        if worker.ended:
            return
        with contextlib.suppress(WorkerError):
            await worker.ask("line.quit", {"within": _POLITE})
        done, _ = await asyncio.wait({ended}, timeout=_POLITE * 2)
        if not done:
            worker.kill()
            await asyncio.wait({ended}, timeout=2.0)

    async def reset(self) -> None:
        """End all lines and their calls."""
        lines = [line for line in self._lines.values() if not line.closing]
        await asyncio.gather(*(self._close(line) for line in lines))

    def leaks(self) -> list[str]:
        """The calls that are still up."""
        return sorted(call for line in self._lines.values() for call in line.calls)
