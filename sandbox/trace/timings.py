"""How long the parts of a call took."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sandbox.timeline import Event
from sandbox.trace.ladder import rungs

__all__ = ["CallTimings", "call_timings"]


@dataclass(frozen=True, slots=True)
class CallTimings:
    """Seconds from the INVITE to each milestone; None where it was not reached."""

    trying: float | None = None
    ringing: float | None = None
    answered: float | None = None
    first_rtp_sent: float | None = None
    first_rtp_received: float | None = None
    ended: float | None = None


def call_timings(events: Iterable[Event], call: str) -> CallTimings:
    """The timings of the phone's call `call`.

    The milestones are the first 100, 180 and 200 to the INVITE, the first RTP packet in each
    direction at the phone, and the BYE or final refusal.
    """
    mine = [event for event in events if event.call == call]
    steps = rungs(mine, call)
    invite = next((step.at for step in steps if step.sent and step.label == "INVITE"), None)
    if invite is None:
        invite = next((step.at for step in steps if step.label == "INVITE"), None)
    if invite is None:
        return CallTimings()

    def first(*labels: str) -> float | None:
        found = next((step.at for step in steps if step.label.split(" ")[0] in labels), None)
        return None if found is None else found - invite

    def named(name: str) -> float | None:
        found = next((event.at for event in mine if event.name == name), None)
        return None if found is None else found - invite

    return CallTimings(
        trying=first("100"),
        ringing=first("180", "183"),
        answered=next(
            (
                step.at - invite
                for step in steps
                if step.label.startswith("200") and "(" not in step.label
            ),
            None,
        ),
        first_rtp_sent=named("rtp.first_sent"),
        first_rtp_received=named("rtp.first_received"),
        ended=named("call.ended"),
    )
