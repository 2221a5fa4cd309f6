"""The rooms and participants as the API tells them, and how two such pictures differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .twirp import Twirp
from .volatile import Names

__all__ = ["NOT_COMPARED", "rooms_now", "snapshot_differences"]

#: The order in which sip.callStatus goes; a picture may be taken a moment later than recorded.
_STATUS = ("dialing", "ringing", "automation", "active", "hangup")
#: Livekit-server leaves these out, or fills them in, by its own version and not by the call.
_ROOM = ("metadata", "empty_timeout", "departure_timeout", "max_participants")
#: As long as the addresses in the SDP are.
NOT_COMPARED = ("sip.h.content-length",)
_TRACK = ("name", "source", "mime_type")


async def rooms_now(
    twirp: Twirp, prefix: str = "", *, look_inside: bool = True
) -> list[dict[str, Any]]:
    """The rooms whose name begins with `prefix`, each with its participants."""
    _, listed = await twirp("RoomService/ListRooms", {})
    result = []
    for room in listed.get("rooms", []):
        if not room["name"].startswith(prefix):
            continue
        inside: dict[str, Any] = {}
        if look_inside:
            _, inside = await twirp("RoomService/ListParticipants", {"room": room["name"]})
        result.append({"room": room, "participants": inside.get("participants", [])})
    return result


def snapshot_differences(
    recorded: Sequence[Mapping[str, Any]],
    live: Sequence[Mapping[str, Any]],
    names: Names,
    *,
    answered: bool,
) -> list[str]:
    """How the rooms `live` differ from those that were recorded; a line each.

    Once a call has been `answered`, its status may be further on than it was recorded.
    """
    ours = {names.recorded_view(entry["room"]["name"]): entry for entry in recorded}
    theirs = {names.live_view(entry["room"]["name"]): entry for entry in live}
    found = [f"room {name}: recorded, not there" for name in ours.keys() - theirs.keys()]
    found += [f"room {name}: there, not recorded" for name in theirs.keys() - ours.keys()]
    for name in sorted(ours.keys() & theirs.keys()):
        for key in _ROOM:
            before, now = ours[name]["room"].get(key), theirs[name]["room"].get(key)
            if (before or 0) != (now or 0):
                found.append(f"room {name}, {key}: recorded {before!r}, now {now!r}")
        found += _participants(
            ours[name]["participants"], theirs[name]["participants"], names, answered
        )
    return found


def _participants(
    recorded: Sequence[Mapping[str, Any]],
    live: Sequence[Mapping[str, Any]],
    names: Names,
    answered: bool,
) -> list[str]:
    ours = {names.recorded_view(who["identity"]): who for who in recorded}
    theirs = {names.live_view(who["identity"]): who for who in live}
    found = [f"participant {who}: recorded, not there" for who in ours.keys() - theirs.keys()]
    found += [f"participant {who}: there, not recorded" for who in theirs.keys() - ours.keys()]
    for who in sorted(ours.keys() & theirs.keys()):
        before, now = ours[who], theirs[who]
        if before.get("kind") != "SIP" and now.get("kind") != "SIP":
            continue
        for key in ("name", "metadata", "kind", "permission"):
            was = names.recorded_view(json.dumps(before.get(key), sort_keys=True))
            seen = names.live_view(json.dumps(now.get(key), sort_keys=True))
            if (was, seen) in (("null", '""'), ('""', "null")):
                continue
            if was != seen:
                found.append(f"participant {who}, {key}: recorded {was}, now {seen}")
        found += attribute_differences(
            f"participant {who}",
            before.get("attributes", {}),
            now.get("attributes", {}),
            names,
            answered=answered,
        )
        tracks = [{k: track.get(k) for k in _TRACK} for track in now.get("tracks", [])]
        if before.get("tracks") and names.recorded_view(
            json.dumps(before["tracks"], sort_keys=True)
        ) != names.live_view(json.dumps(tracks, sort_keys=True)):
            found.append(f"participant {who}, tracks: recorded {before['tracks']}, now {tracks}")
    return found


def attribute_differences(
    where: str,
    recorded: Mapping[str, str],
    live: Mapping[str, str],
    names: Names,
    *,
    answered: bool = True,
) -> list[str]:
    """How attributes differ; sip.callStatus may be further on if the call was `answered`."""
    found = []
    for key in sorted(recorded.keys() | live.keys()):
        before, now = recorded.get(key), live.get(key)
        if answered and key == "sip.callStatus" and before in _STATUS and now in _STATUS:
            if _STATUS.index(now) < _STATUS.index(before):
                found.append(f"{where}, {key}: recorded {before}, now only {now}")
            continue
        was = names.recorded_view(before) if before is not None else None
        seen = names.live_view(now) if now is not None else None
        if key in NOT_COMPARED and was and seen:
            continue
        if was != seen:
            found.append(f"{where}, {key}: recorded {_short(was)}, now {_short(seen)}")
    return found


def _short(value: str | None) -> str:
    text = repr(value)
    return text if len(text) < 200 else f"{text[:160]}… ({len(text)} characters)"
