"""The attributes of the participants over time: from what, to what, seen by whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sandbox.timeline import Event
from sandbox.trace.joined import room_of

__all__ = ["attribute_changes"]


def _seen(event: Event) -> Iterator[tuple[str, Mapping[str, str], bool]]:
    """The identity, its attributes, and whether they are all of them."""
    data = event.data
    who = data.get("participant")
    if event.source == "webhook" and isinstance(who, Mapping):
        # A webhook about a track has a short ParticipantInfo, without attributes.
        if who.get("attributes"):
            yield str(who.get("identity", "")), who["attributes"], True
    elif isinstance(data.get("changed"), Mapping):
        yield str(data.get("identity", "")), data["changed"], False
    elif isinstance(data.get("attributes"), Mapping):
        yield str(data.get("identity", "")), data["attributes"], True
    elif event.name == "api.answer" and isinstance(data.get("message"), Mapping):
        message = data["message"]
        for one in [*message.get("participants", ()), message]:
            if isinstance(one, Mapping) and one.get("identity") and one.get("attributes"):
                yield str(one["identity"]), one["attributes"], True


def attribute_changes(events: Sequence[Event]) -> list[dict[str, Any]]:
    """Each time somebody saw an attribute with another value than before, in order.

    Returns:
        `at`, `event` (its index), `step` (the scenario's step it fell into), `room`, `identity`,
        `by` (who saw it), `key`, `before` (None: was not there), `after` (None: is gone).
    """
    known: dict[tuple[str, str], dict[str, str]] = {}
    rooms: dict[str, str] = {}
    step = ""
    changes = []
    for index, event in sorted(enumerate(events), key=lambda pair: pair[1].at):
        if event.name == "test.step":
            step = str(event.data.get("text", ""))
        for identity, attributes, whole in _seen(event):
            room = room_of(event) or rooms.get(identity, "")
            rooms[identity] = room
            before = known.setdefault((room, identity), {})
            after = {str(k): str(v) for k, v in attributes.items()}
            gone = set(before) - set(after) if whole else set()
            # An empty value removes a key.
            gone |= {key for key, value in after.items() if not value and key in before}
            for key in sorted({*after, *gone}):
                old = before.get(key)
                new = None if key in gone else after[key]
                if old == new or (new == "" and old is None):
                    continue
                changes.append(
                    {
                        "at": event.at, "event": index, "step": step, "room": room,
                        "identity": identity, "by": event.source, "key": key,
                        "before": old, "after": new,
                    }
                )  # fmt: skip
                if new is None:
                    before.pop(key, None)
                else:
                    before[key] = new
    return changes
