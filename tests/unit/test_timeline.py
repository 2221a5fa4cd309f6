"""Waits on the timeline, and what a missed deadline says."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from sandbox.errors import DeadlineMissed
from sandbox.timeline import Event, Timeline


async def test_a_wait_finds_what_has_happened_already() -> None:
    timeline = Timeline()
    timeline.record("test", "early", n=1)
    event = await timeline.wait(lambda e: e.name == "early", within=0.1, expected="early")
    assert event.data["n"] == 1


async def test_a_wait_is_woken_by_the_event_it_waits_for() -> None:
    timeline = Timeline()
    waiting = asyncio.create_task(timeline.wait(lambda e: e.name == "b", within=5, expected="b"))
    await asyncio.sleep(0)
    timeline.record("test", "a")
    assert not waiting.done()
    timeline.record("test", "b")
    assert (await waiting).name == "b"


async def test_since_hides_what_came_before_the_mark() -> None:
    timeline = Timeline()
    timeline.record("test", "again", n=1)
    mark = timeline.mark()
    timeline.record("test", "again", n=2)
    event = await timeline.wait(
        lambda e: e.name == "again", within=0.1, expected="again", since=mark
    )
    assert event.data["n"] == 2


async def test_a_missed_deadline_tells_what_did_arrive() -> None:
    timeline = Timeline()
    timeline.evidence = "/somewhere/logs"
    timeline.record("phone", "call.ringing", call="c1")
    with pytest.raises(DeadlineMissed) as caught:
        await timeline.wait(lambda e: False, within=0.01, expected="an answer")
    text = str(caught.value)
    assert "expected an answer" in text
    assert "within 0.01 s" in text
    assert "call.ringing" in text
    assert "/somewhere/logs" in text


async def test_a_missed_deadline_without_any_event_says_so() -> None:
    with pytest.raises(DeadlineMissed, match="nothing at all"):
        await Timeline().wait(lambda e: False, within=0.01, expected="anything")


async def test_a_wait_ends_at_once_when_it_has_become_pointless() -> None:
    timeline = Timeline()
    timeline.record("phone", "call.ended", status=486)
    with pytest.raises(DeadlineMissed, match=r"before it came: .*call\.ended"):
        await timeline.wait(
            lambda e: e.name == "call.answered",
            within=60,
            expected="an answer",
            unless=lambda e: e.name == "call.ended",
        )


async def test_a_cancelled_wait_leaves_no_waiter() -> None:
    timeline = Timeline()
    waiting = asyncio.create_task(timeline.wait(lambda e: True, within=5, expected="x"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    timeline.record("test", "x")
    assert len(timeline) == 1


def test_a_fault_begins_and_where_it_has_an_end_ends() -> None:
    timeline = Timeline()
    timeline.fault("sip was stopped", part="sip")
    with contextlib.suppress(ValueError), timeline.fault("5 % loss", percent=5):
        timeline.record("test", "between")
        raise ValueError
    assert [(e.name, dict(e.data)) for e in timeline if e.source == "fault"] == [
        ("fault.begins", {"text": "sip was stopped", "part": "sip"}),
        ("fault.begins", {"text": "5 % loss", "percent": 5}),
        ("fault.ends", {"text": "5 % loss", "percent": 5}),
    ]
    assert [e.name for e in timeline][-2:] == ["between", "fault.ends"]


def test_subscribers_get_later_events_until_they_leave() -> None:
    timeline = Timeline()
    seen: list[Event] = []
    leave = timeline.subscribe(seen.append)
    timeline.record("test", "one")
    leave()
    timeline.record("test", "two")
    assert [event.name for event in seen] == ["one"]
