"""Offer and answer side by side: which lines of an SDP the other one took over (RFC 3264)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sandbox.phone.message import SipMessage

__all__ = ["sdp_marks"]

# Lines about one side alone, which the other does not take over.
_OWN = ("v=", "o=", "s=", "t=", "c=", "b=", "a=rtcp:", "a=ssrc", "a=candidate", "a=ice-", "a=X-")


def _key(line: str) -> str:
    """What a line is about: the attribute, and the payload type of an rtpmap or fmtp."""
    if line.startswith("m="):
        return line.split(" ")[0]
    name, colon, value = line.partition(":")
    if name in ("a=rtpmap", "a=fmtp"):
        return f"{name}:{value.split(' ')[0]}"
    if line.startswith("a="):
        direction = ("a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive")
        return "a=direction" if line in direction else name + colon
    return line[:2]


def _codec(line: str) -> str:
    """An rtpmap by its codec: dynamic payload types may differ (RFC 3264 section 5.1)."""
    return line.partition(" ")[2].lower() if line.startswith("a=rtpmap:") else ""


def _lines(body: str) -> list[str]:
    return [line for line in body.replace("\r\n", "\n").split("\n") if line]


def _mark(line: str, other: Sequence[str]) -> str:
    if line in other:
        return "same"
    codec = _codec(line)
    if codec:
        return "changed" if any(_codec(one) == codec for one in other) else "only"
    key = _key(line)
    return "changed" if any(_key(one) == key for one in other) else "only"


def sdp_marks(messages: Sequence[tuple[int, SipMessage]]) -> dict[int, dict[str, Any]]:
    """For each message with SDP, by its number: its role, its counterpart, a mark for each line.

    Args:
        messages: of one call, in order, each with its number.

    Returns:
        `role` (`offer` or `answer`), `other` (the number of the counterpart, or None) and
        `marks`: `[line, mark]` with `same`, `changed`, `only` or `own` (about this side alone).
    """
    found: dict[int, dict[str, Any]] = {}
    offer: tuple[int, SipMessage] | None = None
    paired: dict[int, int] = {}
    latest: dict[tuple[str, str], int] = {}
    for number, message in messages:
        kind = (message.header("Content-Type") or "").partition(";")[0].strip().lower()
        if kind != "application/sdp" or not message.body:
            continue
        twin = latest.get((message.direction, message.body))
        if twin is not None:
            # Sent again (183 then 200, or a retransmission): the same offer or answer.
            found[number] = {**found[twin], "lines": found[twin]["lines"]}
            if twin in paired:
                paired[number] = paired[twin]
            continue
        role = "offer" if offer is None or offer[1].direction == message.direction else "answer"
        found[number] = {"role": role, "other": None, "lines": _lines(message.body)}
        latest[message.direction, message.body] = number
        if role == "offer":
            offer = (number, message)
        elif offer is not None:
            paired[number], paired[offer[0]] = offer[0], number
            offer = None
    for number, entry in found.items():
        lines = entry.pop("lines")
        other = paired.get(number)
        entry["other"] = other
        body = _lines(dict(messages)[other].body) if other is not None else []
        entry["marks"] = [
            [line, "own" if line.startswith(_OWN) or not body else _mark(line, body)]
            for line in lines
        ]
    return found
