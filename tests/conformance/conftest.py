"""The ground of a replay, and the table at the end of a run."""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from sandbox.agents.worker import AgentHost
from sandbox.stack.stack import Stack
from sandbox.timeline import Timeline

from .cases import LEFT_OUT, SLOW
from .replay import Ground


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def ground(sandbox_stack: Stack, sandbox_timeline: Timeline) -> AsyncIterator[Ground]:
    """The running stack, and the address of ours that its SIP service sees."""
    ends = sandbox_stack.endpoints
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((ends.sip_host, ends.sip_port))
        host = probe.getsockname()[0]
    agents = AgentHost(ends, sandbox_timeline)
    async with aiohttp.ClientSession() as session:
        yield Ground(ends, sandbox_timeline, session, host, agents)
    await agents.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many cases were compared, and what became of each."""
    verdicts: dict[str, str] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, ()):
            found = re.search(r"tests/conformance/test_recorded\.py::test_recorded\[(\w+)\]",
                              getattr(report, "nodeid", ""))  # fmt: skip
            properties = dict(getattr(report, "user_properties", ()))
            if found and "conformance" in properties:
                verdicts[found[1]] = str(properties["conformance"])
            elif found and outcome == "skipped":
                verdicts[found[1]] = "left out"
            elif found and getattr(report, "failed", False):
                verdicts.setdefault(found[1], "broken")
    if not verdicts:
        return
    count = Counter(verdicts.values())
    terminalreporter.section("conformance with livekit-sip v1.11.0")
    compared = count["equal"] + count["differing"]
    terminalreporter.write_line(
        f"compared {compared}, equal {count['equal']}, differing {count['differing']}, "
        f"broken {count['broken']}, left out {count['left out']}"
    )
    for verdict in ("differing", "broken"):
        for name in sorted(k for k, v in verdicts.items() if v == verdict):
            terminalreporter.write_line(f"  {verdict:<10} {name}")
    for name in sorted(k for k, v in verdicts.items() if v == "left out"):
        terminalreporter.write_line(f"  left out   {name:<32} {(LEFT_OUT | SLOW)[name]}")
