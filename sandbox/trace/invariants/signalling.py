"""Invariants of the SIP dialog: the ACK, the answer to a BYE, retransmissions (RFC 3261)."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.phone.message import SipMessage
from sandbox.trace.invariants.rule import Facts, PhoneCall

__all__ = ["acks", "byes", "retransmissions"]

#: How long a message may be under way, and its answer may take on a busy machine, in seconds.
GRACE = 0.5
#: What was heard less than this before a repetition did not stop it any more, in seconds.
CROSSING = 0.2

Found = Iterator[tuple[str, str, list[str]]]


def _other(direction: str) -> str:
    return "received" if direction == "sent" else "sent"


def line(call: PhoneCall, message: SipMessage) -> str:
    """`message` as evidence: its time in the call, its direction, its title."""
    return f"{message.at - call.messages[0].at:+.3f} s {message} CSeq {message.header('CSeq')}"


def _is_last_word(call: PhoneCall, message: SipMessage) -> bool:
    """Whether the call was over before an answer to `message` was due."""
    end = max(m.at for m in call.messages)
    if call.ended is not None:
        end = max(end, call.ended.at)
    return end - message.at < GRACE


def acks(facts: Facts) -> Found:
    """Every 2xx to an INVITE is followed by its ACK."""
    for call in facts.whole_calls():
        done: set[int] = set()
        for message in call.messages:
            if not (200 <= message.status < 300 and message.method == "INVITE"):
                continue
            if message.cseq in done:
                continue
            done.add(message.cseq)
            acked = any(
                later.is_request
                and later.method == "ACK"
                and later.cseq == message.cseq
                and later.direction == _other(message.direction)
                for later in call.after(message)
            )
            if not acked and not _is_last_word(call, message):
                who = "the phone" if message.direction == "received" else "the SIP service"
                yield (
                    call.id,
                    f"the {message.status} to the INVITE of call {call.id} got no ACK from {who}",
                    [line(call, message), f"then {_next(call, message)}"],
                )


def _next(call: PhoneCall, message: SipMessage) -> str:
    later = call.after(message)
    return ", ".join(str(m) for m in later[:4]) or "nothing"


def byes(facts: Facts) -> Found:
    """Every BYE gets its 200; 481 where two crossed (RFC 3261 section 15.1.2)."""
    for call in facts.whole_calls():
        sides = {m.direction for m in call.messages if m.is_request and m.method == "BYE"}
        done: set[tuple[str, int]] = set()
        for message in call.messages:
            if not message.is_request or message.method != "BYE":
                continue
            key = (message.direction, message.cseq)
            if key in done:
                continue
            done.add(key)
            finals = [
                later.status
                for later in call.after(message)
                if later.method == "BYE"
                and later.status >= 200
                and later.cseq == message.cseq
                and later.direction == _other(message.direction)
            ]
            crossed = len(sides) == 2 and 481 in finals
            challenged = bool(finals) and finals[0] in (401, 407)
            if any(200 <= status < 300 for status in finals) or crossed or challenged:
                continue
            if not finals and _is_last_word(call, message):
                continue
            got = f"{finals[0]} instead of 200" if finals else "no answer"
            yield (
                call.id,
                f"the BYE of call {call.id} got {got}",
                [line(call, message), f"then {_next(call, message)}"],
            )


def _key(message: SipMessage) -> tuple[object, ...]:
    """What two sendings of one message have in common: all but what a transport may change."""
    branch = ""
    via = message.header("Via") or ""
    for part in via.split(";"):
        if part.strip().startswith("branch="):
            branch = part.strip()
    return (message.direction, message.method, message.status, message.cseq, branch, message.body)


def retransmissions(facts: Facts) -> Found:
    """Nothing is sent again after it was answered (RFC 3261 sections 17.1, 17.2 and 13.3.1.4)."""
    for call in facts.whole_calls():
        first: dict[tuple[object, ...], SipMessage] = {}
        told: set[tuple[object, ...]] = set()
        for message in call.messages:
            if message.method in ("ACK",) or message.status in range(100, 200):
                continue
            key = _key(message)
            if key not in first:
                first[key] = message
                continue
            stopped = _stopped_by(call, message)
            if stopped is None or key in told:
                continue
            told.add(key)
            yield (
                call.id,
                (
                    f"{_title(message)} was sent again by "
                    f"{'the phone' if message.direction == 'sent' else 'the SIP service'}, "
                    f"{message.at - stopped.at:.2f} s after it had been answered"
                ),
                [line(call, m) for m in (first[key], stopped, message)],
            )


def _title(message: SipMessage) -> str:
    return str(message).partition(" ")[2]


def _stopped_by(call: PhoneCall, again: SipMessage) -> SipMessage | None:
    """What should have kept `again` from being sent, long enough before it."""
    for earlier in call.messages:
        if earlier is again or earlier.at > again.at - CROSSING:
            break
        if earlier.direction == again.direction or earlier.cseq != again.cseq:
            continue
        if again.is_request:
            # A response of any kind ends an INVITE's timer A; a final one ends timer E.
            least = 100 if again.method == "INVITE" else 200
            if earlier.method == again.method and earlier.status >= least:
                return earlier
        elif again.method == "INVITE" and earlier.is_request and earlier.method == "ACK":
            return earlier
        # A response to anything else is sent again only because the request came again.
    return None
