"""The list of rules, what a test may break on purpose, and how a violation is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.errors import UsageError
from sandbox.trace.invariants.rule import Facts, InvariantBroken
from sandbox.trace.invariants.rules import RULES, allowance, judge
from tests.unit.invariants.made_up import good_call

MARK = '@pytest.mark.sandbox_allow("one-way-audio", reason="…")'
DOCS = Path(__file__).parents[3] / "docs" / "invariants.md"


def test_every_rule_is_documented_with_its_source() -> None:
    text = DOCS.read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip(" `"): line for line in text.splitlines() if "| `" in line}
    for rule in RULES:
        assert rule.name in rows, rule.name
        assert rule.source in rows[rule.name], rule.name
        assert rule.means in rows[rule.name], rule.name


def test_a_rule_is_allowed_with_a_reason() -> None:
    facts = Facts(good_call(packets_received=0))
    assert [violation.rule for violation in judge(facts)] == ["one-way-audio"]
    assert judge(facts, [allowance("one-way-audio", reason="the phone listens only")]) == []


def test_only_the_violations_that_match_are_allowed() -> None:
    facts = Facts(good_call(packets_received=0))
    assert judge(facts, [allowance("one-way-audio", reason="r", match="the phone sent")]) == []
    assert judge(facts, [allowance("one-way-audio", reason="r", match="the phone none")])


@pytest.mark.parametrize(
    ("name", "reason", "why"),
    [("one-way", "r", "there is no rule 'one-way'"), ("one-way-audio", " ", "needs a reason")],
)
def test_an_allowance_without_a_rule_or_a_reason_is_refused(
    name: str, reason: str, why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        allowance(name, reason=reason)


def test_rules_about_the_end_are_not_judged_before_it() -> None:
    assert judge(Facts((), calls_active={"inbound": 1.0}), at_end=False) == []


def test_a_violation_names_the_rule_the_evidence_and_the_way_out() -> None:
    violations = judge(Facts(good_call(packets_received=0)))
    text = str(InvariantBroken("test_x", violations, evidence="/runs/1"))
    call = "one-way audio on call l1.1: the phone sent 200 RTP packets in 4.0 s"
    assert text.splitlines() == [
        "test_x broke one-way-audio: what holds after every call",
        f"  seen     [one-way-audio] {call}, the SIP service none",
        "               phone -> 127.0.0.1:6000: 200 packets",
        "               phone <- nobody: 0 packets",
        f"  fix      {violations[0].fix}",
        "  look at  /runs/1",
        f"  meant    {MARK} if the test breaks it on purpose (docs/invariants.md)",
    ]
