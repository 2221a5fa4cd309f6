"""Timelines that never happened, for judging."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sandbox.timeline import Event
from sandbox.trace.invariants.log_lines import LogLine
from sandbox.trace.invariants.rule import Facts
from sandbox.trace.invariants.rules import RULES

OFFER = (
    "v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {port} {rest}\r\n"
)


def sdp(host: str = "127.0.0.1", port: int = 4000, types: str = "RTP/AVP 0 8", *lines: str) -> str:
    """An SDP body; `types` are the rest of the m= line."""
    return OFFER.format(host=host, port=port, rest=types) + "".join(f"{one}\r\n" for one in lines)


def sip(
    at: float,
    first: str,
    cseq: str = "1 INVITE",
    *,
    out: bool | None = None,
    body: str = "",
    contact: str = "<sip:x@127.0.0.1:5060>",
    branch: str = "z9hG4bKa",
    call: str = "l1.1",
    peer: str = "127.0.0.1:5060",
) -> Event:
    """A SIP message; a request goes out and a response comes in, unless `out` says otherwise."""
    response = first.startswith("SIP/2.0")
    sent = (not response) if out is None else out
    lines = [
        first if response else f"{first} sip:x@y SIP/2.0",
        f"Via: SIP/2.0/UDP 127.0.0.1:5060;branch={branch}",
        "Call-ID: abc",
        f"CSeq: {cseq}",
        f"Contact: {contact}",
    ]
    if body:
        lines.append("Content-Type: application/sdp")
    raw = "\r\n".join([*lines, "", body])
    return Event(
        source="phone",
        name="sip.sent" if sent else "sip.received",
        at=at,
        call=call,
        data={"raw": raw, "transport": "udp", "peer": peer},
    )


def phone(at: float, name: str, call: str = "l1.1", **data: Any) -> Event:
    """Another event of the phone's."""
    return Event(source="phone", name=name, at=at, call=call, data=data)


def ended(at: float = 5.0, **stats: Any) -> Event:
    """The end of the call."""
    return phone(at, "call.ended", status=200, reason="OK", by="local", stats=stats)


def good_call(
    offer: str = "", answer: str = "", contact: str = "<sip:x@127.0.0.1:5060>", **stats: Any
) -> list[Event]:
    """A call in which all is as it should be, of 4 s."""
    stats = {"packets_sent": 200, "packets_received": 200, **stats}
    return [
        sip(0.0, "INVITE", body=offer or sdp()),
        sip(0.01, "SIP/2.0 100 Processing"),
        sip(0.02, "SIP/2.0 180 Ringing"),
        sip(1.0, "SIP/2.0 200 OK", body=answer or sdp(port=6000, types="RTP/AVP 0"),
            contact=contact),
        sip(1.01, "ACK", "1 ACK"),
        phone(1.01, "media.started", remote="127.0.0.1:6000"),
        phone(1.02, "call.answered"),
        sip(5.0, "BYE", "2 BYE", branch="z9hG4bKb"),
        sip(5.01, "SIP/2.0 200 OK", "2 BYE", branch="z9hG4bKb"),
        ended(5.01, **stats),
    ]  # fmt: skip


def webhook(at: float, name: str, **data: Any) -> Event:
    """What livekit-server posted."""
    return Event(source="webhook", name=f"webhook.{name}", at=at, data=data)


def caller(sid: str = "PA_1", call_id: str = "abc") -> dict[str, Any]:
    """A SIP participant."""
    return {
        "sid": sid,
        "identity": "sip_+1555",
        "kind": "SIP",
        "attributes": {"sip.callIDFull": call_id},
    }


def broken(
    rule: str,
    events: Sequence[Event],
    *,
    lines: Sequence[LogLine] = (),
    active: dict[str, float] | None = None,
) -> list[str]:
    """What `rule` finds wrong; the other rules are not asked."""
    facts = Facts(events, log_lines=lines, calls_active=active)
    [known] = [one for one in RULES if one.name == rule]
    return [violation.what for violation in known.check(facts)]
