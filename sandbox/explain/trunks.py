"""Which inbound trunk takes a call: each trunk's predicates, and the winner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from livekit.protocol.sip import SIPInboundTrunkInfo

from sandbox.explain.addresses import admits, dropped, kept
from sandbox.explain.call import IncomingCall
from sandbox.explain.numbers import near, same_number, why_not_equal
from sandbox.explain.verdict import Check, State, TrunkVerdict

__all__ = ["TrunkMatch", "match_trunks"]


@dataclass(frozen=True, slots=True)
class TrunkMatch:
    """What the trunks make of a call.

    Attributes:
        verdicts: of each trunk, in the order given.
        winner: the trunk that takes the call, or None.
        error: livekit-server's complaint, if it could not decide, or `""`.
    """

    verdicts: tuple[TrunkVerdict, ...]
    winner: SIPInboundTrunkInfo | None
    error: str = ""


def match_trunks(trunks: Sequence[SIPInboundTrunkInfo], call: IncomingCall) -> TrunkMatch:
    """Let every trunk look at the call."""
    verdicts = [_judge(trunk, call) for trunk in trunks]
    matched = [i for i, verdict in enumerate(verdicts) if verdict.state is State.MATCHED]
    specific = [i for i in matched if not verdicts[i].wildcard]
    contenders = specific or matched
    if len(contenders) > 1:
        kind = "SIP Trunks" if specific else "default SIP Trunks"
        error = f'Multiple {kind} matched for "{call.to_user}"'
        names = {i: verdicts[i].id for i in contenders}
        for i in contenders:
            others = ", ".join(name for j, name in names.items() if j != i)
            verdicts[i] = replace(
                verdicts[i], state=State.CONFLICT, text=f"matched, and so did {others}"
            )
        return TrunkMatch(tuple(verdicts), None, error)
    if not contenders:
        return TrunkMatch(tuple(verdicts), None)
    best = contenders[0]
    verdicts[best] = replace(verdicts[best], state=State.WINS)
    for i in matched:
        if i != best:
            text = f"would match, but {verdicts[best].id} names the number and wins"
            verdicts[i] = replace(verdicts[i], text=text)
    return TrunkMatch(tuple(verdicts), trunks[best])


def _judge(trunk: SIPInboundTrunkInfo, call: IncomingCall) -> TrunkVerdict:
    checks = (_called(trunk, call), _caller(trunk, call), _source(trunk, call))
    failed = next((check for check in checks if not check.passed), None)
    return TrunkVerdict(
        id=trunk.sip_trunk_id,
        name=trunk.name,
        state=State.REJECTED if failed else State.MATCHED,
        wildcard=not trunk.numbers,
        checks=checks,
        text=failed.text if failed else checks[0].text,
    )


def _called(trunk: SIPInboundTrunkInfo, call: IncomingCall) -> Check:
    numbers = list(trunk.numbers)
    if not numbers:
        return Check(
            field="numbers",
            passed=True,
            text=f"takes every number, called {call.to_user or '(none)'}",
        )
    if any(same_number(number, call.to_user) for number in numbers):
        return Check(field="numbers", passed=True, text=f"called {call.to_user or '(none)'}")
    text = f"numbers={numbers} lack the called {call.to_user!r}"
    alike = near(call.to_user, numbers)
    if alike is not None:
        text += f"; {alike!r} is close, but {why_not_equal(call.to_user, alike)}"
    elif call.request_user is not None and any(
        same_number(number, call.request_user) for number in numbers
    ):
        text += (
            f"; {call.request_user!r} is in the Request-URI only, and LiveKit reads the To header"
        )
    return Check(field="numbers", passed=False, text=text)


def _caller(trunk: SIPInboundTrunkInfo, call: IncomingCall) -> Check:
    allowed = list(trunk.allowed_numbers)
    if not allowed:
        return Check(field="allowed_numbers", passed=True, text="empty: any caller")
    if any(same_number(number, call.from_user) for number in allowed):
        return Check(field="allowed_numbers", passed=True, text=f"has the caller {call.from_user}")
    return Check(
        field="allowed_numbers",
        passed=False,
        text=f"allowed_numbers={allowed} lack the caller {call.from_user!r}",
    )


def _source(trunk: SIPInboundTrunkInfo, call: IncomingCall) -> Check:
    entries = kept(trunk.allowed_addresses)
    lost = dropped(trunk.allowed_addresses)
    name = "allowed_addresses"
    if not entries:
        text = "empty: any address"
        if lost:
            text = f"{lost} are no addresses for LiveKit: it drops them, and admits everyone"
        return Check(field=name, passed=True, text=text)
    if not call.source:
        return Check(field=name, passed=True, text=f"{entries}: not checked, the source is unknown")
    for entry in entries:
        reason = admits(entry, call.source, call.from_host)
        if reason is not None:
            return Check(field=name, passed=True, text=reason)
    host = f" nor the From host {call.from_host!r}" if call.from_host else ""
    return Check(
        field=name,
        passed=False,
        text=f"allowed_addresses={list(trunk.allowed_addresses)} admit neither {call.source}{host}",
    )
