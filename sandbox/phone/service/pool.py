"""The switchboard's workers: started through the zygote, a few ahead, and their ends noticed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sandbox.phone.service.zygote import Zygote

__all__ = ["Pool", "Worker", "WorkerError"]

#: A worker that has not answered by then hangs, in seconds.
_ANSWER_WITHIN = 10.0
_LOG_LINES = 15


class WorkerError(Exception):
    """Raised when a worker refused a command, or is gone.

    Attributes:
        status: the HTTP status for it.
    """

    def __init__(self, what: str, status: int) -> None:
        self.status = status
        super().__init__(what)


class Worker:
    """One worker process: commands to it, events from it."""

    def __init__(self, number: int, log: Path) -> None:
        self.number = number
        self.log = log
        self.pid = 0
        self.address = ""
        #: Takes each event of the worker.
        self.on_event: Callable[[dict[str, Any]], None] = lambda event: None
        #: Called once when the worker has ended, with its exit code.
        self.on_end: Callable[[int], None] = lambda code: None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._ids = itertools.count(1)
        self._writer: asyncio.StreamWriter | None = None
        self._pipe: asyncio.ReadTransport | None = None
        self._reader: asyncio.Task[None] | None = None
        self.ended = False

    async def attach(self, commands: socket.socket, events: int) -> None:
        """Take the switchboard's ends of the two channels."""
        _, self._writer = await asyncio.open_unix_connection(sock=commands)
        stream = asyncio.StreamReader(limit=16 * 1024 * 1024)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(events, "rb", 0)
        )
        self._pipe = transport
        self._reader = asyncio.create_task(self._read(stream))

    async def _read(self, stream: asyncio.StreamReader) -> None:
        async for line in stream:
            message = json.loads(line)
            if "event" in message:
                if message["event"] == "line.ready":
                    self.address = message["data"]["address"]
                    if not self.ready.done():
                        self.ready.set_result(None)
                else:
                    self.on_event(message)
                continue
            answer = self._answers.pop(message["id"], None)
            if answer is None or answer.done():
                continue
            if "error" in message:
                answer.set_exception(WorkerError(message["error"], message["status"]))
            else:
                answer.set_result(message["ok"])

    async def ask(self, op: str, body: Mapping[str, Any]) -> Any:
        """Have the worker do something; its answer.

        Raises:
            WorkerError: it refused, ended, or did not answer in time.
        """
        if self.ended or self._writer is None:
            raise WorkerError("the line's process has ended", 410)
        number = next(self._ids)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        line = json.dumps({"id": number, "op": op, "body": body})
        try:
            self._writer.write(line.encode() + b"\n")
            return await asyncio.wait_for(answer, _ANSWER_WITHIN)
        except TimeoutError:
            raise WorkerError(f"the line's process did not answer {op} in time", 504) from None
        except OSError as error:
            raise WorkerError(f"the line's process is gone: {error}", 410) from None
        finally:
            self._answers.pop(number, None)

    def kill(self) -> None:
        """End the process now."""
        if self.pid and not self.ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def end(self, code: int) -> None:
        """The process has ended."""
        if self.ended:
            return
        self.ended = True
        what = f"the line's process ended with {_code(code)}"
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(WorkerError(what, 410))
        if not self.ready.done():
            self.ready.set_exception(WorkerError(f"{what}:\n{self.last_log()}", 500))
            self.ready.exception()  # it is fine if nobody waits
        if self._writer is not None:
            self._writer.close()
        self.on_end(code)

    async def drained(self) -> None:
        """Wait until all that the worker wrote before it ended has been read."""
        if self._reader is not None:
            await asyncio.wait({self._reader}, timeout=1.0)
        if self._pipe is not None:
            self._pipe.close()

    def last_log(self) -> str:
        """The last lines of its log."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(deque(lines, _LOG_LINES))


def _code(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


class Pool:
    """Workers that are ready to become lines."""

    def __init__(self, *, host: str, directory: Path, ahead: int) -> None:
        """Make a pool; `start` starts it.

        Args:
            host: the address of the lines.
            directory: where logs and recordings go.
            ahead: how many idle workers are kept.
        """
        self._host = host
        self._directory = directory
        self._ahead = ahead
        self._numbers = itertools.count(1)
        self._idle: deque[Worker] = deque()
        self._by_pid: dict[int, Worker] = {}
        self._orders: deque[Worker] = deque()
        self._control: socket.socket | None = None
        self._zygote: Zygote | None = None
        self._listener: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._early_ends: dict[int, int] = {}

    async def start(self, zygote: Zygote) -> None:
        """Start the first workers.

        Raises:
            WorkerError: the zygote ended instead of getting ready.
        """
        self._zygote = zygote
        self._control = ours = zygote.control
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        first = json.loads(await loop.sock_recv(ours, 65536) or b"{}")
        if "ready" not in first:
            raise WorkerError("the phone's worker process did not start", 500)
        self._listener = asyncio.create_task(self._listen())
        await asyncio.gather(*(self._prepare() for _ in range(self._ahead)))

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        assert self._control is not None
        while data := await loop.sock_recv(self._control, 65536):
            message = json.loads(data)
            if "started" in message:
                worker = self._orders.popleft()
                worker.pid = message["started"]
                self._by_pid[worker.pid] = worker
                if worker.pid in self._early_ends:
                    worker.end(self._early_ends.pop(worker.pid))
            elif message["ended"] in self._by_pid:
                worker = self._by_pid.pop(message["ended"])
                self._spawn(self._end(worker, message["code"]))
            else:
                self._early_ends[message["ended"]] = message["code"]

    async def _end(self, worker: Worker, code: int) -> None:
        await worker.drained()
        if worker in self._idle:
            self._idle.remove(worker)
        worker.end(code)

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[Any] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _order(self) -> Worker:
        number = next(self._numbers)
        log = self._directory / f"line-{number}.log"
        worker = Worker(number, log)
        ours, theirs = socket.socketpair()
        read, write = os.pipe()
        order = {"host": self._host, "log": str(log), "directory": str(self._directory)}
        assert self._control is not None
        # A packet of a few hundred bytes: it is taken at once, or the zygote is gone.
        socket.send_fds(self._control, [json.dumps(order).encode()], [theirs.fileno(), write])
        self._orders.append(worker)
        theirs.close()
        os.close(write)
        await worker.attach(ours, read)
        await worker.ready
        return worker

    async def _prepare(self) -> None:
        worker = await self._order()
        if not worker.ended:
            self._idle.append(worker)

    async def take(self) -> Worker:
        """A ready worker.

        Raises:
            WorkerError: none could be started.
        """
        while self._idle:
            worker = self._idle.popleft()
            if not worker.ended:
                break
        else:
            worker = await self._order()
        if len(self._idle) < self._ahead:
            self._spawn(self._prepare())
        return worker

    async def close(self) -> None:
        """End all workers and the zygote."""
        for task in tuple(self._tasks):
            task.cancel()
        for worker in tuple(self._by_pid.values()):
            worker.kill()
        if self._listener is not None:
            self._listener.cancel()
        if self._control is not None:
            self._control.close()
        if self._zygote is not None:
            await asyncio.to_thread(self._zygote.process.wait)
