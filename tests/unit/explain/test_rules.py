"""Which rule takes a call, as livekit-server 1.13.5 was seen to choose."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from livekit import api

from sandbox.explain.rules import match_rules
from sandbox.explain.verdict import State
from tests.unit.explain.parts import CALLER, NUMBER, call, callee, direct, individual

Rule = api.SIPDispatchRuleInfo
ON: dict[str, Any] = {"trunk_ids": ["ST_a"]}


def _winner(rules: list[Rule], trunk_id: str = "ST_a", **fields: Any) -> str | None:
    found = match_rules(rules, call(**fields), trunk_id)
    assert not found.error
    return found.winner.sip_dispatch_rule_id if found.winner else None


@pytest.mark.parametrize(
    ("rules", "winner"),
    [
        ([direct(**ON)], "SDR_a"),
        ([direct()], "SDR_a"),
        ([direct(trunk_ids=["ST_b"])], None),
        ([direct(trunk_ids=["ST_b", "ST_a"])], "SDR_a"),
        ([direct(trunk_ids=[""])], None),
        ([direct(), direct("SDR_b", **ON)], "SDR_b"),
        ([direct(inbound_numbers=[CALLER])], "SDR_a"),
        ([direct(inbound_numbers=[CALLER.removeprefix("+")])], None),
        ([direct(inbound_numbers=["*"])], None),
        ([direct(numbers=[NUMBER])], "SDR_a"),
        ([direct(numbers=[NUMBER.removeprefix("+")])], None),
        ([direct(numbers=[""])], None),
        ([direct(**ON), direct("SDR_b", inbound_numbers=[CALLER])], "SDR_a"),
        ([direct("SDR_a", "zz", inbound_numbers=[CALLER], **ON),
          direct("SDR_b", "aa", numbers=[NUMBER], **ON)], "SDR_b"),
        ([direct("SDR_b", "aa", inbound_numbers=[CALLER], **ON),
          direct("SDR_a", "aa", numbers=[NUMBER], **ON)], "SDR_a"),
        ([individual("SDR_a", "a", inbound_numbers=[CALLER], **ON),
          individual("SDR_b", "B", numbers=[NUMBER], **ON)], "SDR_b"),
    ],
)  # fmt: skip
def test_the_winner(rules: list[Rule], winner: str | None) -> None:
    assert _winner(rules) == winner


def test_the_priorities() -> None:
    """All 1128 pairs of these were asked of livekit-server; this order is what it answered."""
    narrow: dict[str, dict[str, Any]] = {
        "both": {"inbound_numbers": [CALLER], "numbers": [NUMBER]},
        "one": {"inbound_numbers": [CALLER]},
        "none": {},
    }
    order = [
        (width, pin, make)
        for width in ("both", "one", "none")
        for pin in ("1234", "")
        for make in (direct, individual, callee)
    ]
    for better, worse in itertools.combinations(order, 2):
        if better[:2] == worse[:2]:
            continue  # the same key: livekit-server refuses the pair
        rules = [
            make(f"SDR_{name}", "x", pin=pin, **ON, **narrow[width])
            for name, (width, pin, make) in (("b", better), ("a", worse))
        ]
        assert _winner(rules) == "SDR_b", (better, worse)


@pytest.mark.parametrize(
    ("pin", "winner"),
    [(None, "SDR_pin"), ("1234", "SDR_pin"), ("000", None), ("", "SDR_open")],
)
def test_what_was_entered_chooses_among_the_rules(pin: str | None, winner: str | None) -> None:
    rules = [direct("SDR_open", "open", **ON), direct("SDR_pin", "pin", "1234", **ON)]
    assert _winner(rules, pin=pin) == winner


def test_a_rule_for_all_trunks_takes_a_call_of_no_trunk() -> None:
    assert _winner([direct()], trunk_id="") == "SDR_a"
    assert _winner([direct(**ON)], trunk_id="") is None


@pytest.mark.parametrize(
    ("rules", "trunk_id", "conflict"),
    [
        ([direct(**ON), direct("SDR_b", "x", **ON)], "ST_a", True),
        ([direct(**ON), callee("SDR_b", **ON)], "ST_a", True),
        ([direct(), direct("SDR_b", "x")], "ST_a", True),
        ([direct(), direct("SDR_b", "x", **ON)], "ST_a", False),
        ([direct(pin="1", **ON), direct("SDR_b", pin="2", **ON)], "ST_a", False),
        # A conflict about other callers, numbers or PINs is one for all in its reach …
        ([direct(**ON), direct("SDR_b", inbound_numbers=["+1"], **ON),
          direct("SDR_c", inbound_numbers=["1"], **ON)], "ST_a", True),
        ([direct(**ON), direct("SDR_b", pin="9", **ON), direct("SDR_c", pin="9", **ON)],
         "ST_a", True),
        # … and one about another trunk is not, unless no trunk took the call.
        ([direct(), direct("SDR_b", trunk_ids=["ST_z"]), direct("SDR_c", trunk_ids=["ST_z"])],
         "ST_a", False),
        ([direct(), direct("SDR_b", trunk_ids=["ST_z"]), direct("SDR_c", trunk_ids=["ST_z"])],
         "", True),
        ([direct(trunk_ids=["ST_a", "ST_z"]), direct("SDR_b", trunk_ids=["ST_b", "ST_z"])],
         "ST_a", False),
        # One rule that lists a number or trunk twice conflicts with itself.
        ([direct(numbers=[NUMBER, NUMBER], **ON)], "ST_a", True),
        ([direct(numbers=[NUMBER, NUMBER[1:]], **ON)], "ST_a", True),
        ([direct(trunk_ids=["ST_a", "ST_a"])], "ST_a", True),
        ([direct(numbers=["sales"], **ON), direct("SDR_b", numbers=["Sales"], **ON)],
         "ST_a", False),
        ([direct(numbers=["+1-5"], **ON), direct("SDR_b", numbers=["15"], **ON)], "ST_a", True),
        ([direct(numbers=[""], **ON), direct("SDR_b", **ON)], "ST_a", True),
        # A rule of no kind spoils all in its reach.
        ([direct(), Rule(sip_dispatch_rule_id="SDR_b", trunk_ids=["ST_a"])], "ST_a", True),
        ([direct(), Rule(sip_dispatch_rule_id="SDR_b", trunk_ids=["ST_b"])], "ST_a", False),
    ],
)  # fmt: skip
def test_conflicts(rules: list[Rule], trunk_id: str, conflict: bool) -> None:
    found = match_rules(rules, call(), trunk_id)
    assert bool(found.error) == conflict
    if conflict:
        assert found.winner is None
        assert any(verdict.state is State.CONFLICT for verdict in found.verdicts)


def test_why_a_rule_lost() -> None:
    rules = [
        direct("SDR_all"),
        direct("SDR_open", **ON),
        direct("SDR_pin", pin="1", **ON),
        direct("SDR_named", "x", numbers=[NUMBER], **ON),
    ]
    texts = {v.id: v.text for v in match_rules(rules, call(), "ST_a").verdicts}
    assert texts["SDR_all"] == "would match, but SDR_named names the trunk and wins"
    assert texts["SDR_open"] == "would match, but SDR_named has numbers and wins"
    texts = {v.id: v.text for v in match_rules(rules[:3], call(), "ST_a").verdicts}
    assert "has a PIN and wins: every caller hears the prompt" in texts["SDR_open"]
