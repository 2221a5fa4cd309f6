"""room_preset: a room configuration that livekit-server's own configuration names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import pytest_asyncio

from sandbox import Sandbox, Stack, StackOptions, Timeline
from tests.e2e.conftest import assert_rings_in

PRESETS = {
    "room": {"room_configurations": {"gold": {"metadata": "of gold", "max_participants": 7}}}
}


@pytest_asyncio.fixture(loop_scope="session")
async def preset(
    sandbox_stack: Stack,
    sandbox_output: Path,
    sandbox_scenario: Callable[[Stack], AbstractAsyncContextManager[Sandbox]],
) -> AsyncIterator[Sandbox]:
    """A scenario's view of a stack whose livekit-server has a preset, `gold`."""
    if sandbox_stack.why_fixed:
        pytest.skip(sandbox_stack.why_fixed)
    name = f"{sandbox_stack.options.name}-preset"
    options = StackOptions(
        engine=sandbox_stack.engine.name,
        run_dir=sandbox_output / f"stack-{name}",
        name=name,
        server_config=PRESETS,
    )
    async with Stack(options, Timeline()) as stack, sandbox_scenario(stack) as box:
        yield box


async def test_a_room_preset_of_the_server_is_applied(preset: Sandbox) -> None:
    """room_preset names a configuration of livekit-server's, and the room has it.

    It is no feature of LiveKit Cloud alone, as the documentation says. (S-DSP-14)
    """
    number = await preset.inbound(rule={"room_preset": "gold"})
    call = await preset.phone.dial(number)
    room, _ = await assert_rings_in(preset, call)
    info = await room.info()
    assert info is not None
    assert (info.metadata, info.max_participants) == ("of gold", 7)
