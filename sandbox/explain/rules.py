"""Which dispatch rule takes a call: each rule's predicates, the priorities, and the conflicts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import product

from livekit.protocol.sip import SIPDispatchRuleInfo

from sandbox.explain.call import IncomingCall
from sandbox.explain.numbers import near, normalize, why_not_equal
from sandbox.explain.verdict import Check, RuleVerdict, State

__all__ = ["RuleMatch", "kind_of", "match_rules", "pin_of", "room_or_prefix", "target_of"]


@dataclass(frozen=True, slots=True)
class RuleMatch:
    """What the rules make of a call.

    Attributes:
        verdicts: of each rule, in the order given.
        winner: the rule that takes the call, or None.
        error: livekit-server's complaint, if it refused to look, or `""`.
    """

    verdicts: tuple[RuleVerdict, ...]
    winner: SIPDispatchRuleInfo | None
    error: str = ""


def kind_of(rule: SIPDispatchRuleInfo) -> str:
    """`direct`, `individual`, `callee`, or `""` for a rule that says none of them."""
    return (rule.rule.WhichOneof("rule") or "").removeprefix("dispatch_rule_")


def pin_of(rule: SIPDispatchRuleInfo) -> str:
    """The rule's PIN, or `""`."""
    kind = kind_of(rule)
    return str(getattr(rule.rule, f"dispatch_rule_{kind}").pin) if kind else ""


def room_or_prefix(rule: SIPDispatchRuleInfo) -> str:
    """The room name of a direct rule, the prefix of the others."""
    kind = kind_of(rule)
    if not kind:
        return ""
    inner = getattr(rule.rule, f"dispatch_rule_{kind}")
    return str(inner.room_name if kind == "direct" else inner.room_prefix)


def target_of(rule: SIPDispatchRuleInfo) -> str:
    """What the rule leads to, short: `direct:lobby`."""
    return f"{kind_of(rule) or 'no kind'}:{room_or_prefix(rule)}"


def match_rules(
    rules: Sequence[SIPDispatchRuleInfo],
    call: IncomingCall,
    trunk_id: str,
    known_trunks: Collection[str] = (),
) -> RuleMatch:
    """Let every rule look at a call that the trunk `trunk_id` took (`""`: none did).

    Args:
        rules: the dispatch rules.
        call: the call.
        trunk_id: of the trunk that took it.
        known_trunks: the trunks there are, to tell a rule for another trunk from one for a
            trunk that is gone.
    """
    verdicts = [_judge(rule, call, trunk_id, known_trunks) for rule in rules]
    # livekit-server looks at the rules of the trunk and those of no trunk; without a trunk, at all.
    scope = [
        i
        for i, rule in enumerate(rules)
        if not trunk_id or not rule.trunk_ids or trunk_id in rule.trunk_ids
    ]
    error, guilty = _unusable(rules, scope)
    if error:
        for i, text in guilty.items():
            verdicts[i] = replace(verdicts[i], state=State.CONFLICT, text=text)
        return RuleMatch(tuple(verdicts), None, error)
    matched = [i for i in scope if verdicts[i].state is State.MATCHED]
    specific = [i for i in matched if rules[i].trunk_ids]
    contenders = specific or matched
    if not contenders:
        return RuleMatch(tuple(verdicts), None)
    best = min(contenders, key=lambda i: _order(rules[i]))
    for i in matched:
        if i != best:
            verdicts[i] = replace(verdicts[i], text=_beaten(rules[i], rules[best]))
    verdicts[best] = replace(verdicts[best], state=State.WINS)
    return RuleMatch(tuple(verdicts), rules[best])


_KINDS = ("direct", "individual", "callee")


def _priority(rule: SIPDispatchRuleInfo) -> int:
    number = _KINDS.index(kind_of(rule)) if kind_of(rule) else 0
    if not pin_of(rule):
        number += 100
    if not rule.inbound_numbers:
        number += 1000
    if not rule.numbers:
        number += 1000
    return number


def _order(rule: SIPDispatchRuleInfo) -> tuple[int, str, str]:
    return (_priority(rule), room_or_prefix(rule), rule.sip_dispatch_rule_id)


def _beaten(loser: SIPDispatchRuleInfo, winner: SIPDispatchRuleInfo) -> str:
    name = winner.sip_dispatch_rule_id
    if winner.trunk_ids and not loser.trunk_ids:
        return f"would match, but {name} names the trunk and wins"
    narrow = [
        f for f in ("inbound_numbers", "numbers") if getattr(winner, f) and not getattr(loser, f)
    ]
    if narrow and _priority(winner) // 1000 < _priority(loser) // 1000:
        return f"would match, but {name} has {' and '.join(narrow)} and wins"
    if pin_of(winner) and not pin_of(loser):
        return f"would match, but {name} has a PIN and wins: every caller hears the prompt"
    if kind_of(winner) != kind_of(loser):
        return f"would match, but {name} is {kind_of(winner)}, which beats {kind_of(loser)}"
    return f"would match, but {name} comes first by room name and id"


def _judge(
    rule: SIPDispatchRuleInfo, call: IncomingCall, trunk_id: str, known_trunks: Collection[str]
) -> RuleVerdict:
    checks = (
        _for_trunk(rule, trunk_id, known_trunks),
        _for_caller(rule, call),
        _for_called(rule, call),
        _for_pin(rule, call),
    )
    failed = next((check for check in checks if not check.passed), None)
    if failed is None:
        said = [c.text for c in checks if c.text and not c.text.startswith("empty")]
        text = ", ".join(said) or "takes every call"
    else:
        text = failed.text
    return RuleVerdict(
        id=rule.sip_dispatch_rule_id,
        name=rule.name,
        target=target_of(rule),
        state=State.REJECTED if failed else State.MATCHED,
        priority=None if failed else _priority(rule),
        checks=checks,
        text=text,
    )


def _for_trunk(rule: SIPDispatchRuleInfo, trunk_id: str, known_trunks: Collection[str]) -> Check:
    ids = list(rule.trunk_ids)
    if not ids:
        text = (
            "empty: every trunk" if trunk_id else "trunk_ids is empty: takes calls of no trunk too"
        )
        return Check(field="trunk_ids", passed=True, text=text)
    if trunk_id and trunk_id in ids:
        return Check(field="trunk_ids", passed=True, text=f"for trunk {trunk_id}")
    gone = [i for i in ids if known_trunks and i not in known_trunks]
    what = f"is for {', '.join(ids)} only"
    if gone:
        what += f" ({', '.join(gone)} {'does' if len(gone) == 1 else 'do'} not exist)"
    took = f"{trunk_id} took the call" if trunk_id else "no trunk took the call"
    return Check(field="trunk_ids", passed=False, text=f"{what}, but {took}")


def _for_caller(rule: SIPDispatchRuleInfo, call: IncomingCall) -> Check:
    numbers = list(rule.inbound_numbers)
    name = "inbound_numbers"
    if not numbers:
        return Check(field=name, passed=True, text="empty: any caller")
    if call.from_user in numbers:
        return Check(field=name, passed=True, text=f"for caller {call.from_user}")
    text = f"inbound_numbers={numbers} filters the CALLER (was {call.from_user!r})"
    alike = near(call.from_user, numbers)
    if alike is not None and alike != call.to_user:
        text += f"; letter by letter: {why_not_equal(call.from_user, alike)}"
    return Check(field=name, passed=False, text=text)


def _for_called(rule: SIPDispatchRuleInfo, call: IncomingCall) -> Check:
    numbers = list(rule.numbers)
    if not numbers:
        return Check(field="numbers", passed=True, text="empty: any called number")
    if call.to_user in numbers:
        return Check(field="numbers", passed=True, text=f"for called {call.to_user}")
    text = f"numbers={numbers} filters the CALLED number (was {call.to_user!r})"
    alike = near(call.to_user, numbers)
    if alike is not None and alike != call.from_user:
        text += f"; letter by letter: {why_not_equal(call.to_user, alike)}"
    return Check(field="numbers", passed=False, text=text)


def _for_pin(rule: SIPDispatchRuleInfo, call: IncomingCall) -> Check:
    pin = pin_of(rule)
    if call.pin is None:
        return Check(field="pin", passed=True, text="asks for a PIN" if pin else "")
    if call.pin == "":
        if pin:
            return Check(field="pin", passed=False, text="wants a PIN, and a bare # was entered")
        return Check(field="pin", passed=True, text="wants no PIN")
    if pin == call.pin:
        return Check(field="pin", passed=True, text="its PIN was entered")
    text = "its PIN is another" if pin else "wants no PIN, but one was entered"
    return Check(field="pin", passed=False, text=text)


_Key = tuple[str, str, str, str]


def conflict_keys(rule: SIPDispatchRuleInfo) -> list[_Key]:
    """What two rules must not share: PIN, trunk, caller and called number, normalised.

    A rule that lists one number or trunk twice has a key twice.
    """
    return list(
        product(
            [pin_of(rule)],
            list(rule.trunk_ids) or [""],
            [normalize(number) for number in rule.inbound_numbers] or [""],
            [normalize(number) for number in rule.numbers] or [""],
        )
    )


def _unusable(
    rules: Sequence[SIPDispatchRuleInfo], scope: Sequence[int]
) -> tuple[str, dict[int, str]]:
    """Why livekit-server refuses to look at the rules at all, and the rules that are to blame."""
    owners: dict[_Key, int] = {}
    for i in scope:
        for key in conflict_keys(rules[i]):
            first = owners.setdefault(key, i)
            if first != i or conflict_keys(rules[i]).count(key) > 1:
                return _conflict(rules, first, i)
    for i in scope:
        if not kind_of(rules[i]):
            text = "is neither direct nor individual nor callee (a mis-nested JSON?)"
            return "unsupported SIP Dispatch Rule", {i: text}
    return "", {}


def _conflict(
    rules: Sequence[SIPDispatchRuleInfo], first: int, second: int
) -> tuple[str, dict[int, str]]:
    one, other = rules[first], rules[second]
    error = (
        "Dispatch rule for the same trunk, inbound number, number, and PIN combination already "
        f'exists in dispatch rule "{one.sip_dispatch_rule_id}" "{one.name or "<blank name>"}"'
    )
    if first == second:
        return error, {first: "lists a number or trunk twice (+ and punctuation do not count)"}
    text = "conflicts with {}: same trunk, caller, called number and PIN (normalised)"
    return error, {
        first: text.format(other.sip_dispatch_rule_id),
        second: text.format(one.sip_dispatch_rule_id),
    }
