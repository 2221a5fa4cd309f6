"""Makes `recordings/` from the full recordings: `python -m tests.conformance.trim FOLDER`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_EVENTS = {
    "joined": ("room",),
    "published": (),
    "left": (),
    "participant_connected": ("identity", "name", "kind", "attributes", "metadata"),
    "already_here": ("identity", "name", "kind", "attributes", "metadata"),
    "attributes_changed": ("identity", "changed"),
    "participant_disconnected": ("identity", "disconnect_reason"),
    "first_audible_audio": ("identity",),
    "sip_dtmf": ("code", "digit", "participant"),
}
_ROOM = ("name", "metadata", "empty_timeout", "departure_timeout", "max_participants")
_PARTICIPANT = ("identity", "name", "metadata", "kind", "attributes", "permission")
_TRACK = ("name", "source", "mime_type")
_RTP = ("rx", "sent", "first_loud", "pts", "payload_lens", "freq_last_1s", "dtmf_rx")


def _pick(source: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    return {key: source[key] for key in keys if key in source}


def _participant(source: Mapping[str, Any]) -> dict[str, Any]:
    tracks = [_pick(track, _TRACK) for track in source.get("tracks", [])]
    return _pick(source, _PARTICIPANT) | ({"tracks": tracks} if tracks else {})


def trimmed(full: Mapping[str, Any]) -> dict[str, Any]:
    """What of a full recording is replayed or compared."""
    return {
        **_pick(full, ("case", "group", "doc", "number", "room")),
        "api": [
            _pick(call, ("t", "method", "req", "http", "resp", "error", "dur"))
            for call in full["api"]
        ],
        "sip": [_pick(entry, ("t", "dir", "raw")) for entry in full["sip"]],
        "room_events": [
            _pick(event, ("t", "who", "event", *_EVENTS[event["event"]]))
            for event in full["room_events"]
            if event["event"] in _EVENTS
        ],
        "snaps": [
            {
                "t": snap["t"],
                "label": snap["label"],
                "rooms": [
                    {
                        "room": _pick(entry["room"], _ROOM),
                        "participants": [_participant(who) for who in entry["participants"]],
                    }
                    for entry in snap["rooms"]
                ],
            }
            for snap in full["snaps"]
        ],
        "rtp": [_pick(stream, _RTP) for stream in full["rtp"] or []],
    }


def main() -> None:
    """Trim every recording of the folder that is named."""
    out = Path(__file__).with_name("recordings")
    out.mkdir(exist_ok=True)
    for path in sorted(Path(sys.argv[1]).glob("*.json")):
        short = trimmed(json.loads(path.read_text(encoding="utf-8")))
        text = json.dumps(short, indent=1, ensure_ascii=False)
        (out / path.name).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
