"""What the Compose engine promises: speed, isolation, clear failures, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sandbox.errors import StackError
from sandbox.stack.compose import ComposeEngine
from sandbox.stack.compose_sweep import owner_of_this_process, sweep
from sandbox.stack.docker_cli import OWNER_LABEL, RUN_LABEL, Docker
from sandbox.stack.options import StackOptions
from sandbox.stack.readiness import server_answers
from sandbox.timeline import Timeline

OWNER = owner_of_this_process()
KINDS = (("ps", "-a"), ("network", "ls"), ("volume", "ls"))


def engine(folder: Path, server_config: Mapping[str, Any] | None = None) -> ComposeEngine:
    options = StackOptions(
        engine="compose", run_dir=folder, name=folder.name, server_config=server_config or {}
    )
    return ComposeEngine(options, Timeline())


def left(docker: Docker, run: str = "", *, owner: str = "") -> list[str]:
    """What there is of a run, or else of an owner (by default ourselves): others run beside us."""
    label = f"label={RUN_LABEL}={run}" if run else f"label={OWNER_LABEL}={owner or OWNER}"
    return [line for kind in KINDS for line in docker.lines(*kind, "-q", "--filter", label)]


async def test_everything_is_labelled_and_gone_afterwards(docker: Docker, tmp_path: Path) -> None:
    before = set(docker.lines("volume", "ls", "-q"))
    stack = engine(tmp_path)
    await stack.start()
    try:
        run = stack.project.run
        assert len(left(docker, run)) == 5, "four containers and a network"
        named = docker.lines("ps", "-q", "--filter", f"name={stack.project.name}")
        assert len(named) == 4
        assert set(docker.lines("volume", "ls", "-q")) <= before, "redis made a volume"
    finally:
        await stack.stop()
    assert left(docker, run) == []
    assert (tmp_path / "compose.env").stat().st_mode & 0o777 == 0o600
    for service in ("redis", "livekit-server", "sip"):
        assert (tmp_path / f"{service}.log").stat().st_size > 0


async def test_one_more_part_is_a_container_like_the_others(docker: Docker, tmp_path: Path) -> None:
    """Labelled, locked down, logged, ended by its signal, and gone with the stack."""
    stack = engine(tmp_path)
    ends = await stack.start()
    try:
        run = stack.project.run
        more = await stack.start_part("sip", "sip-2", {"hide_inbound_port": True})
        assert more.address.rpartition(":")[0] != ends.sip_host
        assert len(left(docker, run)) == 6, "five containers and a network"
        raw = docker.inspect("container", [more.container])[0]
        assert raw["HostConfig"]["ReadonlyRootfs"]
        assert raw["HostConfig"]["CapDrop"] == ["ALL"]
        assert "hide_inbound_port: true" in (tmp_path / "sip-2.yaml").read_text()
        await more.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(asyncio.shield(more.exited), 5) == 0
        assert (tmp_path / "sip-2.log").stat().st_size > 0
        assert stack.part("sip").running
        assert not [e for e in stack._timeline.since(0) if e.name == "process.died"]
        await stack.start_part("redis", "redis-2")
        assert len(left(docker, run)) == 7
    finally:
        await stack.stop()
    assert left(docker, run) == []


async def test_containers_are_locked_down(docker: Docker, tmp_path: Path) -> None:
    stack = engine(tmp_path)
    await stack.start()
    try:
        for service, container in stack.project.containers().items():
            raw = docker.inspect("container", [container.id])[0]
            host = raw["HostConfig"]
            assert host["ReadonlyRootfs"], service
            assert host["CapDrop"] == ["ALL"], service
            assert "no-new-privileges:true" in host["SecurityOpt"], service
            # The phone is whoever runs the tests, so that both read each other's sound files.
            user = f"{os.getuid()}:{os.getgid()}" if service == "phone" else "65534:65534"
            assert raw["Config"]["User"] == user
            published = {port: where[0] for port, where in container.ports.items()}
            assert published == (
                {(7880, "tcp"): "127.0.0.1"} if service == "livekit-server" else {}
            )
    finally:
        await stack.stop()


async def test_two_stacks_side_by_side(docker: Docker, tmp_path: Path) -> None:
    one, two = engine(tmp_path / "one"), engine(tmp_path / "two")
    first, second = await asyncio.gather(one.start(), two.start())
    try:
        assert first.livekit_url != second.livekit_url
        await one.stop()
        async with aiohttp.ClientSession() as session:
            assert await server_answers(
                session, second.livekit_url, second.api_key, second.api_secret
            )
    finally:
        await asyncio.gather(one.stop(), two.stop())
    assert left(docker) == []


async def test_a_refused_configuration_shows_state_and_log(docker: Docker, tmp_path: Path) -> None:
    """livekit-server exits with 0 when it refuses its configuration: a failure all the same."""
    stack = engine(tmp_path, server_config={"no_such_key": 1})
    with pytest.raises(StackError) as caught:
        await stack.start()
    text = str(caught.value)
    assert "livekit-server: exited with 0 before it was ready" in text
    assert "state: exited with 0" in text
    assert "no_such_key" in text
    assert str(tmp_path / "livekit-server.log") in text
    assert left(docker) == []


async def test_a_container_that_dies_is_on_the_timeline(docker: Docker, tmp_path: Path) -> None:
    stack = engine(tmp_path)
    await stack.start()
    try:
        mark = stack._timeline.mark()
        docker.ask("kill", stack.project.containers()["sip"].id)
        died = await stack._timeline.wait(
            lambda event: event.name == "process.died", since=mark, within=5, expected="sip to die"
        )
        assert died.data["part"] == "sip"
    finally:
        await stack.stop()


async def test_a_new_phone_in_place_of_a_crashed_one(docker: Docker, tmp_path: Path) -> None:
    stack = engine(tmp_path)
    await stack.start()
    try:
        docker.ask("kill", stack.project.containers()["phone"].id)
        ends = await stack.restart_phone()
        headers = {"Authorization": f"Bearer {ends.phone_token}"}
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{ends.phone_url}/leaks", headers=headers) as answer,
        ):
            assert answer.status == 200
    finally:
        await stack.stop()


HOLDER = """
import asyncio, sys
from pathlib import Path
from sandbox.stack.compose import ComposeEngine
from sandbox.stack.options import StackOptions
from sandbox.timeline import Timeline

async def main():
    engine = ComposeEngine(StackOptions(engine="compose", run_dir=Path(sys.argv[1])), Timeline())
    await engine.start()
    print(engine.project.run, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("after", ["start", "midway"])
def test_kill_9_leaves_nothing(docker: Docker, tmp_path: Path, after: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        owner = owner_of_this_process(holder.pid)
        if after == "start":
            assert holder.stdout.readline()
        else:
            deadline = time.monotonic() + 30
            while not left(docker, owner=owner) and time.monotonic() < deadline:
                time.sleep(0.02)
        assert left(docker, owner=owner)
        holder.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while left(docker, owner=owner) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left(docker, owner=owner) == []
    time.sleep(1.5)
    assert left(docker, owner=owner) == [], "something was still being made"


def test_the_next_start_sweeps_what_is_left(docker: Docker) -> None:
    """Both the run and its helper were killed: the next one finds the label of a dead owner."""
    with subprocess.Popen([sys.executable, "-c", "pass"]) as dead:
        dead.wait()
    owner = owner_of_this_process(dead.pid)
    labels = ("--label", f"{RUN_LABEL}=swept", "--label", f"{OWNER_LABEL}={owner}")
    docker.ask("network", "create", *labels, "sandbox-test-swept")
    docker.ask("volume", "create", *labels, "sandbox-test-swept")
    ours = (
        "--label", f"{RUN_LABEL}=kept", "--label", f"{OWNER_LABEL}={owner_of_this_process()}"
    )  # fmt: skip
    docker.ask("network", "create", *ours, "sandbox-test-kept")
    try:
        assert sweep(docker) == ["swept"]
        assert left(docker, "swept") == []
        assert len(left(docker, "kept")) == 1
    finally:
        docker.ask("network", "rm", "sandbox-test-kept")
