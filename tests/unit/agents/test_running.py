"""The processes of agents, without a stack: what their zygote tells of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sandbox.agents.order import Order
from sandbox.agents.running import AgentProcesses, Running
from sandbox.stack.process import Child, Reaper
from sandbox.timeline import Timeline


class Noting:
    """A reaper that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []

    def watch_group(self, pgid: int) -> None:
        self.told.append(("watch", pgid))

    def forget_group(self, pgid: int) -> None:
        self.told.append(("forget", pgid))


async def test_one_that_ends_before_anybody_saw_it_run_takes_nobody_with_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Group 0 is the one of the tests themselves."""
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "killpg", lambda *what: killed.append(what))
    reaper = Noting()
    agents = AgentProcesses(cast("Any", None), Timeline())
    agents._reaper = cast("Reaper", reaper)
    running = Running(cast("Order", SimpleNamespace(name="", fast=True)), tmp_path / "log", 0)
    agents._all.append(running)

    await agents._read_zygote(
        zygote(
            {"event": "started", "pid": 4711, "agent": running.id},
            {"event": "ended", "pid": 4711, "agent": running.id, "code": 1},
        )
    )
    assert running.ended.result() == 1
    assert killed == [(4711, signal.SIGKILL)]
    assert reaper.told == [("watch", 4711), ("forget", 4711)]


async def test_one_that_never_ran_is_sent_no_signal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "killpg", lambda *what: killed.append(what))
    running = Running(cast("Order", SimpleNamespace(name="")), tmp_path / "log", 0)
    running.signal(signal.SIGKILL, group=True)
    assert killed == []


def zygote(*said: dict[str, Any]) -> Child:
    """A zygote that says this and ends."""
    stdout = asyncio.StreamReader()
    stdout.feed_data(b"".join(json.dumps(line).encode() + b"\n" for line in said))
    stdout.feed_eof()
    exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    exited.set_result(0)
    process = SimpleNamespace(stdout=stdout, returncode=0)
    return cast("Child", SimpleNamespace(process=process, exited=exited))
