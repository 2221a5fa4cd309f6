"""Which events belong to which call: by Call-ID, SCL_ id, room, participant and job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sandbox.phone.message import SipMessage
from sandbox.timeline import Event

__all__ = ["CallIds", "join_calls", "room_of", "sip_message"]


def sip_message(event: Event) -> SipMessage | None:
    """The SIP message of a `sip.sent` or `sip.received` event; None if it is none."""
    if event.name not in ("sip.sent", "sip.received"):
        return None
    try:
        return SipMessage.parse(
            str(event.data.get("raw", "")),
            direction=event.name.removeprefix("sip."),
            at=event.at,
            transport=str(event.data.get("transport", "")),
            peer=str(event.data.get("peer", "")),
        )
    except ValueError:
        return None


@dataclass(slots=True, kw_only=True)
class CallIds:
    """All the names that one call has.

    Attributes:
        id: the phone's id of it.
        outgoing: whether the phone placed it.
        caller: the user part of its From URI.
        callee: the user part of its To URI.
        sip_call_id: its Call-ID.
        scl: LiveKit's id of it, `SCL_…`.
        room: the room's name.
        identity: of its participant.
        jobs: the agents' jobs in that room, `AJ_…`.
    """

    id: str
    outgoing: bool = True
    caller: str = ""
    callee: str = ""
    sip_call_id: str = ""
    scl: str = ""
    room: str = ""
    identity: str = ""
    jobs: set[str] = field(default_factory=set)

    def names(self) -> set[str]:
        """What a log line of this call can be told by."""
        return {self.sip_call_id, self.scl, self.room, self.identity, *self.jobs} - {""}

    def has(self, event: Event) -> bool:
        """Whether an event belongs to this call."""
        if event.call:
            return event.call == self.id
        data = event.data
        if event.name.startswith("log."):
            return not self.names().isdisjoint(data.get("names", ()))
        if self.room and (room_of(event) == self.room):
            return True
        if data.get("job") and data["job"] in self.jobs:
            return True
        message = data.get("message")
        return bool(
            isinstance(message, Mapping)
            and self.scl
            and self.scl in (message.get("sip_call_id"), data.get("sip_call_id"))
        )


def room_of(event: Event) -> str:
    """The name of the room that an event is about, or `""`."""
    room = event.data.get("room")
    if isinstance(room, Mapping):
        return str(room.get("name", ""))
    if room:
        return str(room)
    message = event.data.get("message")
    if isinstance(message, Mapping):
        return str(message.get("room_name") or message.get("room") or "")
    return ""


def _user(uri: str) -> str:
    return uri.partition("sip:")[2].partition("@")[0] if "sip:" in uri else ""


def join_calls(events: Sequence[Event]) -> list[CallIds]:
    """The phone's calls in the order of their first event, with the names the others give them."""
    calls: dict[str, CallIds] = {}
    for event in events:
        if not event.call:
            continue
        call = calls.setdefault(event.call, CallIds(id=event.call))
        message = sip_message(event)
        if message is not None and not call.sip_call_id:
            call.sip_call_id = message.call_id
            # The request of the dialog's first message, whoever sent it.
            call.outgoing = (message.direction == "sent") is message.is_request
            call.caller = _user(message.header("From") or "")
            call.callee = _user(message.header("To") or "")
    by_sip_id = {call.sip_call_id: call for call in calls.values() if call.sip_call_id}
    for event in events:
        for who, room in _participants(event):
            attributes = who.get("attributes") or {}
            found = by_sip_id.get(attributes.get("sip.callIDFull", ""))
            if found is not None:
                found.scl = attributes.get("sip.callID", "") or found.scl
                found.room = room or found.room
                found.identity = who.get("identity", "") or found.identity
    _called_out(events, calls)
    for event in events:
        job = event.data.get("job")
        if event.source == "agent" and job:
            for call in calls.values():
                if call.room and event.data.get("room") == call.room:
                    call.jobs.add(str(job))
    return list(calls.values())


def _participants(event: Event) -> list[tuple[Mapping[str, Any], str]]:
    room = room_of(event)
    who = event.data.get("participant")
    if event.source == "webhook" and isinstance(who, Mapping):
        return [(who, room)]
    if event.name in ("room.participant_connected", "job.participant"):
        return [(event.data, room)]
    message = event.data.get("message")
    if event.name == "api.answer" and isinstance(message, Mapping):
        return [(one, room) for one in message.get("participants", ()) if isinstance(one, Mapping)]
    return []


def _called_out(events: Sequence[Event], calls: Mapping[str, CallIds]) -> None:
    """Calls from LiveKit whose participant never told its Call-ID: joined by the called number."""
    open_calls = [c for c in calls.values() if not c.outgoing and not c.room]
    asked: Mapping[str, Any] = {}
    for event in events:
        message = event.data.get("message")
        if event.data.get("method") != "SIP/CreateSIPParticipant":
            continue
        if event.name == "api.request" and isinstance(message, Mapping):
            asked = message
            for call in open_calls:
                if not call.room and call.callee and call.callee == asked.get("sip_call_to"):
                    call.room = str(asked.get("room_name", ""))
                    call.identity = str(asked.get("participant_identity", ""))
                    break
        elif event.name == "api.answer" and isinstance(message, Mapping):
            for call in open_calls:
                if call.room == message.get("room_name"):
                    call.scl = str(message.get("sip_call_id", ""))
                    call.identity = str(message.get("participant_identity", "")) or call.identity
