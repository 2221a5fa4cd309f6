"""A call as a ladder of four columns: phone, SIP service, livekit-server, agent."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.timeline import Event
from sandbox.trace.joined import CallIds, room_of
from sandbox.trace.ladder import rungs

__all__ = ["BANDS", "COLUMNS", "Step", "as_data", "flow", "flow_text", "mermaid"]

PHONE, SIP, SERVER, AGENT = range(4)

#: The names of the columns; the second is what ran.
COLUMNS = ("phone", "SIP service", "livekit-server", "agent")

_KINDS = {"SIP": SIP, "AGENT": AGENT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line of the ladder.

    Attributes:
        at: Unix seconds.
        source: the column it comes from.
        target: the column it goes to; the same for a note.
        label: what it was.
        kind: `sip`, `media`, `room`, `api`, `job`, `log`, `step`, `failed` or `fault`; how it is
            drawn.
        index: of its event in the list that the ladder was made from.
    """

    at: float
    source: int
    target: int
    label: str
    kind: str
    index: int


def _kinds(events: Sequence[Event]) -> dict[str, int]:
    """The column of each participant: only the webhooks of its joining and leaving tell."""
    kinds = {}
    for event in events:
        who = event.data.get("participant", {})
        if event.source == "webhook" and who.get("kind") in _KINDS:
            kinds[str(who.get("identity", ""))] = _KINDS[who["kind"]]
    return kinds


def _webhook(event: Event, kinds: Mapping[str, int]) -> tuple[int, int, str] | None:
    what = event.name.removeprefix("webhook.")
    identity = str(event.data.get("participant", {}).get("identity", ""))
    source = kinds.get(identity, SERVER)
    who = "" if source in (SIP, AGENT) else f"{identity} "
    reason = str(event.data.get("participant", {}).get("disconnect_reason", ""))
    labels = {
        "participant_joined": f"{who}joins {room_of(event)}",
        "participant_left": f"{who}leaves {reason}".rstrip(),
        "participant_connection_aborted": f"{who}gave up joining",
        "track_published": f"{who}publishes {_track(event)}",
        "track_unpublished": f"{who}unpublishes {_track(event)}",
        "room_started": f"room {room_of(event)} starts",
        "room_finished": "room ends",
    }
    return (source, SERVER, labels[what]) if what in labels else None


def _track(event: Event) -> str:
    track = event.data.get("track", {})
    return "video" if track.get("type") == "VIDEO" else "audio"


def _api(event: Event) -> tuple[int, int, str] | None:
    method = str(event.data.get("method", "")).rpartition("/")[2]
    message = event.data.get("message", {})
    if event.name == "api.request" and method == "CreateSIPParticipant":
        return SERVER, SIP, f"{method} {message.get('sip_call_to', '')}"
    if event.name == "api.request" and method == "TransferSIPParticipant":
        return SERVER, SIP, f"{method} {message.get('transfer_to', '')}"
    if event.name == "api.request" and not method.startswith(("List", "Get")):
        return SERVER, SERVER, method
    if event.name == "api.answer" and event.data.get("http") != 200:
        return SERVER, SERVER, f"{method} refused, {event.data.get('http')}"
    return None


def _said(event: Event) -> str:
    return f"“{str(event.data.get('text', ''))[:60]}”"


def _data(key: str) -> Callable[[Event], str]:
    return lambda event: str(event.data.get(key, ""))


_PLAIN: dict[str, tuple[int, int, str, Callable[[Event], str]]] = {
    "dtmf.sent": (PHONE, SIP, "DTMF ", _data("digit")),
    "dtmf.received": (SIP, PHONE, "DTMF ", _data("digit")),
    "rtp.first_sent": (PHONE, SIP, "first RTP packet", lambda e: ""),
    "rtp.first_received": (SIP, PHONE, "first RTP packet", lambda e: ""),
    "rtp.gap": (PHONE, PHONE, "no RTP for ", lambda e: f"{e.data['seconds']:.2f} s"),
    "rtp.lost": (PHONE, PHONE, "", lambda e: f"{e.data['packets']} RTP packets lost"),
    "speech.says": (PHONE, SIP, "", _said),
    "speech.heard": (SIP, PHONE, "", _said),
    "speech.exact": (SIP, PHONE, "", _said),
    "job.offered": (SERVER, AGENT, "job offered", lambda e: ""),
    "job.accepted": (AGENT, SERVER, "job accepted", lambda e: ""),
    "job.rejected": (AGENT, SERVER, "job rejected", lambda e: ""),
    "job.dtmf": (SERVER, AGENT, "DTMF ", _data("digit")),
    "session.first_audio": (AGENT, SERVER, "begins to speak", lambda e: ""),
    "session.heard": (SERVER, AGENT, "", _said),
    "session.tool": (AGENT, AGENT, "tool ", _data("tool")),
    "session.error": (AGENT, AGENT, "error: ", _data("error")),
    "worker.exited": (AGENT, AGENT, "its process ended, code ", _data("code")),
    "job.failed": (AGENT, AGENT, "failed: ", _data("error")),
    "job.ended": (AGENT, AGENT, "job ended ", _data("reason")),
    "test.step": (PHONE, AGENT, "", _data("text")),
    "test.ended": (PHONE, AGENT, "the test has ended: clean-up", lambda e: ""),
    "test.failed": (PHONE, AGENT, "failed: ", _data("text")),
    "fault.begins": (PHONE, AGENT, "fault: ", _data("text")),
    "fault.ends": (PHONE, AGENT, "fault over: ", _data("text")),
    "process.died": (SERVER, SERVER, "died: ", _data("part")),
    "line.crashed": (PHONE, PHONE, "the line crashed", lambda e: ""),
}


#: What concerns every call of the test.
_EVERYWHERE = ("test.step", "test.failed", "test.ended", "fault.begins", "fault.ends",
               "process.died")  # fmt: skip
#: Steps that are drawn across all columns.
BANDS = ("step", "failed", "fault")


#: Log lines that are steps, and the columns of those that wrote them.
_ERRORS = ("log.error", "log.dpanic", "log.panic", "log.fatal", "log.critical")
_WRITERS = {"sip": SIP, "server": SERVER, "agent": AGENT}


def _step(event: Event, index: int, kinds: Mapping[str, int]) -> Step | None:
    if event.source == "webhook":
        found = _webhook(event, kinds)
        kind = "room"
    elif event.source == "api":
        found, kind = _api(event), "api"
    elif event.name in _ERRORS and event.source in _WRITERS and "no_fault" not in event.data:
        column = _WRITERS[event.source]
        found, kind = (column, column, f"error: {event.data.get('text', '')}"), "log"
    elif event.name.startswith("speech.") and event.source != "phone":
        return None
    elif event.name in _PLAIN:
        source, target, label, more = _PLAIN[event.name]
        found = (source, target, label + more(event))
        kind = {"test": "step", "agent": "job", "fault": "fault"}.get(event.source, "media")
        kind = "failed" if event.name == "test.failed" else kind
    else:
        return None
    if found is None:
        return None
    return Step(
        at=event.at, source=found[0], target=found[1], label=found[2].strip(), kind=kind,
        index=index,
    )  # fmt: skip


def flow(events: Sequence[Event], call: CallIds) -> list[Step]:
    """The steps of one call, in the order of their times.

    The scenario's own steps are in it, and what the API was asked about its room.
    """
    steps = []
    kinds = _kinds(events)
    for index, event in enumerate(events):
        if event.name in ("sip.sent", "sip.received") and event.call == call.id:
            (rung,) = rungs([event], call.id)
            source, target = (PHONE, SIP) if rung.sent else (SIP, PHONE)
            steps.append(
                Step(at=event.at, source=source, target=target, label=rung.label, kind="sip",
                     index=index)
            )  # fmt: skip
        elif event.name in _EVERYWHERE or call.has(event):
            step = _step(event, index, kinds)
            if step is not None:
                steps.append(step)
    steps.sort(key=lambda step: step.at)
    while steps and steps[-1].kind == "step" and steps[-1].label.startswith("the test has ended"):
        steps.pop()
    return steps


# --- as text ----------------------------------------------------------------------------------

_GAP = 22


def flow_text(steps: Sequence[Step], columns: Sequence[str] = COLUMNS) -> list[str]:
    """The ladder as lines of 80 characters; times in seconds from the first step."""
    if not steps:
        return ["(nothing was exchanged)"]
    width = _GAP * (len(columns) - 1) + 1
    head = [" "] * (width + 8)
    for number, name in enumerate(columns):
        short = name[: _GAP - 2]
        at = min(max(0, number * _GAP - len(short) // 2), width + 8 - len(short))
        head[at : at + len(short)] = short
    lines = [f"{'':>9} {''.join(head).rstrip()}"]
    start = steps[0].at
    lines += [
        f"{step.at - start:+9.3f} {_row(step, len(columns), width)}".rstrip() for step in steps
    ]
    return lines


def _row(step: Step, columns: int, width: int) -> str:
    row = ["│" if position % _GAP == 0 else " " for position in range(width)]
    label = _plain(step.label)
    if step.kind in BANDS:
        return f" {_cut(label, width - 4)} ".center(width, "·" if step.kind == "step" else "!")
    if step.source == step.target:
        at = step.source * _GAP + 2
        if step.source == columns - 1:
            at = max(2, width - 3 - len(label))
        label = _cut(label, width - at)
        row[at : at + len(label)] = label
        row[step.source * _GAP] = "•"
        return "".join(row)
    low, high = sorted((step.source, step.target))
    first, last = low * _GAP, high * _GAP
    inside = last - first - 1
    body = f" {_cut(label, inside - 3)} ".center(inside - 1, "─")
    right = step.source < step.target
    row[first : last + 1] = f"├{body}▶│" if right else f"│◀{body}┤"
    return "".join(row)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def _plain(text: str) -> str:
    return _CONTROL.sub(" ", text)


# --- as Mermaid -------------------------------------------------------------------------------


def _mermaid_text(text: str) -> str:
    """Text that is nothing but text in a sequence diagram."""
    return (
        "".join(f"#{ord(char)};" if char in '#;<>&"%{}' else char for char in _plain(text)) or " "
    )


def mermaid(steps: Sequence[Step], columns: Sequence[str] = COLUMNS) -> str:
    """The ladder as a Mermaid sequenceDiagram, for a pull request or an issue."""
    names = "PSLA"
    lines = ["sequenceDiagram"]
    lines += [
        f"    participant {name} as {_mermaid_text(title)}"
        for name, title in zip(names, columns, strict=True)
    ]
    start = steps[0].at if steps else 0.0
    for step in steps:
        source, target = names[step.source], names[step.target]
        label = f"{_mermaid_text(step.label)} ({step.at - start:.3f} s)"
        if step.kind in BANDS:
            lines.append(f"    Note over P,A: {label}")
        elif source == target:
            lines.append(f"    Note over {source}: {label}")
        else:
            lines.append(f"    {source}->>{target}: {label}")
    return "\n".join(lines) + "\n"


def as_data(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """The steps as JSON values."""
    return [
        {"t": s.at, "from": s.source, "to": s.target, "label": s.label, "kind": s.kind,
         "event": s.index}
        for s in steps
    ]  # fmt: skip
