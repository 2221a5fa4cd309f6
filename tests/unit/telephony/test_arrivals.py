"""Callers on their way into a room are waited for, callees and those who have gone are not."""

from __future__ import annotations

import asyncio

from sandbox.telephony.arrivals import arrivals
from sandbox.timeline import Timeline

LONG = 60.0


def webhook(timeline: Timeline, name: str, sid: str, *, caller: bool = True) -> None:
    attributes = {"sip.ruleID": "SDR_1"} if caller else {"sip.trunkID": "ST_1"}
    who = {"sid": sid, "kind": "SIP", "attributes": attributes}
    timeline.record("webhook", f"webhook.{name}", participant=who)


async def test_a_caller_is_waited_for_until_its_track_is_there() -> None:
    timeline = Timeline()
    webhook(timeline, "participant_joined", "PA_1")
    waiting = asyncio.create_task(arrivals(timeline, since=0, within=LONG))
    await asyncio.sleep(0)
    webhook(timeline, "track_published", "PA_2")
    await asyncio.sleep(0)
    assert not waiting.done()
    webhook(timeline, "track_published", "PA_1")
    await asyncio.wait_for(waiting, 1)


async def test_who_arrived_left_or_was_called_is_not_waited_for() -> None:
    timeline = Timeline()
    webhook(timeline, "participant_joined", "PA_0")
    mark = timeline.mark()
    for sid, end in (("PA_1", "track_published"), ("PA_2", "participant_left")):
        webhook(timeline, "participant_joined", sid)
        webhook(timeline, end, sid)
    webhook(timeline, "participant_joined", "PA_3", caller=False)
    await asyncio.wait_for(arrivals(timeline, since=mark, within=LONG), 1)


async def test_a_caller_that_does_not_arrive_is_let_be() -> None:
    timeline = Timeline()
    webhook(timeline, "participant_joined", "PA_1")
    await asyncio.wait_for(arrivals(timeline, since=0, within=0.01), 1)
