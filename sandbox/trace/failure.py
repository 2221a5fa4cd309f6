"""What a failing test shows besides its traceback: the ladders of its calls, and the evidence."""

from __future__ import annotations

from collections.abc import Sequence

from sandbox.stack.endpoints import Endpoints
from sandbox.timeline import Event
from sandbox.trace.causes import likely_cause
from sandbox.trace.flow import flow, flow_text
from sandbox.trace.joined import join_calls

__all__ = ["failure_sections"]

_LAST_EVENTS = 25


def _events_text(events: Sequence[Event]) -> list[str]:
    quiet = ("sip.sent", "sip.received", "rtp.stats", "media.captured")
    ended = next((n for n, event in enumerate(events) if event.name == "test.ended"), len(events))
    # What the clean-up asks of the API says nothing of the test.
    shown = [
        event
        for n, event in enumerate(events)
        if event.name not in quiet and not (n > ended and event.source == "api")
    ]
    if not shown:
        return ["(nothing happened)"]
    start = events[0].at
    lines = [f"{event.at - start:+9.3f}  {event}"[:200] for event in shown[-_LAST_EVENTS:]]
    if len(shown) > _LAST_EVENTS:
        lines.insert(0, f"{'':>9}  … {len(shown) - _LAST_EVENTS} earlier events")
    return lines


def failure_sections(events: Sequence[Event], endpoints: Endpoints) -> list[tuple[str, str]]:
    """Titled texts for a failing test: its verdict, a ladder for each call, events and logs."""
    sections: list[tuple[str, str]] = []
    service = "stand-in" if endpoints.is_stand_in else "livekit-sip"
    for call in join_calls(events):
        if call.sip_call_id:
            ladder = flow_text(flow(events, call), ("phone", service, "livekit-server", "agent"))
            sections.append((f"SIP ladder of call {call.id}", "\n".join(ladder)))
    cause = likely_cause(events, version=endpoints.server_version)
    if cause is not None:
        sections.insert(0, ("verdict", "\n".join(cause.lines())))
    sections.append(("what happened", "\n".join(_events_text(events))))
    logs = sorted(path for path in endpoints.run_dir.glob("*.log") if path.stat().st_size)
    where = [f"engine       {endpoints.engine}", f"SIP service  {endpoints.sip_service}"]
    where += [f"log          {path}" for path in logs]
    sections.append(("where to look", "\n".join(where)))
    return sections
