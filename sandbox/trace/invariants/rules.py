"""All invariants by name, what a test may break on purpose, and the judgement."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sandbox.errors import UsageError
from sandbox.trace.invariants import ending, media, signalling
from sandbox.trace.invariants.rule import Facts, Rule, Violation

__all__ = ["RULES", "Allowance", "allowance", "judge"]

#: Every invariant, in the order in which a violation is told: what comes first explains the rest.
RULES: Sequence[Rule] = (
    Rule(
        name="reachable",
        means="the Contact and the SDP of the SIP service name addresses that the phone can reach",
        source="RFC 3261 section 8.1.1.8, RFC 8866 section 5.7",
        fix="set nat_1_to_1_ip, use_external_ip or listen_ip of the SIP service to an address that "
        "its peers can reach",
        find=media.reachable,
    ),
    Rule(
        name="answer-fits-offer",
        means="an SDP answer has the m= lines of its offer, a codec of it, and a direction that "
        "fits",
        source="RFC 3264 section 6",
        fix="compare the two SDP bodies; a trunk's or rule's media config picks codecs and "
        "encryption",
        find=media.answers,
    ),
    Rule(
        name="third-party-rtp",
        means="RTP goes to and comes from the address that the SDP named",
        source="RFC 3264 section 5.1",
        fix="look for a proxy, a NAT or a second interface between the phone and the SIP service",
        find=media.third_party_rtp,
    ),
    Rule(
        name="one-way-audio",
        means="a call that was up for a while, and not on hold, has RTP both ways",
        source="RFC 3264 section 5.1 (a=sendrecv)",
        fix="compare the address and port in each SDP with where the other side can send to; open "
        "the RTP port range",
        find=media.one_way_audio,
    ),
    Rule(
        name="ack",
        means="every 2xx to an INVITE got its ACK",
        source="RFC 3261 section 13.2.2.4",
        fix="the ACK goes to the Contact of the 200: is it reachable from its peer?",
        find=signalling.acks,
    ),
    Rule(
        name="bye-answered",
        means="every BYE got its 200 (481 where two crossed)",
        source="RFC 3261 section 15.1",
        fix="a BYE goes to the Contact, by the Route set: compare tags and CSeq with the call's",
        find=signalling.byes,
    ),
    Rule(
        name="retransmission",
        means="nothing was sent again after it had been answered",
        source="RFC 3261 sections 13.3.1.4 and 17",
        fix="the answer did not reach its sender or was not taken: compare Via branch, CSeq and "
        "tags",
        find=signalling.retransmissions,
    ),
    Rule(
        name="participant-gone",
        means="a SIP participant left its room when its call was over",
        source="LiveKit: participant_left webhook",
        fix="look in the SIP service's log for the call's SCL_ id",
        find=ending.participants,
        at_end=True,
    ),
    Rule(
        name="room-gone",
        means="every room of the test has finished at its end",
        source="LiveKit: room_finished webhook",
        fix="delete it, or end what holds it open",
        find=ending.rooms,
        at_end=True,
    ),
    Rule(
        name="job-ended",
        means="every agent job that was entered has ended",
        source="livekit-agents: JobContext shutdown",
        fix="does the entrypoint catch CancelledError, or a shutdown callback hang?",
        find=ending.jobs,
        at_end=True,
    ),
    Rule(
        name="calls-active",
        means="the SIP service counts no call any more",
        source="livekit-sip: livekit_sip_calls_active",
        fix="look in the SIP service's log for a call that did not end",
        find=ending.calls_active,
        at_end=True,
    ),
    Rule(
        name="log-line",
        means="no log has a WARN or ERROR line outside the allow-list",
        source="sandbox/trace/invariants/allowed_log_lines.yaml",
        fix="mend what it complains of, or allow the line with a reason",
        find=ending.log_lines,
        at_end=True,
    ),
)

_NAMES = tuple(rule.name for rule in RULES)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a test breaks on purpose.

    Attributes:
        rule: the rule's name.
        reason: why.
        match: what the violation's text must match; all by default.
    """

    rule: str
    reason: str
    match: str = ""

    def covers(self, violation: Violation) -> bool:
        """Whether `violation` is allowed by it."""
        return violation.rule == self.rule and (
            not self.match or re.search(self.match, violation.what) is not None
        )


def allowance(rule: str = "", *, reason: str = "", match: str = "") -> Allowance:
    """The allowance of a `sandbox_allow` mark.

    Raises:
        UsageError: there is no such rule, or no reason was given.
    """
    if rule not in _NAMES:
        raise UsageError(
            f"sandbox_allow: there is no rule {rule!r}", seen=[f"there are {', '.join(_NAMES)}"]
        )
    if not reason.strip():
        raise UsageError(f'sandbox_allow("{rule}") needs a reason="…"')
    return Allowance(rule, reason, match)


def judge(
    facts: Facts, allowed: Iterable[Allowance] = (), *, at_end: bool = True
) -> list[Violation]:
    """The rules that the facts break.

    Args:
        facts: of one test.
        allowed: what it breaks on purpose.
        at_end: whether everything has been taken down; else only what the calls show is judged.
    """
    allowed = tuple(allowed)
    return [
        violation
        for rule in RULES
        if at_end or not rule.at_end
        for violation in rule.check(facts)
        if not any(one.covers(violation) for one in allowed)
    ]
