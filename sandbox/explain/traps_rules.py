"""Traps in dispatch rules."""

from __future__ import annotations

from livekit.protocol.sip import SIPDispatchRuleInfo

from sandbox.explain.call import IncomingCall
from sandbox.explain.grant import RANDOM, room_name
from sandbox.explain.numbers import normalize
from sandbox.explain.rules import conflict_keys, kind_of, pin_of
from sandbox.explain.traps import Found, Setup
from sandbox.explain.versions import ServerVersion

__all__ = [
    "agents_ignored",
    "conflicting_rules",
    "gone_trunk",
    "hidden_anonymous_crash",
    "no_kind",
    "open_rule",
    "pin_not_enterable",
    "rule_number_format",
    "swapped_numbers",
    "unserved_agent",
]


def open_rule(setup: Setup) -> Found:
    """A rule that answers strangers."""
    for rule in setup.rules:
        if not rule.trunk_ids and not pin_of(rule):
            limits = [f for f in ("inbound_numbers", "numbers") if getattr(rule, f)]
            who = f"whose {' and '.join(limits)} fit" if limits else "of anybody"
            yield (
                rule.sip_dispatch_rule_id,
                (
                    f"has no trunk_ids: it answers calls {who} that no trunk took; no password, "
                    "allowed_addresses or allowed_numbers of a trunk applies to them"
                ),
                "name the trunks in trunk_ids",
            )


def rule_number_format(setup: Setup) -> Found:
    """Numbers of a rule that are not as a carrier sends them."""
    for rule in setup.rules:
        for name in ("inbound_numbers", "numbers"):
            odd = [n for n in getattr(rule, name) if n != normalize(n) and len(normalize(n)) > 7]
            if odd:
                yield (
                    rule.sip_dispatch_rule_id,
                    (
                        f"compares {name} letter by letter: {odd} match only a call that sends "
                        f"exactly that (most carriers send {normalize(odd[0])!r})"
                    ),
                    "write them as the carrier sends them, E.164 with the + as a rule",
                )


def swapped_numbers(setup: Setup) -> Found:
    """The called number where the caller is asked for, or no number of the trunk's."""
    by_id = {trunk.sip_trunk_id: trunk for trunk in setup.trunks}
    for rule in setup.rules:
        own = [by_id[i] for i in rule.trunk_ids if i in by_id]
        if not own or len(own) < len(rule.trunk_ids) or not all(trunk.numbers for trunk in own):
            continue
        called = {normalize(number) for trunk in own for number in trunk.numbers}
        swapped = [n for n in rule.inbound_numbers if normalize(n) in called]
        if swapped:
            yield (
                rule.sip_dispatch_rule_id,
                f"has its trunk's own {swapped} in inbound_numbers, which filter the CALLER",
                "put them in `numbers`, which filter the called number",
            )
        if rule.numbers and not any(normalize(n) in called for n in rule.numbers):
            yield (
                rule.sip_dispatch_rule_id,
                f"can never match: none of numbers={list(rule.numbers)} is a number of its trunks",
                "use numbers of the trunk, or leave `numbers` empty",
            )


def gone_trunk(setup: Setup) -> Found:
    """A rule for a trunk that is not there."""
    known = {trunk.sip_trunk_id for trunk in setup.trunks}
    for rule in setup.rules:
        gone = [i for i in rule.trunk_ids if i not in known]
        if gone:
            never = ", so it never matches" if len(gone) == len(rule.trunk_ids) else ""
            yield (
                rule.sip_dispatch_rule_id,
                f"names {', '.join(gone)}, but there is no such inbound trunk{never}",
                "name the trunk there is, or delete the rule",
            )


def conflicting_rules(setup: Setup) -> Found:
    """Two rules for the same calls."""
    owners: dict[tuple[str, str, str, str], SIPDispatchRuleInfo] = {}
    seen: set[tuple[str, str]] = set()
    for rule in setup.rules:
        keys = conflict_keys(rule)
        name = rule.sip_dispatch_rule_id
        if len(set(keys)) < len(keys):
            yield (
                name,
                (
                    "lists a number or trunk twice (+ and punctuation do not count): "
                    "every call in its reach gets 503"
                ),
                "list each once",
            )
        for key in set(keys):
            first = owners.setdefault(key, rule)
            pair = (first.sip_dispatch_rule_id, name)
            if first is not rule and pair not in seen:
                seen.add(pair)
                yield (
                    pair[0],
                    (
                        f"conflicts with {name} (same trunk, caller, called number and PIN): every "
                        "call in their reach gets 503, others than theirs too"
                    ),
                    "delete or change one of them",
                )


def no_kind(setup: Setup) -> Found:
    """A rule that is of no kind."""
    for rule in setup.rules:
        if not kind_of(rule):
            yield (
                rule.sip_dispatch_rule_id,
                "is neither direct nor individual nor callee",
                'nest it: {"rule": {"dispatch_rule_direct": {"room_name": "…"}}}',
            )


def pin_not_enterable(setup: Setup) -> Found:
    """A PIN that no telephone can send."""
    for rule in setup.rules:
        pin = pin_of(rule)
        if pin and (len(pin) > 16 or not set(pin) <= set("0123456789*")):
            yield (
                rule.sip_dispatch_rule_id,
                f"has a PIN that nobody can key in ({len(pin)} characters)",
                "use at most 16 of the keys 0 to 9 and *; # ends the entry",
            )


def hidden_anonymous_crash(setup: Setup) -> Found:
    """A hidden number where there may be none."""
    for rule in setup.rules:
        if rule.hide_phone_number and ("" in rule.inbound_numbers or not rule.inbound_numbers):
            yield (
                rule.sip_dispatch_rule_id,
                (
                    "hides numbers: one call without a user in its From header crashes "
                    "livekit-server 1.13.5"
                ),
                (
                    "name the callers in inbound_numbers or the trunk's allowed_numbers, or drop "
                    "hide_phone_number"
                ),
            )


def unserved_agent(setup: Setup) -> Found:
    """An agent that no worker serves."""
    if setup.agents is None:
        return
    for rule in setup.rules:
        names = [entry.agent_name for entry in rule.room_config.agents] or [""]
        for name in names:
            if name not in setup.agents:
                served = ", ".join(repr(a) for a in sorted(setup.agents)) or "none"
                what = f"dispatches {name!r}" if name else "leaves it to automatic dispatch"
                yield (
                    rule.sip_dispatch_rule_id,
                    (
                        f"{what}, which no worker serves (there are {served}): the caller hears "
                        "ringing until 486"
                    ),
                    (
                        "write agent_name as the worker has it; a worker with a name is never "
                        "dispatched automatically"
                    ),
                )


def agents_ignored(setup: Setup) -> Found:
    """Agents of a room that exists already."""
    version = ServerVersion()
    for rule in setup.rules:
        if setup.rooms is None or not rule.room_config.agents or not kind_of(rule):
            continue
        for called in sorted(_called_numbers(setup, rule)):
            for caller in list(rule.inbound_numbers) or [""]:
                call = IncomingCall(from_user=caller, to_user=called)
                name = room_name(rule, call, version)
                if RANDOM not in name and name in setup.rooms:
                    yield (
                        rule.sip_dispatch_rule_id,
                        (
                            f"leads into {name!r}, which exists: room_config.agents is read by the "
                            "join that creates a room, so nobody is dispatched"
                        ),
                        "dispatch the agent by AgentDispatchService, or use a room for each call",
                    )


def _called_numbers(setup: Setup, rule: SIPDispatchRuleInfo) -> set[str]:
    if rule.numbers:
        return set(rule.numbers)
    own = {n for t in setup.trunks for n in t.numbers if t.sip_trunk_id in rule.trunk_ids}
    return own or {""}
