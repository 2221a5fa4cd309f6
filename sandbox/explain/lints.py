"""Traps in a configuration that no call has fallen into yet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from livekit.protocol.sip import SIPDispatchRuleInfo, SIPInboundTrunkInfo

from sandbox.explain import traps_rules, traps_trunks
from sandbox.explain.traps import Found, Setup

__all__ = ["LINTS", "Lint", "lint"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lint:
    """One trap.

    Attributes:
        id: of the kind of trap, stable.
        subject: the trunk or rule, by its id.
        text: what is wrong, in words.
        fix: what to change.
        scenario: the scenario of scenarios.md that shows the trap at work.
        test: the test in which it does.
    """

    id: str
    subject: str
    text: str
    fix: str
    scenario: str
    test: str

    def as_dict(self) -> dict[str, str]:
        """As JSON values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


_TESTS = "tests/explain/test_lints.py"

#: Every kind of trap: its id, the scenario that shows it, and what finds it.
LINTS: Sequence[tuple[str, str, Callable[[Setup], Found]]] = (
    ("open-rule", "S-SEC-01", traps_rules.open_rule),
    ("half-auth", "S-API-04", traps_trunks.half_auth),
    ("open-addresses", "S-TRK-07", traps_trunks.open_addresses),
    ("any-network", "S-TRK-07", traps_trunks.any_network),
    ("spoofable-host", "S-TRK-08", traps_trunks.spoofable_host),
    ("rule-number-format", "S-DSP-08", traps_rules.rule_number_format),
    ("swapped-numbers", "S-DSP-08", traps_rules.swapped_numbers),
    ("trunk-number-format", "S-TRK-03", traps_trunks.trunk_number_format),
    ("gone-trunk", "S-API-19", traps_rules.gone_trunk),
    ("trunk-without-rule", "S-DSP-11", traps_trunks.trunk_without_rule),
    ("conflicting-trunks", "S-TRK-05", traps_trunks.conflicting_trunks),
    ("conflicting-rules", "S-DSP-13", traps_rules.conflicting_rules),
    ("no-kind", "S-API-13", traps_rules.no_kind),
    ("pin-not-enterable", "S-PIN-04", traps_rules.pin_not_enterable),
    ("hidden-anonymous-crash", "S-DSP-06", traps_rules.hidden_anonymous_crash),
    ("unserved-agent", "S-AGT-03", traps_rules.unserved_agent),
    ("agents-ignored", "S-AGT-06", traps_rules.agents_ignored),
)


def lint(
    trunks: Sequence[SIPInboundTrunkInfo],
    rules: Sequence[SIPDispatchRuleInfo],
    *,
    agents: Collection[str] | None = None,
    rooms: Collection[str] | None = None,
) -> list[Lint]:
    """The traps in a configuration.

    Args:
        trunks: all inbound trunks.
        rules: all dispatch rules.
        agents: the agent names that workers serve (`""` for automatic dispatch); None if unknown.
        rooms: the rooms that exist; None if unknown.
    """
    setup = Setup(trunks=trunks, rules=rules, agents=agents, rooms=rooms)
    return [
        Lint(
            id=kind,
            subject=subject,
            text=f"{subject} {text}",
            fix=fix,
            scenario=scenario,
            test=f"{_TESTS}::test_{kind.replace('-', '_')}",
        )
        for kind, scenario, find in LINTS
        for subject, text, fix in find(setup)
    ]
