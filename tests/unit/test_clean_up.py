"""What the end of a scenario waits for, and what it holds against it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from livekit import api

from sandbox.core import Sandbox
from sandbox.stack.endpoints import Endpoints
from sandbox.timeline import Timeline
from sandbox.trace.invariants import watch
from sandbox.trace.invariants.watch import Watch


class Box(Sandbox):
    """A scenario's view of a stack that has just these rooms, and nothing else."""

    def __init__(self, stack: Any, rooms: list[str]) -> None:
        async def nothing(*_: Any) -> Any:
            return SimpleNamespace(items=[])

        async def listed(_: Any) -> Any:
            return SimpleNamespace(rooms=[SimpleNamespace(name=name) for name in rooms])

        async def no_calls() -> list[str]:
            return []

        sip = {"list_inbound_trunk", "list_outbound_trunk", "list_dispatch_rule"}
        self.api = cast(
            "api.LiveKitAPI",
            SimpleNamespace(
                sip=SimpleNamespace(**dict.fromkeys(sip, nothing)),
                room=SimpleNamespace(list_rooms=listed),
            ),
        )
        self.endpoints = cast("Endpoints", SimpleNamespace(engine="native"))
        self.phone = cast("Any", SimpleNamespace(leaks=no_calls))
        self._stack = stack
        self._rooms = []


async def test_a_room_that_stays_is_told_once_until_it_comes_again() -> None:
    stack = SimpleNamespace(rooms_left=set())

    async def told(*rooms: str) -> list[str]:
        return [what for what, _ in await Box(stack, list(rooms))._left_over({})]

    assert await told("a") == ["room a"]
    assert await told("a", "b") == ["room b"]
    assert await told() == []
    assert await told("a") == ["room a"]


@pytest.mark.parametrize(
    ("code", "message", "quiet"),
    [
        ("not_found", "no such trunk", True),
        ("unknown", "could not find object", True),
        ("unknown", "redis is gone", False),
    ],
)
async def test_what_is_gone_already_is_no_error(code: str, message: str, quiet: bool) -> None:
    async def fails() -> None:
        raise api.TwirpError(code, message, status=500)

    if quiet:
        await Sandbox._quietly(fails())
    else:
        with pytest.raises(api.TwirpError):
            await Sandbox._quietly(fails())


@pytest.mark.parametrize(("busy", "asked"), [(0, 1), (3, 4)])
async def test_rooms_are_deleted_once_the_sip_service_has_no_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, busy: int, asked: int
) -> None:
    monkeypatch.setattr(watch, "_OVER_WITHIN", 5.0)
    requests = 0

    async def metrics(_: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        return web.Response(text=f'livekit_sip_calls_active{{dir="in"}} {int(requests <= busy)}\n')

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    async with TestServer(app) as server:
        ends = SimpleNamespace(
            engine="native", run_dir=tmp_path, sip_metrics_url=str(server.make_url("/metrics"))
        )
        timeline = Timeline()
        over = Watch(cast("Endpoints", ends), timeline, {})
        timeline.record("wire", "wire.sent")
        await over.calls_over()
    assert requests == asked
