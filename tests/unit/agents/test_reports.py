"""The socket that agents' processes report to."""

from __future__ import annotations

import asyncio
import json

from sandbox.agents.reports import Reports
from sandbox.timeline import Timeline


async def _send(address: str, *lines: object) -> asyncio.StreamWriter:
    host, _, port = address.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.writelines(json.dumps(line).encode() + b"\n" for line in lines)
    await writer.drain()
    return writer


async def test_a_report_is_an_event_of_its_agent() -> None:
    timeline = Timeline()
    reports = Reports(timeline)
    address, token, agent = (await reports.address("a1")).split(" ")
    line = {"agent": agent, "event": "job.entered", "at": 12.5, "job": "AJ_1"}
    writer = await _send(address, {"token": token}, line)
    event = await timeline.wait(lambda e: True, within=2, expected="the report")
    assert (event.source, event.name, event.at) == ("agent", "job.entered", 12.5)
    assert event.data == {"agent": "a1", "job": "AJ_1"}
    writer.close()
    await reports.close()


async def test_a_stranger_is_not_listened_to() -> None:
    timeline = Timeline()
    reports = Reports(timeline)
    address, token, _ = (await reports.address("a1")).split(" ")
    line = {"agent": "a1", "event": "stranger", "at": 1.0}
    for hello in ({"token": "guess"}, {}, "no object"):
        (await _send(address, hello, line)).close()
    writer = await _send(address, {"token": token}, {**line, "event": "friend"})
    await timeline.wait(lambda e: e.name == "friend", within=2, expected="the friend's report")
    assert [event.name for event in timeline] == ["friend"]
    writer.close()
    await reports.close()
