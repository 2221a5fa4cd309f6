"""A phone service of its own for these tests, and a client that leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
import pytest_asyncio

from sandbox.phone.call import Call
from sandbox.phone.client import Line, Phone
from sandbox.timeline import Timeline

TOKEN = "for-the-tests"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip where the wheel of PJSIP is not to be had (CPython 3.11, x86-64 Linux only)."""
    if find_spec("pjsua2") is not None:
        return
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="pjsua2 is not installed"))


@dataclass(frozen=True)
class Service:
    """A running phone service."""

    process: asyncio.subprocess.Process
    url: str
    directory: Path


async def start_service(directory: Path, *options: str) -> Service:
    """Start a phone service."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sandbox.phone", "--log-dir", str(directory), *options,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "SANDBOX_PHONE_TOKEN": TOKEN},
    )  # fmt: skip
    assert process.stdout is not None
    ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
    return Service(process, f"http://127.0.0.1:{ready['port']}", directory)


async def stop_service(service: Service) -> None:
    """Stop a phone service as its parent would: by closing its stdin."""
    assert service.process.stdin is not None
    service.process.stdin.close()
    await asyncio.wait_for(service.process.wait(), 5)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    running = await start_service(tmp_path_factory.mktemp("phone"))
    yield running
    await stop_service(running)


@pytest_asyncio.fixture(loop_scope="session")
async def phone(service: Service) -> AsyncIterator[Phone]:
    async with await Phone.connect(service.url, TOKEN, Timeline()) as phone:
        yield phone
        if not phone.closed:
            await phone.reset()
            assert not await phone.leaks()


@pytest_asyncio.fixture(loop_scope="session")
async def alice(phone: Phone) -> Line:
    return await phone.line("+15550100001")


@pytest_asyncio.fixture(loop_scope="session")
async def bob(phone: Phone) -> Line:
    return await phone.line("+15550100002")


@pytest_asyncio.fixture(loop_scope="session")
async def talk(alice: Line, bob: Line) -> tuple[Call, Call]:
    """A call from Alice to Bob that is up; both are silent."""
    await bob.answers()
    call = await alice.dial(bob.uri)
    await call.answered(within=5)
    other = await bob.incoming(within=5)
    await other.answered(within=5)
    return call, other
