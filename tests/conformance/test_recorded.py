"""Every recorded case, replayed: what a peer sees is what it saw of the real livekit-sip."""

from __future__ import annotations

import os

import pytest

from .cases import LEFT_OUT, SLOW, tune_of
from .compare import differences
from .recording import Recording, names
from .replay import Ground, Replay


@pytest.mark.parametrize("name", names())
async def test_recorded(name: str, ground: Ground, request: pytest.FixtureRequest) -> None:
    if name in LEFT_OUT:
        pytest.skip(f"not replayed: {LEFT_OUT[name]}")
    if name in SLOW and not os.environ.get("SANDBOX_CONFORMANCE_SLOW"):
        pytest.skip(f"not replayed: {SLOW[name]}")
    tune = tune_of(name)
    replay = Replay(Recording.load(name, tune.change), tune, ground)
    await replay.run()
    found = differences(replay)
    request.node.user_properties.append(("conformance", "differing" if found else "equal"))
    if found:
        pytest.fail("\n".join((replay.recording.doc, *found)), pytrace=False)
