"""Callers that are still on their way into a room."""

from __future__ import annotations

import contextlib

from sandbox.errors import DeadlineMissed
from sandbox.timeline import Event, Timeline

__all__ = ["arrivals"]

_ARRIVED = (
    "webhook.track_published",
    "webhook.participant_left",
    "webhook.participant_connection_aborted",
)


async def arrivals(timeline: Timeline, *, since: int, within: float = 1.0) -> None:
    """Let the callers arrive that have joined a room and not published their track yet.

    livekit-sip v1.11.0 may leave a participant behind whose caller hangs up just then: a test that
    had seen enough by then would end with one.

    Args:
        timeline: with the webhooks of livekit-server.
        since: a `mark()` of it, from which on callers count.
        within: the longest wait, in seconds; one that has not arrived by then is let be.
    """
    coming: set[str] = set()

    def all_there(event: Event) -> bool:
        who = event.data.get("participant", {})
        # A callee has no rule, and no track before it answers.
        if event.name == "webhook.participant_joined" and "sip.ruleID" in who.get("attributes", {}):
            coming.add(who["sid"])
        elif event.name in _ARRIVED:
            coming.discard(who.get("sid"))
        return not coming

    for event in timeline.since(since):
        all_there(event)
    if coming:
        with contextlib.suppress(DeadlineMissed):
            await timeline.wait(
                all_there,
                within=within,
                expected="the tracks of the callers that have just joined",
                since=timeline.mark(),
            )
