"""Invariants of the end: rooms, participants, jobs and calls are gone, and no log complained."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.timeline import Event
from sandbox.trace.invariants.rule import Facts

__all__ = ["GONE_WITHIN", "calls_active", "jobs", "log_lines", "participants", "rooms"]

#: How long a participant may stay when its call is over, and all else at the end, in seconds.
GONE_WITHIN = 3.0

#: A leave that livekit-server v1.13.5 gets within that many seconds of the track's publishing may
#: be lost on it: the connection is gone, and the participant stays until the room is deleted.
_CROSSING = 0.1

_LEFT = ("webhook.participant_left", "webhook.participant_connection_aborted")

Found = Iterator[tuple[str, str, list[str]]]


def _sid(event: Event, what: str) -> str:
    return str(event.data.get(what, {}).get("sid", ""))


def open_rooms(facts: Facts) -> dict[str, str]:
    """The rooms that started and did not finish, by sid."""
    names = {
        _sid(event, "room"): str(event.data["room"].get("name", ""))
        for event in facts.named("webhook.room_started")
    }
    for event in facts.named("webhook.room_finished"):
        names.pop(_sid(event, "room"), None)
    return names


def _seen(event: Event) -> str:
    who, room = event.data["participant"], event.data.get("room", {})
    return f"{event.name} {who.get('identity', '')} in {room.get('name', '')}"


def lingering(facts: Facts) -> list[tuple[str, Event]]:
    """The SIP participants that are there though their call is over: the call, its joining.

    Without a call: those that never left. Not those that livekit-server itself keeps.
    """
    left = {_sid(event, "participant"): event.at for event in facts.named(*_LEFT)}
    published = {
        _sid(event, "participant"): event.at for event in facts.named("webhook.track_published")
    }
    over = {call.call_id: call for call in facts.whole_calls() if call.call_id}
    late = []
    for event in facts.named("webhook.participant_joined"):
        who = event.data["participant"]
        if who.get("kind") != "SIP":
            continue
        at = left.get(_sid(event, "participant"))
        call = over.get(str(who.get("attributes", {}).get("sip.callIDFull", "")))
        if call is None or call.ended is None:
            if at is None:
                late.append(("", event))
        elif at is None or at - call.ended.at > GONE_WITHIN:
            track = published.get(_sid(event, "participant"))
            if track is None or abs(call.ended.at - track) > _CROSSING:
                late.append((call.id, event))
    return late


def open_jobs(facts: Facts) -> dict[str, Event]:
    """The agents' jobs that were entered and did not end, by id; not those of dead processes."""
    gone = {event.data.get("agent") for event in facts.named("worker.exited")}
    if any(True for _ in facts.named("host.died")):
        return {}
    jobs = {
        str(event.data["job"]): event
        for event in facts.named("job.entered")
        if event.data.get("agent") not in gone
    }
    for event in facts.named("job.ended", "job.failed", "job.status"):
        # The worker tells of a job whose process died by its status.
        if event.data.get("status", "failed") in ("failed", "success"):
            jobs.pop(str(event.data.get("job")), None)
    return jobs


def rooms(facts: Facts) -> Found:
    """Every room that started has finished."""
    for sid, name in open_rooms(facts).items():
        yield "", f"room {name} is still there", [f"{sid}: room_started, and no room_finished"]


def participants(facts: Facts) -> Found:
    """Every SIP participant left when its call was over."""
    for call, joined in lingering(facts):
        who = joined.data["participant"].get("identity", "")
        when = f"{GONE_WITHIN:g} s after call {call} was over" if call else "at the end"
        yield call, f"participant {who} was still in its room {when}", [_seen(joined)]


def jobs(facts: Facts) -> Found:
    """Every job that an agent entered has ended."""
    for job, entered in open_jobs(facts).items():
        what = f"job {job} of room {entered.data.get('room', '')} did not end"
        yield "", what, ["job.entered, and no job.ended"]


def calls_active(facts: Facts) -> Found:
    """The SIP service counts no call any more."""
    for direction, count in (facts.calls_active or {}).items():
        if count:
            yield (
                "",
                f"the SIP service still counts {count:g} {direction} call(s)",
                [f'livekit_sip_calls_active{{dir="{direction}"}} {count:g}'],
            )


def log_lines(facts: Facts) -> Found:
    """No log has a WARN or ERROR that is not known to be harmless."""
    counted: dict[str, list[str]] = {}
    for found in facts.log_lines:
        counted.setdefault(str(found), []).append(found.path)
    for text, paths in counted.items():
        times = f" ({len(paths)} times)" if len(paths) > 1 else ""
        yield "", f"{text}{times}", [f"in {paths[0]}"]
