"""CreateSIPDispatchRule, List, Update and Delete."""

from __future__ import annotations

import pytest
from livekit import api

from sandbox import Sandbox
from tests.e2e.api.conftest import Twirp, refused

INVALID = (400, "invalid_argument")


async def test_a_rule_can_be_written_in_three_ways(sandbox: Sandbox, twirp: Twirp) -> None:
    """camelCase, snake_case and the old flat body make equal rules; a wrong nesting none.

    (S-API-13)
    """
    trunks = [(await sandbox.trunk(numbers=[sandbox.number()])).sip_trunk_id for _ in range(3)]
    bodies = [
        {
            "dispatchRule": {
                "rule": {"dispatchRuleDirect": {"roomName": "r"}},
                "trunkIds": [trunks[0]],
            }
        },
        {
            "dispatch_rule": {
                "rule": {"dispatch_rule_direct": {"room_name": "r"}},
                "trunk_ids": [trunks[1]],
            }
        },
        {"rule": {"dispatch_rule_direct": {"room_name": "r"}}, "trunk_ids": [trunks[2]]},
    ]
    made = []
    for body in bodies:
        status, rule = await twirp("CreateSIPDispatchRule", body)
        assert status == 200
        made.append(rule["sip_dispatch_rule_id"])
        assert rule["rule"] == {"dispatch_rule_direct": {"room_name": "r", "pin": ""}} or rule[
            "rule"
        ] == {"dispatch_rule_direct": {"room_name": "r"}}
    for rule_id in made:
        await sandbox.api.sip.delete_dispatch_rule(
            api.DeleteSIPDispatchRuleRequest(sip_dispatch_rule_id=rule_id)
        )
    wrong = {"dispatch_rule": {"dispatch_rule_direct": {"room_name": "r"}}}
    status, _ = await twirp("CreateSIPDispatchRule", wrong)
    assert status == 400


async def test_a_rule_without_a_rule_is_refused(sandbox: Sandbox) -> None:
    """CreateSIPDispatchRule without a kind of rule is refused. (S-API-13, livekit/sip#374)"""
    await refused(
        sandbox.api.sip.create_dispatch_rule(
            api.CreateSIPDispatchRuleRequest(dispatch_rule=api.SIPDispatchRuleInfo(name="none"))
        ),
        *INVALID,
        "missing rule",
    )


async def test_an_id_must_not_be_chosen(sandbox: Sandbox) -> None:
    """A rule with an id of the client's is refused. (S-API-05)"""
    await refused(
        sandbox.rule(room=sandbox.room_name(), sip_dispatch_rule_id="SDR_mine"),
        *INVALID,
        "rule id must not be set",
    )


async def test_two_rules_for_the_same_calls_conflict(sandbox: Sandbox) -> None:
    """A second rule for one trunk is refused, naming the first; with a PIN it is not. (S-API-15)"""
    number = await sandbox.inbound()
    with pytest.raises(api.ServerError) as caught:
        await sandbox.rule(room=sandbox.room_name(), trunk_ids=[number.trunk_id])
    assert caught.value.code == "invalid_argument"
    assert caught.value.message.startswith(
        "Dispatch rule for the same trunk, inbound number, number, and PIN combination "
        f'already exists in dispatch rule "{number.rule_id}"'
    )
    await sandbox.rule(room=sandbox.room_name(), trunk_ids=[number.trunk_id], pin="1234")


async def test_attributes_are_merged_by_an_update(sandbox: Sandbox) -> None:
    """An update of attributes adds and changes keys; an empty value deletes one. (S-API-11)"""
    number = await sandbox.inbound(attributes={"a": "1", "c": "3"})
    after = await sandbox.api.sip.update_dispatch_rule_fields(
        number.rule_id, attributes={"a": "", "b": "2"}
    )
    assert dict(after.attributes) == {"b": "2", "c": "3"}


async def test_a_rule_outlives_its_trunk(sandbox: Sandbox) -> None:
    """Deleting a trunk leaves the rules that name it, and they never match again. (S-API-19)"""
    number = await sandbox.inbound()
    await sandbox.api.sip.delete_trunk(api.DeleteSIPTrunkRequest(sip_trunk_id=number.trunk_id))
    rules = await sandbox.api.sip.list_dispatch_rule(api.ListSIPDispatchRuleRequest())
    (rule,) = [r for r in rules.items if r.sip_dispatch_rule_id == number.rule_id]
    assert list(rule.trunk_ids) == [number.trunk_id]


async def test_an_unknown_rule_cannot_be_deleted(sandbox: Sandbox) -> None:
    """DeleteSIPDispatchRule of an unknown id is 404, unlike DeleteSIPTrunk. (S-API-19)"""
    await refused(
        sandbox.api.sip.delete_dispatch_rule(
            api.DeleteSIPDispatchRuleRequest(sip_dispatch_rule_id="SDR_unknown")
        ),
        404,
        "not_found",
        "requested sip dispatch rule does not exist",
    )


async def test_listing_by_trunk_includes_the_rules_for_all(sandbox: Sandbox) -> None:
    """ListSIPDispatchRule by trunk: the trunk's rules and those without trunk_ids. (S-API-12)"""
    number = await sandbox.inbound()
    await sandbox.inbound()
    everybody = await sandbox.rule(room=sandbox.room_name())
    answer = await sandbox.api.sip.list_dispatch_rule(
        api.ListSIPDispatchRuleRequest(trunk_ids=[number.trunk_id])
    )
    assert {rule.sip_dispatch_rule_id for rule in answer.items} == {
        number.rule_id,
        everybody.sip_dispatch_rule_id,
    }
