"""Child processes end with their owner, and say why they ended."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sandbox.errors import StackError
from sandbox.stack.process import Child, Reaper, last_lines

_OWNER = """
import asyncio, sys
from pathlib import Path
from sandbox.stack.process import Child, Reaper

async def main() -> None:
    folder = Path(sys.argv[1])
    reaper = Reaper()
    (folder / "run").mkdir()
    reaper.watch_path(folder / "run")
    script = "sleep 1000 & echo $!; wait"
    child = await Child.start(
        "part", ["sh", "-c", script], log=folder / "log", reaper=reaper, pipe_stdout=True
    )
    grandchild = (await child.process.stdout.readline()).decode().strip()
    print(child.process.pid, grandchild, reaper._process.pid, flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


async def _gone(pid: int, within: float = 3.0) -> None:
    async with asyncio.timeout(within):
        while True:
            try:
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                return
            if state == "Z":  # dead, and only its parent (init in a container) is slow to notice
                return
            await asyncio.sleep(0.01)


async def test_kill_9_of_the_owner_leaves_no_child_grandchild_or_folder(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_OWNER), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    pids = [int(word) for word in owner.stdout.readline().split()]
    assert len(pids) == 3
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    for pid in pids:
        await _gone(pid)
    assert not (tmp_path / "run").exists()


async def test_a_dismissed_reaper_kills_nothing(tmp_path: Path) -> None:
    reaper = Reaper()
    child = await Child.start("part", ["sleep", "1000"], log=tmp_path / "log", reaper=reaper)
    reaper.dismiss()
    assert child.running
    await child.stop(grace=1)


async def test_stop_kills_what_does_not_listen(tmp_path: Path) -> None:
    reaper = Reaper()
    script = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
    child = await Child.start(
        "deaf", ["sh", "-c", script], log=tmp_path / "log", reaper=reaper, pipe_stdout=True
    )
    assert child.process.stdout is not None
    await child.process.stdout.readline()
    await child.stop(grace=0.1)
    assert child.process.returncode == -signal.SIGKILL
    reaper.dismiss()


async def test_a_program_that_is_missing_is_a_clear_error(tmp_path: Path) -> None:
    reaper = Reaper()
    with pytest.raises(StackError, match="could not be started") as caught:
        await Child.start("part", [tmp_path / "missing"], log=tmp_path / "log", reaper=reaper)
    assert "setup" in caught.value.remedy
    reaper.dismiss()


async def test_a_failure_shows_the_end_of_the_log(tmp_path: Path) -> None:
    reaper = Reaper()
    child = await Child.start(
        "part", ["sh", "-c", "echo no such key >&2"], log=tmp_path / "log", reaper=reaper
    )
    assert await child.exited == 0
    error = child.failure("exited with 0 before it was ready")
    assert error.seen == ("no such key",)
    assert error.evidence == str(tmp_path / "log")
    await child.stop()
    reaper.dismiss()


def test_last_lines_of_a_missing_log_are_none(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "none") == []
