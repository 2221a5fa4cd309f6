"""Makes `recordings/` from the full recordings: `python -m tests.conformance.trim FOLDER`."""

from __future__ import annotations

import json
import re
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
#: How every INVITE ended in which the recorder cut a long header.
_END = (
    "\r\nContent-Type: application/sdp\r\nContent-Length: 222\r\n\r\nv=0\r\n"
    "o=miniua 1000 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 30000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
    "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
)
_RTP = ("rx", "sent", "first_loud", "pts", "payload_lens", "freq_last_1s", "dtmf_rx")


def _pick(source: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    return {key: source[key] for key in keys if key in source}


def _participant(source: Mapping[str, Any]) -> dict[str, Any]:
    tracks = [_pick(track, _TRACK) for track in source.get("tracks", [])]
    return _pick(source, _PARTICIPANT) | ({"tracks": tracks} if tracks else {})


def _whole(raw: str) -> str:
    """A message that the recorder cut short, with the header it was cut in and the end it had."""
    cut = re.search(r"\.\.\.\[(\d+) bytes\]$", raw)
    if cut is None:
        return raw
    head = raw[: cut.start()]
    return head + head[-1] * (int(cut[1]) - len(head) - len(_END)) + _END


def trimmed(full: Mapping[str, Any]) -> dict[str, Any]:
    """What of a full recording is replayed or compared."""
    return {
        **_pick(full, ("case", "group", "doc", "number", "room")),
        "api": [
            _pick(call, ("t", "method", "req", "http", "resp", "error", "dur"))
            for call in full["api"]
        ],
        "sip": [
            {"t": entry["t"], "dir": entry["dir"], "raw": _whole(entry["raw"])}
            for entry in full["sip"]
        ],
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
