"""What to change so that a refused call gets through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from livekit.protocol.sip import SIPDispatchRuleInfo, SIPInboundTrunkInfo

from sandbox.explain.call import IncomingCall
from sandbox.explain.numbers import near, same_number
from sandbox.explain.rules import RuleMatch, match_rules, pin_of
from sandbox.explain.trunks import TrunkMatch
from sandbox.explain.verdict import Outcome, State

__all__ = ["fixes"]

Trunks = Sequence[SIPInboundTrunkInfo]
Rules = Sequence[SIPDispatchRuleInfo]


def fixes(
    outcome: Outcome,
    call: IncomingCall,
    trunks: Trunks,
    rules: Rules,
    trunk_match: TrunkMatch,
    rule_match: RuleMatch,
) -> list[str]:
    """What to change, the likeliest first; nothing for a call that gets through."""
    if outcome in (Outcome.SILENCE, Outcome.NOT_FOUND):
        found = _unmatched(call, trunks, rules, trunk_match, rule_match)
    elif outcome is Outcome.ERROR:
        found = _conflict(trunk_match, rule_match)
    elif outcome is Outcome.CHALLENGE:
        found = iter(("give the caller the trunk's auth_username and auth_password",))
    elif outcome is Outcome.UNAUTHORIZED:
        found = iter(("make the caller's credentials and the trunk's the same",))
    elif outcome is Outcome.WRONG_PIN:
        pins = sum(1 for rule in rules if pin_of(rule))
        found = iter((f"enter the PIN of one of the {pins} PIN rules, then #",))
    elif outcome is Outcome.CRASH:
        found = iter(
            (("take hide_phone_number off the rule, or refuse anonymous callers with the trunk's "
             "allowed_numbers and no rule without trunk_ids"),)
        )  # fmt: skip
    else:
        found = iter(())
    return list(dict.fromkeys(found))


def _conflict(trunk_match: TrunkMatch, rule_match: RuleMatch) -> Iterator[str]:
    verdicts = trunk_match.verdicts if trunk_match.error else rule_match.verdicts
    guilty = [verdict.id for verdict in verdicts if verdict.state is State.CONFLICT]
    names = " and ".join(guilty)
    if trunk_match.error:
        yield f"keep one of {names} for this call: different numbers, or disjoint allowed_numbers"
    elif len(guilty) > 1:
        yield f"change or delete one of {names}; until then no call in their reach gets through"
    elif guilty:
        yield f"write rule {names} anew, with one of direct, individual, callee and no doubles"
    else:
        yield "take hide_phone_number off the rule, or let the caller send a plain number"


def _unmatched(
    call: IncomingCall,
    trunks: Trunks,
    rules: Rules,
    trunk_match: TrunkMatch,
    rule_match: RuleMatch,
) -> Iterator[str]:
    trunk = trunk_match.winner
    if trunk is not None:
        if not rules:
            yield f"create a dispatch rule with trunk_ids=['{trunk.sip_trunk_id}']"
            return
        yield from _for_rules(call, rules, rule_match, trunk.sip_trunk_id)
        return
    if not trunks:
        yield f"create an inbound trunk with numbers=['{call.to_user}'], and a rule for it"
    else:
        meant, changes = _for_trunks(call, trunks, trunk_match)
        yield from changes
        # What would still stand in the way once the trunk takes the call.
        rule_match = match_rules(rules, replace(call, pin=None), meant)
        trunk_id = meant
    if not rules:
        yield "create a dispatch rule: there is none"
    elif trunks and rule_match.winner is None and not rule_match.error:
        yield from _for_rules(call, rules, rule_match, trunk_id)


def _for_trunks(call: IncomingCall, trunks: Trunks, match: TrunkMatch) -> tuple[str, list[str]]:
    """The trunk that was meant to take the call, and what it takes to make it."""
    by_number = [
        (trunk, verdict)
        for trunk, verdict in zip(trunks, match.verdicts, strict=True)
        if verdict.checks[0].passed
    ]
    if not by_number:
        return _by_another_number(call, trunks)
    # A trunk that names the number is meant more than one that takes any.
    trunk, verdict = min(by_number, key=lambda pair: pair[1].wildcard)
    name = trunk.sip_trunk_id
    changes = []
    if not verdict.checks[1].passed:
        changes.append(f"put the caller {call.from_user} in allowed_numbers of {name}")
    if not verdict.checks[2].passed:
        changes.append(f"put {call.source} (or its network) in allowed_addresses of {name}")
    return name, changes


def _by_another_number(call: IncomingCall, trunks: Trunks) -> tuple[str, list[str]]:
    for trunk in trunks:
        name = trunk.sip_trunk_id
        alike = near(call.to_user, trunk.numbers)
        if alike is not None:
            return name, [
                (
                    f"put {call.to_user!r}, as called, in numbers of {name} beside {alike!r}, "
                    f"or have the carrier send {alike!r}"
                )
            ]
        asked = call.request_user
        if asked is not None and any(same_number(number, asked) for number in trunk.numbers):
            return name, [f"have the carrier put {asked} in the To header: LiveKit reads no other"]
    first = trunks[0].sip_trunk_id
    where = f"of trunk {first}" if len(trunks) == 1 else f"of one of the {len(trunks)} trunks"
    return first, [f"put the called number {call.to_user!r} in `numbers` {where}"]


def _for_rules(call: IncomingCall, rules: Rules, match: RuleMatch, trunk_id: str) -> Iterator[str]:
    judged = list(zip(rules, match.verdicts, strict=True))
    # The rule that fails on the fewest predicates is the one that was meant.
    judged.sort(key=lambda pair: sum(not check.passed for check in pair[1].checks))
    for rule, verdict in judged:
        name = rule.sip_dispatch_rule_id
        failed = {check.field for check in verdict.checks if not check.passed}
        if "inbound_numbers" in failed:
            yield _caller_fix(call, rule, name)
        if "numbers" in failed:
            yield _called_fix(call, rule, name)
        if "trunk_ids" in failed:
            yield f"add {trunk_id} to trunk_ids of {name}, or create a rule for that trunk"
        if failed:
            return


def _caller_fix(call: IncomingCall, rule: SIPDispatchRuleInfo, name: str) -> str:
    numbers = rule.inbound_numbers
    if any(same_number(number, call.to_user) for number in numbers):
        return (
            f"put the called number {call.to_user} in `numbers` of {name}, "
            "and leave `inbound_numbers` empty"
        )
    alike = near(call.from_user, numbers)
    if alike is not None:
        return f"write {call.from_user!r} instead of {alike!r} in inbound_numbers of {name}"
    return f"add the caller {call.from_user} to inbound_numbers of {name}, or leave it empty"


def _called_fix(call: IncomingCall, rule: SIPDispatchRuleInfo, name: str) -> str:
    numbers = rule.numbers
    if any(same_number(number, call.from_user) for number in numbers):
        return (
            f"put the caller {call.from_user} in `inbound_numbers` of {name}, "
            "and leave `numbers` empty"
        )
    alike = near(call.to_user, numbers)
    if alike is not None:
        return f"write {call.to_user!r} instead of {alike!r} in numbers of {name}"
    return f"add the called number {call.to_user} to numbers of {name}, or leave it empty"
