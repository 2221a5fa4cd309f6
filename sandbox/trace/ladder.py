"""A call as a ladder: one line for each SIP message between the phone and the SIP service."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sandbox.timeline import Event

__all__ = ["Rung", "ladder_text", "rungs"]

_STATUS = re.compile(r"SIP/2\.0 (\d{3}) ?(.*)")
_CSEQ = re.compile(r"^CSeq\s*:\s*\d+\s+(\w+)", re.IGNORECASE | re.MULTILINE)
_WIDTH = 34


@dataclass(frozen=True, slots=True)
class Rung:
    """One SIP message of a ladder.

    Attributes:
        at: Unix seconds.
        sent: whether the phone sent it.
        label: `INVITE`, `180 Ringing`, `200 OK (BYE)`.
        transport: `udp` or `tcp`.
    """

    at: float
    sent: bool
    label: str
    transport: str


def _label(raw: str) -> str:
    first = raw.split("\r\n", 1)[0]
    status = _STATUS.match(first)
    if not status:
        return first.split(" ", 1)[0]
    method = _CSEQ.search(raw)
    about = method.group(1).upper() if method else "INVITE"
    return f"{status[1]} {status[2]}".strip() + (f" ({about})" if about != "INVITE" else "")


def rungs(events: Iterable[Event], call: str) -> list[Rung]:
    """The SIP messages of one call, in the order of their times."""
    found = [
        Rung(
            event.at,
            event.name == "sip.sent",
            _label(str(event.data.get("raw", ""))),
            str(event.data.get("transport", "")),
        )
        for event in events
        if event.call == call and event.name in ("sip.sent", "sip.received")
    ]
    return sorted(found, key=lambda rung: rung.at)


def ladder_text(
    steps: Sequence[Rung], *, left: str = "phone", right: str = "SIP service"
) -> list[str]:
    """The ladder as lines of text; times in seconds from the first message."""
    if not steps:
        return ["(no SIP message was exchanged)"]
    start = steps[0].at
    lines = [f"{'':>9}  {left:<{_WIDTH // 2}}{right:>{_WIDTH - _WIDTH // 2 + 2}}"]
    for step in steps:
        body = f" {step.label} ".center(_WIDTH - 2, "─")
        if step.sent:
            arrow = f"├{body}▶│"
        else:
            arrow = f"│◀{body}┤"
        note = "" if step.transport in ("", "udp", "UDP") else f"  {step.transport}"
        lines.append(f"{step.at - start:+9.3f}  {arrow}{note}")
    return lines
