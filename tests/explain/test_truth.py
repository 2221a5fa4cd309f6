"""The model's predictions against livekit-server: random configurations, calls really placed.

SANDBOX_EXPLAIN_CONFIGURATIONS says how many configurations (three calls each), 20 by default;
SANDBOX_EXPLAIN_SEED the first seed. `make`-less, with the end of tests that take over 150 s
off: `SANDBOX_EXPLAIN_CONFIGURATIONS=500 pytest -o faulthandler_timeout=0 tests/explain`.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable

import pytest
from livekit import api

from sandbox import Stack
from sandbox.explain import Outcome
from tests.explain.conftest import empty_rooms
from tests.explain.generate import case
from tests.explain.stage import differences, joined, place, write

CONFIGURATIONS = int(os.environ.get("SANDBOX_EXPLAIN_CONFIGURATIONS", "20"))
FIRST_SEED = int(os.environ.get("SANDBOX_EXPLAIN_SEED", "1"))


@pytest.mark.timeout(60 + 4 * CONFIGURATIONS)
async def test_livekit_server_does_what_explain_predicts(
    sandbox_stack: Stack,
    client: api.LiveKitAPI,
    record_property: Callable[[str, object], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No call ends up anywhere but where explain said it would, and as whom. (issue 7)"""
    wrong: list[str] = []
    outcomes: Counter[Outcome] = Counter()
    outside: list[tuple[int, str]] = []
    for seed in range(FIRST_SEED, FIRST_SEED + CONFIGURATIONS):
        one = case(seed)
        await write(sandbox_stack, one.trunks, one.rules)
        results = await asyncio.gather(
            *(place(sandbox_stack, one.trunks, one.rules, call) for call in one.calls)
        )
        for predicted, seen in results:
            outcomes[predicted.outcome] += 1
            wrong += [f"seed {seed}: {text}" for text in differences(predicted, seen)]
            if predicted.outcome is not Outcome.ROOM:
                outside.append((seed, predicted.call.call_id))
        await empty_rooms(client)
    # Who was listened to for half a second must not have come in later either.
    wrong += [
        f"seed {seed}: {call_id} joined a room after all"
        for seed, call_id in outside
        if joined(sandbox_stack, call_id, 0) is not None
    ]
    calls = outcomes.total()
    line = f"explain: {calls} calls to {CONFIGURATIONS} configurations, {len(wrong)} disagreements"
    shares = ", ".join(f"{outcome.value} {n}" for outcome, n in outcomes.most_common())
    record_property("explain.agreement", f"{line} ({shares})")
    with capsys.disabled():
        capsys.readouterr()
        os.write(1, f"\n{line} ({shares})\n".encode())
    assert not wrong, "\n".join(wrong[:40])
