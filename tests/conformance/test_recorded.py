"""Every recorded case, replayed: what a peer sees is what it saw of the real livekit-sip."""

from __future__ import annotations

import pytest

from .cases import LEFT_OUT, tune_of
from .compare import differences
from .recording import Recording, names
from .replay import Ground, Replay


@pytest.mark.parametrize("name", names())
async def test_recorded(name: str, ground: Ground, request: pytest.FixtureRequest) -> None:
    if name in LEFT_OUT:
        pytest.skip(f"not replayed: {LEFT_OUT[name]}")
    tune = tune_of(name)
    replay = Replay(Recording.load(name, tune.change), tune, ground)
    await replay.run()
    found = differences(replay)
    request.node.user_properties.append(("conformance", "differing" if found else "equal"))
    if found:
        pytest.fail("\n".join((replay.recording.doc, *found)), pytrace=False)
