"""Each trap is found where it is, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest
from livekit import api

from sandbox.explain import lint
from sandbox.explain.lints import LINTS
from tests.unit.explain.parts import CALLER, NUMBER, callee, direct, trunk

ON: dict[str, Any] = {"trunk_ids": ["ST_a"]}
GOOD = trunk(numbers=[NUMBER], auth_username="pbx", auth_password="secret")


def _agent(rule: api.SIPDispatchRuleInfo, name: str) -> api.SIPDispatchRuleInfo:
    rule.room_config.agents.add(agent_name=name)
    return rule


BARE = api.SIPDispatchRuleInfo(sip_dispatch_rule_id="SDR_a", trunk_ids=["ST_a"])


@pytest.mark.parametrize(
    ("ids", "trunks", "rules", "known"),
    [
        ([], [GOOD], [direct(**ON)], {}),
        ([], [GOOD], [direct(numbers=[NUMBER], inbound_numbers=[CALLER, "911"], **ON)], {}),
        (["open-rule"], [GOOD], [direct()], {}),
        ([], [GOOD], [direct(pin="1")], {}),
        (["half-auth"], [trunk(numbers=[NUMBER], auth_username="pbx")], [direct(**ON)], {}),
        (["half-auth"], [trunk(numbers=[NUMBER], auth_password="x")], [direct(**ON)], {}),
        (["open-addresses"], [trunk(allowed_addresses=["10.0.0.*"])], [direct(**ON)], {}),
        (["open-addresses"], [trunk(allowed_addresses=["10.0.0.*", "10.0.0.1"])],
         [direct(**ON)], {}),
        (["any-network"], [trunk(allowed_addresses=["0.0.0.0/0"])], [direct(**ON)], {}),
        (["spoofable-host"], [trunk(allowed_addresses=["pbx.example"])], [direct(**ON)], {}),
        ([], [trunk(allowed_addresses=["10.0.0.0/8", "2001:db8::1"])], [direct(**ON)], {}),
        (["rule-number-format"], [GOOD], [direct(inbound_numbers=[CALLER[1:]], **ON)], {}),
        (["rule-number-format"], [GOOD], [direct(numbers=["+1-555-9999"], **ON)], {}),
        (["swapped-numbers"], [GOOD], [direct(inbound_numbers=[NUMBER], **ON)], {}),
        (["swapped-numbers"], [GOOD], [direct(numbers=[CALLER], **ON)], {}),
        (["trunk-number-format"], [trunk(numbers=["+1.555.9999"])], [direct(**ON)], {}),
        (["trunk-number-format"], [trunk(numbers=["sip:1@x"])], [direct(**ON)], {}),
        (["trunk-number-format"], [trunk(numbers=["+155599*"])], [direct(**ON)], {}),
        ([], [trunk(numbers=["sales", "*72", "(1) 555-9999"])], [direct(**ON)], {}),
        (["gone-trunk"], [GOOD], [direct(trunk_ids=["ST_a", "ST_z"])], {}),
        (["trunk-without-rule"], [GOOD], [], {}),
        (["conflicting-trunks"], [GOOD, trunk("ST_b", numbers=[NUMBER[1:]])],
         [direct(trunk_ids=["ST_a", "ST_b"])], {}),
        (["conflicting-trunks"], [GOOD, trunk("ST_b", numbers=[NUMBER], allowed_numbers=[CALLER])],
         [direct(trunk_ids=["ST_a", "ST_b"])], {}),
        ([], [trunk(numbers=[NUMBER], allowed_numbers=["+1"]),
              trunk("ST_b", numbers=[NUMBER], allowed_numbers=["+2"])],
         [direct(trunk_ids=["ST_a", "ST_b"])], {}),
        ([], [trunk(allowed_addresses=["10.0.0.1"]), trunk("ST_b", allowed_addresses=["10.0.0.2"])],
         [direct(trunk_ids=["ST_a", "ST_b"])], {}),
        (["conflicting-rules"], [GOOD], [direct(**ON), direct("SDR_b", **ON)], {}),
        (["conflicting-rules"], [GOOD], [direct(numbers=[NUMBER, NUMBER], **ON)], {}),
        (["no-kind"], [GOOD], [BARE], {}),
        (["pin-not-enterable"], [GOOD], [direct(pin="12a4", **ON)], {}),
        (["pin-not-enterable"], [GOOD], [direct(pin="1" * 17, **ON)], {}),
        ([], [GOOD], [direct(pin="1*4", **ON)], {}),
        (["hidden-anonymous-crash"], [GOOD], [direct(hide_phone_number=True, **ON)], {}),
        ([], [GOOD], [direct(hide_phone_number=True, inbound_numbers=[CALLER], **ON)], {}),
        (["unserved-agent"], [GOOD], [_agent(direct(**ON), "alhpa")], {"agents": ["alpha"]}),
        (["unserved-agent"], [GOOD], [direct(**ON)], {"agents": ["alpha"]}),
        ([], [GOOD], [_agent(direct(**ON), "alpha")], {"agents": ["alpha"]}),
        (["agents-ignored"], [GOOD], [_agent(direct(**ON), "alpha")], {"rooms": ["lobby"]}),
        (["agents-ignored"], [GOOD], [_agent(callee(**ON), "a")], {"rooms": [f"call_{NUMBER}"]}),
        ([], [GOOD], [_agent(direct(**ON), "alpha")], {"rooms": ["other"]}),
    ],
)  # fmt: skip
def test_a_trap(
    ids: list[str],
    trunks: list[api.SIPInboundTrunkInfo],
    rules: list[api.SIPDispatchRuleInfo],
    known: dict[str, list[str]],
) -> None:
    found = lint(trunks, rules, agents=known.get("agents"), rooms=known.get("rooms"))
    assert [one.id for one in found] == ids
    assert all(one.fix and one.text.startswith(one.subject) for one in found)


def test_each_kind_of_trap_has_an_id_of_its_own() -> None:
    ids = [kind for kind, _, _ in LINTS]
    assert len(set(ids)) == len(ids)
