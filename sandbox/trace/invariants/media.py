"""Invariants of the session: offer and answer (RFC 3264), addresses, and who sends RTP where."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from sandbox.phone.message import SipMessage
from sandbox.phone.sdp import Sdp, parse_sdp
from sandbox.trace.invariants.rule import Facts, PhoneCall
from sandbox.trace.invariants.signalling import line

__all__ = ["answers", "one_way_audio", "reachable", "third_party_rtp"]

Found = Iterator[tuple[str, str, list[str]]]

#: A call this long has had time for packets both ways, in seconds.
LONG_ENOUGH = 1.5
#: So many packets one way prove that media was up, 20 ms each.
MANY = 50
#: RFC 3264 section 6.1: which directions may answer which.
_ANSWERS = {
    "sendrecv": {"sendrecv", "sendonly", "recvonly", "inactive"},
    "sendonly": {"recvonly", "inactive"},
    "recvonly": {"sendonly", "inactive"},
    "inactive": {"inactive"},
}


def _exchanges(call: PhoneCall) -> Iterator[tuple[SipMessage, Sdp, SipMessage, Sdp]]:
    """The offers of a call and their answers, by the rules of RFC 3261 section 13.2.1."""
    for method in ("INVITE", "UPDATE"):
        numbers = {
            (m.direction, m.cseq) for m in call.messages if m.is_request and m.method == method
        }
        for direction, cseq in sorted(numbers):
            parts = [m for m in call.messages if m.cseq == cseq and m.method in (method, "ACK")]
            request = next(
                m for m in parts
                if m.is_request and m.method == method and m.direction == direction
            )  # fmt: skip
            replies = [
                m for m in parts
                if m.direction != direction and 100 < m.status < 300 and _sdp(m) is not None
            ]  # fmt: skip
            offer = _sdp(request)
            if offer is not None:
                # A provisional answer and the 200 after it are one and the same answer.
                if replies:
                    yield request, offer, replies[-1], _need(replies[-1])
                continue
            acks = [m for m in parts if m.method == "ACK" and _sdp(m) is not None]
            if replies and acks:
                yield replies[0], _need(replies[0]), acks[0], _need(acks[0])


def _sdp(message: SipMessage) -> Sdp | None:
    kind = (message.header("Content-Type") or "").partition(";")[0].strip().lower()
    return parse_sdp(message.body) if kind == "application/sdp" else None


def _need(message: SipMessage) -> Sdp:
    sdp = _sdp(message)
    assert sdp is not None
    return sdp


def answers(facts: Facts) -> Found:
    """An answer fits its offer."""
    for call in facts.whole_calls():
        for request, offer, reply, answer in _exchanges(call):
            wrong = _misfit(offer, answer)
            if wrong:
                yield (
                    call.id,
                    f"the SDP answer of call {call.id} does not fit its offer: {wrong}",
                    [
                        f"{line(call, request)}: {offer.summary()}",
                        f"{line(call, reply)}: {answer.summary()}",
                    ],
                )


def _misfit(offer: Sdp, answer: Sdp) -> str:
    if len(offer.media) != len(answer.media):
        return f"{len(offer.media)} m= lines offered, {len(answer.media)} answered (section 6)"
    for ours, theirs in zip(offer.media, answer.media, strict=True):
        if theirs.port == 0:
            continue
        if (ours.kind, ours.protocol) != (theirs.kind, theirs.protocol):
            return (
                f"m={ours.kind} {ours.protocol} answered by m={theirs.kind} {theirs.protocol} "
                "(section 6)"
            )
        if ours.port == 0:
            return "a stream that was refused in the offer is taken (section 6)"
        common = ours.codecs & theirs.codecs
        if ours.codecs and not common:
            return f"no codec of the offer is in it: {', '.join(sorted(theirs.codecs)) or 'none'}"
        if theirs.direction not in _ANSWERS.get(ours.direction, {theirs.direction}):
            return f"a={ours.direction} answered by a={theirs.direction} (section 6.1)"
        if theirs.crypto and not set(theirs.crypto) <= set(ours.crypto):
            return "its a=crypto has a tag that was not offered (RFC 4568 section 5.1.2)"
    return ""


# --- addresses ----------------------------------------------------------------------------------


def _ip(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text.strip("[]"))
    except ValueError:
        return None


def _host(uri: str) -> str:
    """The host of a Contact's URI."""
    inner = uri.partition("<")[2].partition(">")[0] if "<" in uri else uri.partition(";")[0]
    rest = inner.partition(":")[2] if inner.lower().startswith(("sip:", "sips:")) else inner
    rest = rest.rpartition("@")[2].partition(";")[0].partition("?")[0]
    if rest.startswith("["):
        return rest.partition("]")[0].lstrip("[")
    return rest.partition(":")[0]


@cache
def _is_own(address: str) -> bool:
    """Whether an address is one of this machine's: it can be bound."""
    ip = _ip(address)
    if ip is None:
        return False
    family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


_DOCUMENTATION = tuple(
    ip_network(network)
    for network in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
)


def _unreachable(address: str, peer: str) -> str:
    """Why `address` cannot be reached from the peer's network, or `""`."""
    ip, from_ = _ip(address), _ip(peer)
    if ip is None or from_ is None:
        return ""
    if ip.is_unspecified:
        return "is no address"
    if any(ip in network for network in _DOCUMENTATION if network.version == ip.version):
        return "is for documentation only (RFC 5737)"
    if ip.is_loopback and not from_.is_loopback:
        return f"is this host's own loopback, and the message came from {peer}"
    if from_.is_loopback and not ip.is_loopback and not _is_own(address):
        return f"is not on this machine, and the message came from {peer}"
    if ip.is_private and not ip.is_loopback and from_.is_global:
        return f"is private (RFC 1918), and the message came from {peer}"
    return ""


def reachable(facts: Facts) -> Found:
    """Contact and SDP of what the SIP service sends can be reached from the phone."""
    for call in facts.whole_calls():
        done: set[tuple[str, str]] = set()
        for message in call.messages:
            if message.direction != "received" or not message.peer:
                continue
            peer = message.peer.rpartition(":")[0]
            named = []
            sdp = _sdp(message)
            if sdp is not None:
                named += [("SDP", m.address) for m in sdp.media if m.port and not sdp.on_hold]
            if message.method == "INVITE" and (message.is_request or 200 <= message.status < 300):
                named += [("Contact", _host(value)) for value in message.headers_all("Contact")]
            for where, address in named:
                why = _unreachable(address, peer)
                if why and (where, address) not in done:
                    done.add((where, address))
                    yield (
                        call.id,
                        (
                            f"the {where} of the SIP service on call {call.id} names {address}, "
                            f"which {why}"
                        ),
                        [line(call, message)],
                    )


# --- RTP ----------------------------------------------------------------------------------------


def one_way_audio(facts: Facts) -> Found:
    """A call that was up for a while, and not on hold, has RTP both ways."""
    for call in facts.whole_calls():
        ended, answered = call.ended, call.answered_at
        if ended is None or answered is None or ended.at - answered < LONG_ENOUGH:
            continue
        if any(
            media.direction != "sendrecv" or not media.port
            for message in call.messages
            if (sdp := _sdp(message)) is not None
            for media in sdp.media
        ):
            continue
        stats = ended.data.get("stats") or {}
        sent, got = int(stats.get("packets_sent", 0)), int(stats.get("packets_received", 0))
        if (sent >= MANY) == (got >= MANY) or (sent and got):
            continue
        loud, quiet = "the phone", "the SIP service"
        if got:
            loud, quiet = quiet, loud
        yield (
            call.id,
            (
                f"one-way audio on call {call.id}: {loud} sent {max(sent, got)} RTP packets in "
                f"{ended.at - answered:.1f} s, {quiet} none"
            ),
            [
                f"phone -> {call_remote(call)}: {sent} packets",
                f"phone <- {stats.get('received_from') or 'nobody'}: {got} packets",
            ],
        )


def call_remote(call: PhoneCall) -> str:
    """Where the phone sends its RTP."""
    started = [event for event in call.events if event.name == "media.started"]
    return str(started[-1].data.get("remote", "")) if started else "nowhere"


def third_party_rtp(facts: Facts) -> Found:
    """RTP goes to and comes from what the SDP named, and nowhere else."""
    for call in facts.whole_calls():
        named = {
            f"{media.address}:{media.port}"
            for message in call.messages
            if message.direction == "received" and (sdp := _sdp(message)) is not None
            for media in sdp.media
            if media.port
        }
        if not named:
            continue
        seen: list[tuple[str, str]] = []
        for event in call.events:
            if event.name == "media.started" and event.data.get("remote"):
                seen.append(("is sent to", str(event.data["remote"])))
            elif event.name == "call.ended":
                source = str((event.data.get("stats") or {}).get("received_from", ""))
                if source:
                    seen.append(("came from", source))
        for verb, address in dict.fromkeys(seen):
            if address not in named:
                yield (
                    call.id,
                    (
                        f"RTP of call {call.id} {verb} {address}, which no SDP of the SIP service "
                        "named"
                    ),
                    [f"SDP: {', '.join(sorted(named))}"],
                )
