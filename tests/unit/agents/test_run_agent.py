"""What `sandbox run-agent` ends at its end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sandbox import run_agent


async def test_the_rooms_of_an_attached_deployment_are_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def asked(*_: Any) -> None:
        raise AssertionError("it asked for the rooms of a deployment that is not ours")

    monkeypatch.setattr(run_agent, "api_client", asked)
    stack: Any = SimpleNamespace(endpoints=SimpleNamespace(engine="attach"))
    await run_agent._end_rooms(stack)
