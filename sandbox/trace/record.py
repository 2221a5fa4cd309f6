"""A test's trace as data: everything of it on one clock, joined by call; `trace.json` on disk."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sandbox import versions
from sandbox.stack.endpoints import Endpoints
from sandbox.timeline import Event
from sandbox.trace.attributes import attribute_changes
from sandbox.trace.flow import COLUMNS, as_data, flow, mermaid
from sandbox.trace.joined import CallIds, join_calls, room_of, sip_message
from sandbox.trace.logs import log_events
from sandbox.trace.packets import Packet, read_packets
from sandbox.trace.pcap import call_frames, pcapng
from sandbox.trace.quality import rtp_events, rtp_quality
from sandbox.trace.sdp import sdp_marks
from sandbox.trace.svg import ladder_svg
from sandbox.trace.timings import call_timings

__all__ = ["FORMAT", "MEDIA", "names_of", "rerun_command", "run_facts", "write_trace"]

#: Of trace.json; raised when its shape changes.
FORMAT = 2


def rerun_command(nodeid: str, engine: str) -> str:
    """The command that runs one test again as it was run."""
    kept = {**versions.overridden()}
    for name in ("SANDBOX_LIVEKIT_SIP", "SANDBOX_LIVEKIT_SERVER", "SANDBOX_REDIS_SERVER"):
        if os.environ.get(name):
            kept[name] = os.environ[name]
    words = [f"{name}={shlex.quote(value)}" for name, value in kept.items()]
    words += ["pytest", shlex.quote(nodeid), f"--sandbox-engine={engine}", "--sandbox-trace=on"]
    return " ".join(words)


def run_facts(endpoints: Endpoints, nodeid: str) -> dict[str, Any]:
    """What ran: the engine, the SIP service, the versions, and the command to run it again."""
    found = {"livekit-server": endpoints.server_version or "unknown"}
    for name in ("livekit-sip-sandbox", "livekit-agents", "livekit", "livekit-api", "pytest"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    found["PJSIP"] = versions.PJSIP
    found["Python"] = platform.python_version()
    return {
        "engine": endpoints.engine,
        "sip_service": endpoints.sip_service,
        "versions": found,
        "platform": platform.platform(),
        "logs": str(endpoints.run_dir),
        "command": rerun_command(nodeid, endpoints.engine),
    }


#: The files of a `media.captured` event.
MEDIA = ("packets", "received", "sent")


def _media(
    events: Sequence[Event], call: str, folder: Path
) -> tuple[list[Packet], Mapping[str, Any]]:
    """The packets of a call, and where its sound is: in `folder`, or where the phone left it."""
    told = dict(next((e.data for e in events if e.name == "media.captured" and e.call == call), {}))
    for name in MEDIA:
        path = Path(str(told.pop(name, "")))
        found = next((p for p in (folder / path.name, path) if p.is_file()), None)
        if found is not None:
            told[name] = found
    return list(read_packets(told["packets"])) if "packets" in told else [], told


def names_of(events: Sequence[Event]) -> set[str]:
    """What a log line of a test can be told by: the ids of its calls, and its rooms."""
    names = {name for call in join_calls(events) for name in call.names()}
    return (names | {room_of(event) for event in events}) - {""}


def _call(
    events: Sequence[Event], ids: CallIds, folder: Path, sip_service: str,
    packets: list[Packet], told: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    columns = (COLUMNS[0], "stand-in" if "stand-in" in sip_service else "livekit-sip", *COLUMNS[2:])
    steps = flow(events, ids)
    stem = f"call-{ids.id}"
    files = {}
    for name, content in (
        (f"{stem}.svg", ladder_svg(steps, columns=columns, alone=True)),
        (f"{stem}.mmd", mermaid(steps, columns)),
    ):
        (folder / name).write_text(content, encoding="utf-8", errors="replace")
    frames = call_frames(events, ids.id, packets)
    if frames:
        files["pcap"] = f"{stem}.pcapng"
        comment = f"{ids.caller} -> {ids.callee}, {ids.sip_call_id}, {sip_service}"
        (folder / files["pcap"]).write_bytes(pcapng(frames, comment=comment))
    for name in ("received", "sent"):
        if name in told:
            files[name] = f"{stem}.{name}.wav"
            shutil.move(told[name], folder / files[name])
    messages = [
        (index, message)
        for index, event in enumerate(events)
        if event.call == ids.id and (message := sip_message(event)) is not None
    ]
    ended = next((e.data for e in events if e.name == "call.ended" and e.call == ids.id), {})
    timings = call_timings(events, ids.id)
    return {
        "id": ids.id,
        "outgoing": ids.outgoing,
        "caller": ids.caller,
        "callee": ids.callee,
        "sip_call_id": ids.sip_call_id,
        "scl": ids.scl,
        "room": ids.room,
        "identity": ids.identity,
        "jobs": sorted(ids.jobs),
        "columns": list(columns),
        "ladder": as_data(steps),
        "sdp": sdp_marks(messages),
        "files": files,
        "audio_at": told.get("audio_at", 0.0),
        "quality": {
            "received": rtp_quality(packets, sent=False),
            "sent": rtp_quality(packets, sent=True),
        },
        "timings": {name: getattr(timings, name) for name in timings.__slots__},
        "stats": dict(ended.get("stats") or {}),
    }


def write_trace(
    folder: Path,
    *,
    test: Mapping[str, Any],
    verdict: Mapping[str, Any],
    events: Sequence[Event],
    endpoints: Endpoints,
    logs: Mapping[str, Any],
) -> dict[str, Any]:
    """Write `trace.json` and the files beside it into `folder`; what trace.json holds.

    Args:
        folder: of this test; made if it is not there.
        test: `name`, `nodeid`, `doc`, `outcome`, `phase`, `seconds`, `started`, ….
        verdict: of `sandbox.trace.verdict`.
        events: of the test, from its first on.
        endpoints: of its stack.
        logs: of `log_lines`; its lines become rows of the timeline.
    """
    folder.mkdir(parents=True, exist_ok=True)
    media = {call.id: _media(events, call.id, folder) for call in join_calls(events)}
    worked_out = [e for call, (packets, _) in media.items() for e in rtp_events(packets, call)]
    # Where the phone has put its files is no news of the call.
    told = [event for event in events if event.name != "media.captured"]
    written = log_events(logs)
    events = sorted(
        [*told, *worked_out, *(event for _, event in written)], key=lambda event: event.at
    )
    calls = join_calls(events)
    rows = {id(event): index for index, event in enumerate(events)}
    row_of = {id(line): rows[id(event)] for line, event in written}
    trace = {
        "format": FORMAT,
        "test": dict(test),
        "verdict": dict(verdict),
        "run": run_facts(endpoints, str(test["nodeid"])),
        "calls": [
            _call(events, call, folder, endpoints.sip_service, *media[call.id]) for call in calls
        ],
        "events": [
            {
                "at": event.at,
                "source": event.source,
                "name": event.name,
                "calls": [call.id for call in calls if call.has(event)],
                "data": dict(event.data),
            }
            for event in events
        ],
        "attributes": attribute_changes(events),
        # What is on the timeline is there, and only pointed at here.
        "logs": {
            name: [{"event": row_of[id(line)]} if id(line) in row_of else line for line in lines]
            for name, lines in logs.items()
        },
    }
    text = json.dumps(trace, default=str, ensure_ascii=True, separators=(",", ":"))
    (folder / "trace.json").write_text(text, encoding="utf-8")
    for _, told_of in media.values():
        if "packets" in told_of:
            told_of["packets"].unlink()
    return trace
