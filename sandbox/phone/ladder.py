"""A call's SIP messages as lines that are the same in every run, compared with a golden file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.errors import GoldenMismatch
from sandbox.phone.message import SipMessage
from sandbox.phone.sdp import parse_sdp
from sandbox.volatile import abstract

__all__ = ["Ladder", "awaited"]

_USER = re.compile(r"sips?:([^@;>\s]+)@([^:;>\s]+)")


def _labels(messages: Sequence[SipMessage]) -> dict[str, str]:
    """The numbers and addresses of this run, and what stands for each."""
    labels: dict[str, str] = {}

    def learn(text: str, label: str) -> None:
        if text:
            labels.setdefault(text, label)

    first = messages[0]
    for message in messages:
        learn(message.peer, "<SIP service>")
        learn(message.peer.rpartition(":")[0], "<host>")
    learn(first.call_id, "<Call-ID>")
    own = first.header("Contact") if first.direction == "sent" else first.request_uri
    contact = re.search(r"@([^;>\s]+)", own or "")
    learn(contact[1] if contact else "", "<phone>")
    for name, label in (("From", "<caller>"), ("To", "<called>")):
        found = _USER.search(first.header(name) or "")
        if found:
            learn(found[1], label)
            learn(found[2], "<host>")
    return labels


def _once(messages: Sequence[SipMessage]) -> Iterator[SipMessage]:
    """Each message once: how often one is sent again depends on the machine."""
    seen = set()
    for message in messages:
        via = re.search(r"branch=([^;,\s]+)", message.header("Via") or "")
        key = (message.direction, message.start_line, message.header("CSeq"), via and via[1])
        if key not in seen:
            seen.add(key)
            yield message


def _ordered(messages: Sequence[SipMessage]) -> Sequence[SipMessage]:
    """Each message once, and the answer to a CANCEL right behind it.

    A CANCEL is a transaction of its own (RFC 3261 section 9.2): its 200 may come after the 487.
    """
    ordered = list(_once(messages))
    for cancel in [m for m in ordered if m.is_request and m.method == "CANCEL"]:
        for answer in [m for m in ordered if m.status and m.method == "CANCEL"]:
            if answer.cseq == cancel.cseq:
                ordered.remove(answer)
                ordered.insert(ordered.index(cancel) + 1, answer)
    return ordered


def awaited(messages: Sequence[SipMessage]) -> str:
    """What is still to come before every request of a call has its answer; `""` for nothing.

    That is the final response of each request, and the ACK of an INVITE's (RFC 3261 section 17).
    """
    for message in messages:
        others = [m for m in messages if m.cseq == message.cseq]
        finals = [m for m in others if m.status >= 200 and m.method == message.method]
        if message.is_request and message.method != "ACK" and not finals:
            return f"the final response to {message.method}"
        acked = any(m.is_request and m.method == "ACK" for m in others)
        if message.status >= 200 and message.method == "INVITE" and not acked:
            return f"the ACK of the {message.status}"
    return ""


@dataclass(frozen=True, slots=True)
class Ladder:
    """The messages of a call, one a line; `str()` of it is the text of a golden file.

    `->` is sent by the phone, `<-` received. Numbers, addresses, ids, tags, ports and times are
    not in it, nor how often a message was sent again, nor whether the answer to a CANCEL came
    before that to the INVITE. Of an SDP body there are the profile, the
    codecs in their order, and the direction.

    Attributes:
        lines: its lines.
    """

    lines: tuple[str, ...]

    @classmethod
    def of(cls, messages: Sequence[SipMessage], *, headers: Sequence[str] = ()) -> Ladder:
        """The ladder of `messages`, with the values of `headers`."""
        if not messages:
            return cls(())
        labels = _labels(messages)
        lines = []
        for message in _ordered(messages):
            arrow = "->" if message.direction == "sent" else "<-"
            if message.status:
                title = f"{message.status} {message.reason} ({message.method})"
            elif message.method == "INVITE":
                title = f"INVITE {abstract(message.request_uri, labels)}"
            else:
                title = message.method
            sdp = parse_sdp(message.body)
            lines.append(f"{arrow} {title}" + (f"  [{sdp.summary()}]" if sdp else ""))
            for name in headers:
                values = message.headers_all(name)
                lines += [f"     {name}: {abstract(value, labels)}" for value in values]
        return cls(tuple(lines))

    def __str__(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)

    def matches_golden(self, path: Path, *, update: bool = False) -> None:
        """Compare with the golden file `path`.

        Args:
            path: the file.
            update: write it instead.

        Raises:
            GoldenMismatch: they differ, or there is no such file.
        """
        text = str(self)
        if update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        again = "--sandbox-update-golden writes it"
        if not path.exists():
            raise GoldenMismatch(
                f"there is no golden ladder {path.name} yet",
                seen=self.lines,
                remedy=again,
                evidence=str(path),
            )
        golden = path.read_text(encoding="utf-8")
        if golden != text:
            changed = difflib.unified_diff(
                golden.splitlines(), self.lines, "golden", "this call", lineterm="", n=99
            )
            raise GoldenMismatch(
                f"the call is not as in {path.name}",
                seen=tuple(changed),
                remedy=f"mend the call; if it is meant to be so now, {again} anew",
                evidence=str(path),
            )
