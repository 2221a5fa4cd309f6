"""What the tests against livekit-server share: its API, and an empty deployment behind each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from livekit import api

from sandbox import Stack
from tests.explain.stage import write


async def empty_rooms(client: api.LiveKitAPI) -> None:
    """Delete all rooms."""
    listed = await client.room.list_rooms(api.ListRoomsRequest())
    await asyncio.gather(
        *(client.room.delete_room(api.DeleteRoomRequest(room=room.name)) for room in listed.rooms)
    )


@pytest_asyncio.fixture(loop_scope="session")
async def client(sandbox_stack: Stack) -> AsyncIterator[api.LiveKitAPI]:
    """The API of the stack, whose trunks, rules and rooms are gone behind the test."""
    ends = sandbox_stack.endpoints
    if ends.engine != "native":
        pytest.skip("needs redis at hand, and calls from several loopback addresses")
    async with api.LiveKitAPI(ends.livekit_url, ends.api_key, ends.api_secret) as made:
        yield made
        await write(sandbox_stack, [], [])
        await empty_rooms(made)
