"""What was seen from inside LiveKit: by peers in the rooms, and by livekit-server's webhooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.timeline import Event, Timeline

from .volatile import Names

__all__ = ["Witness"]


class Witness:
    """The part of the timeline that a replay takes up, asked in recorded names."""

    def __init__(self, timeline: Timeline, names: Names) -> None:
        self._timeline = timeline
        self._names = names
        self._mark = timeline.mark()
        self._end: int | None = None

    def end(self) -> None:
        """What happens from now on is not part of it."""
        self._end = self._timeline.mark()

    def events(self) -> Sequence[Event]:
        """All events."""
        events = self._timeline.since(self._mark)
        return events if self._end is None else events[: self._end - self._mark]

    def about(self, identity: str) -> list[Event]:
        """What peers saw of a participant."""
        wanted = self._names.recorded_view(identity)
        return [
            event
            for event in self.events()
            if event.source == "room"
            and self._names.live_view(str(event.data.get("identity", ""))) == wanted
        ]

    def values(self, identity: str, key: str) -> list[str]:
        """The values that an attribute has had, as peers saw it."""
        result: list[str] = []
        for event in self.about(identity):
            changed = event.data.get("changed") or event.data.get("attributes") or {}
            if event.name != "room.participant_disconnected" and key in changed:
                result.append(changed[key])
        return result

    def digits(self) -> list[tuple[str, int]]:
        """The DTMF that peers received."""
        return [
            (event.data["digit"], event.data["code"])
            for event in self.events()
            if event.name == "room.dtmf"
        ]

    def tones(self) -> list[float]:
        """The tones that peers heard, in Hz."""
        return [
            float(event.data["hz"])
            for event in self.events()
            if event.name == "room.tone" and event.data["on"]
        ]

    def heard(self, hz: float) -> bool:
        """Whether peers heard a tone; a lost packet bends it by some Hz."""
        return any(abs(hz - tone) < 14 for tone in self.tones())

    def webhook(self, name: str, identity: str) -> Mapping[str, Any] | None:
        """The participant of the last webhook `name` about a participant."""
        wanted = self._names.recorded_view(identity)
        for event in reversed(self.events()):
            who = event.data.get("participant", {}) if event.name == f"webhook.{name}" else {}
            if who and self._names.live_view(who.get("identity", "")) == wanted:
                return dict(who)
        return None

    def caller_joined(self) -> bool:
        """Whether livekit-server told of a SIP participant that joined."""
        return any(
            event.name == "webhook.participant_joined"
            and event.data.get("participant", {}).get("kind") == "SIP"
            for event in self.events()
        )

    def came(self) -> Event | None:
        """The first SIP participant that a peer saw come."""
        return next(
            (
                event
                for event in self.events()
                if event.name == "room.participant_connected" and event.data["kind"] == 3
            ),
            None,
        )
