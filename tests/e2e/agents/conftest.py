"""Shared by the scenarios of agents."""

from __future__ import annotations

import pytest_asyncio

from sandbox.agents.worker import AgentHost


@pytest_asyncio.fixture(scope="session", loop_scope="session", autouse=True)
async def agents_are_imported(_agent_host: AgentHost) -> None:
    """livekit-agents takes a second to import: once, and not in the first scenario's time."""
    await _agent_host.processes.prepare()
