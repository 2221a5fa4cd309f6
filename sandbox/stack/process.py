"""Child processes that cannot outlive their owner, with a log each."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from sandbox.errors import StackError
from sandbox.stack.priority import prefer

__all__ = ["Child", "Reaper", "descendants", "last_lines"]

_REAPER = Path(__file__).with_name("reaper.py")


def last_lines(path: Path, count: int = 12) -> list[str]:
    """The last `count` lines of a log, each cut at 300 characters; `[]` if there is none."""
    try:
        with path.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - 64 * 1024))
            text = log.read().decode(errors="replace")
    except OSError:
        return []
    return [line[:300] for line in text.splitlines() if line.strip()][-count:]


class Reaper:
    """Our end of the helper that kills our process groups when we are killed ourselves."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-E", str(_REAPER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        if self._process.stdin.closed:
            return
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()

    def watch_group(self, pgid: int) -> None:
        """Kill process group `pgid` when we die."""
        self._say(f"group {pgid}")

    def forget_group(self, pgid: int) -> None:
        """Group `pgid` has ended by itself."""
        self._say(f"ended {pgid}")

    def watch_path(self, path: Path) -> None:
        """Remove the file or folder `path` when we die."""
        self._say(f"path {path}")

    def dismiss(self) -> None:
        """Everything has been taken down; the reaper ends."""
        self._say("done")
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()


class Child:
    """A started program: its process group, its log and the news of its end.

    The child gets a session of its own (a Ctrl-C at the terminal does not reach it: we end it in
    order), the kernel's parent-death signal where there is one (Linux), and a reaper that kills
    its whole group should we die.
    """

    def __init__(
        self,
        name: str,
        process: asyncio.subprocess.Process,
        log: Path,
        reaper: Reaper,
        stop_signal: int = signal.SIGTERM,
    ):
        self.name = name
        self.log = log
        self.process = process
        self._reaper = reaper
        self._stop_signal = stop_signal
        self.address = ""
        self.stopping = False
        self.exited: asyncio.Task[int] = asyncio.create_task(process.wait(), name=f"{name} exit")

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        reaper: Reaper,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        pipe_stdin: bool = False,
        pipe_stdout: bool = False,
        pipe_output: bool = False,
        stop_signal: int = signal.SIGTERM,
        carries_audio: bool = False,
    ) -> Child:
        """Start `command` with its output in `log`, or where asked on a pipe (`pipe_output`: both).

        `stop_signal` is what `stop` sends if it is not told otherwise. What carries audio gets a
        higher priority, where that is allowed.

        Raises:
            StackError: the program cannot be run.
        """
        line = [*_die_with_parent(), *map(str, command)]
        try:
            if shutil.which(str(command[0])) is None:
                raise FileNotFoundError(f"no such program: {command[0]}")
            with log.open("ab") as output:
                process = await asyncio.create_subprocess_exec(
                    *line,
                    stdin=asyncio.subprocess.PIPE if pipe_stdin else asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE if pipe_stdout or pipe_output else output,
                    stderr=asyncio.subprocess.STDOUT if pipe_output else output,
                    env={**os.environ, **(env or {})},
                    cwd=cwd,
                    start_new_session=True,
                    limit=1 << 20,
                )
        except OSError as error:
            raise StackError(
                f"{name} could not be started: {error}",
                seen=[" ".join(map(str, command))],
                remedy="run `sandbox setup` (in a checkout: make setup)",
                evidence=str(log),
            ) from error
        reaper.watch_group(process.pid)
        if carries_audio:
            prefer(process.pid)
        return cls(name, process, log, reaper, stop_signal)

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self.process.returncode is None

    def failure(self, what: str) -> StackError:
        """An error about this child that shows the end of its log."""
        return StackError(
            f"{self.name}: {what}",
            seen=last_lines(self.log) or ["its log is empty"],
            evidence=str(self.log),
        )

    async def autopsy(self, what: str) -> StackError:
        """The same; as of any part of a stack."""
        return self.failure(what)

    async def send_signal(self, number: int) -> None:
        """Send the process a signal; its end is expected from now on."""
        self.stopping = True
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    @contextlib.asynccontextmanager
    async def frozen(self) -> AsyncIterator[None]:
        """Have the process stand still for a while, as if it hung (Linux)."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            # Its threads stop one by one; until the last has, it may still answer.
            async with asyncio.timeout(5):
                while not _stands_still(self.process.pid):  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0.005)
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)

    async def stop(self, *, number: int | None = None, grace: float = 2.0) -> None:
        """Signal the process, kill its group after `grace` seconds, and wait for its end."""
        if self.running:
            await self.send_signal(self._stop_signal if number is None else number)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.shield(self.exited), grace)
        self.stopping = True
        # Its own children, and itself if it did not listen.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.exited
        self._reaper.forget_group(self.process.pid)


def _die_with_parent() -> list[str]:
    """The command prefix that makes the kernel kill a child when its parent dies (Linux)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


def _stands_still(pid: int) -> bool:
    """Whether every thread of a process is stopped (Linux)."""
    tasks = Path(f"/proc/{pid}/task").glob("*/stat")
    return all(task.read_text().rpartition(") ")[2][0] == "T" for task in tasks)


def descendants(pid: int) -> list[int]:
    """The children of a process, their children and so on (Linux)."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, path.read_text().split()):
                found += [child, *descendants(child)]
    return found
