"""Every field of a dispatch rule: what create, replace and patch make of it."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from livekit import api

from sandbox import Sandbox
from tests.e2e.api import samples
from tests.e2e.api.conftest import refused
from tests.e2e.api.samples import INVALID, KINDS, assert_has, plain


async def get(sandbox: Sandbox, rule_id: str) -> api.SIPDispatchRuleInfo:
    """The rule, by ListSIPDispatchRule: there is no GetSIPDispatchRule."""
    answer = await sandbox.api.sip.list_dispatch_rule(
        api.ListSIPDispatchRuleRequest(dispatch_rule_ids=[rule_id])
    )
    (rule,) = answer.items
    return rule


async def update(sandbox: Sandbox, rule_id: str, **action: Any) -> api.SIPDispatchRuleInfo:
    """UpdateSIPDispatchRule with `update={…}` or `replace={…}` in their JSON form."""
    request = ParseDict(
        {"sip_dispatch_rule_id": rule_id, **action}, api.UpdateSIPDispatchRuleRequest()
    )
    rule: api.SIPDispatchRuleInfo = await sandbox.sip("UpdateSIPDispatchRule", request)
    return rule


@pytest.mark.parametrize("kind", KINDS)
async def test_create_stores_every_field(sandbox: Sandbox, kind: str) -> None:
    """A rule of each kind with every field set is stored with all of them. (S-API-13)"""
    trunk = await sandbox.trunk(numbers=[sandbox.number()])
    wanted = samples.rule(kind, trunk.sip_trunk_id)
    made = await sandbox.api.sip.create_dispatch_rule(
        api.CreateSIPDispatchRuleRequest(dispatch_rule=wanted)
    )
    assert made.sip_dispatch_rule_id.startswith("SDR_")
    assert_has(made, wanted)
    assert await get(sandbox, made.sip_dispatch_rule_id) == made


@pytest.mark.parametrize("kind", KINDS)
async def test_the_old_flat_request_still_makes_a_rule(sandbox: Sandbox, kind: str) -> None:
    """CreateSIPDispatchRule with the deprecated fields makes the rule they describe. (S-API-13)"""
    trunk = await sandbox.trunk(numbers=[sandbox.number()])
    flat: dict[str, Any] = {
        "rule": KINDS[kind],
        "trunk_ids": [trunk.sip_trunk_id],
        "hide_phone_number": True,
        "inbound_numbers": ["+15550001"],
        "name": "flat",
        "metadata": "m",
        "attributes": {"a": "b"},
        "room_preset": "preset",
        "room_config": plain(samples.room_config()),
    }
    made = await sandbox.api.sip.create_dispatch_rule(
        ParseDict(flat, api.CreateSIPDispatchRuleRequest())
    )
    kept = plain(made)
    kept.pop("sip_dispatch_rule_id")
    kept.pop("media", None)
    assert kept == flat


@pytest.mark.parametrize("kind", KINDS)
async def test_replace_sets_every_field(sandbox: Sandbox, kind: str) -> None:
    """update with replace sets every field that it names, and may repeat the id. (S-API-09)"""
    number = await sandbox.inbound()
    wanted = samples.rule(kind, number.trunk_id)
    wanted.sip_dispatch_rule_id = number.rule_id
    assert await update(sandbox, number.rule_id, replace=plain(wanted)) == wanted
    assert await get(sandbox, number.rule_id) == wanted


async def test_a_replaced_rule_loses_what_is_left_out(sandbox: Sandbox) -> None:
    """replace keeps nothing of the old rule but its id: no trunk_ids means all calls.

    So `lk sip dispatch update rule.json` with a file that names the change alone opens the rule
    to everybody. (S-API-23)
    """
    number = await sandbox.inbound(metadata="m", attributes={"a": "b"})
    after = await update(sandbox, number.rule_id, replace={"name": "n", "rule": KINDS["direct"]})
    assert plain(after) == {
        "sip_dispatch_rule_id": number.rule_id,
        "name": "n",
        "rule": KINDS["direct"],
    }


async def test_an_update_changes_the_named_fields_alone(sandbox: Sandbox) -> None:
    """Each patchable field can be changed, and the others stay as they were. (S-API-08)"""
    number = await sandbox.inbound(attributes={"a": "b"}, rule={"krisp_enabled": True})
    # The first update fills `media` in, so that it is there from the second on.
    before = await update(sandbox, number.rule_id, update={})
    patches: list[dict[str, Any]] = [
        {"name": "renamed"},
        {"metadata": "changed"},
        {"rule": KINDS["direct"]},
        {"rule": KINDS["individual"]},
        {"rule": KINDS["callee"]},
        {"media": plain(samples.media())},
    ]
    for patch in patches:
        after = await update(sandbox, number.rule_id, update=patch)
        was, now = plain(before), plain(after)
        changed = {key for key in now | was if now.get(key) != was.get(key)}
        # Upgraded along: the deprecated field follows the new one.
        assert changed - {"media_encryption"} == set(patch)
        assert {key: now[key] for key in patch} == patch
        before = after


async def test_its_trunks_can_be_set_added_removed_and_cleared(sandbox: Sandbox) -> None:
    """trunk_ids take set, add, remove and clear, and may name trunks that are not. (S-API-10)"""
    number = await sandbox.inbound()

    async def patch(**operation: Any) -> list[str]:
        after = await update(sandbox, number.rule_id, update={"trunk_ids": operation})
        return list(after.trunk_ids)

    assert await patch(add=["ST_b"]) == [number.trunk_id, "ST_b"]
    assert await patch(remove=[number.trunk_id]) == ["ST_b"]
    assert await patch(set=["ST_c", "ST_d"]) == ["ST_c", "ST_d"]
    assert await patch(clear=True) == []
    await refused(patch(add=[""]), *INVALID, "empty element in the list")


async def test_the_old_encryption_field_sets_the_new_one_once(sandbox: Sandbox) -> None:
    """update.media_encryption sets media.encryption where that is unset. (S-SRTP-06)"""
    number = await sandbox.inbound()
    patch = {"media_encryption": "SIP_MEDIA_ENCRYPT_REQUIRE"}
    after = await update(sandbox, number.rule_id, update=patch)
    assert (after.media_encryption, after.media.encryption) == (samples.REQUIRE, samples.REQUIRE)


async def test_a_wrong_update_is_refused(sandbox: Sandbox) -> None:
    """An update needs an id, an action, and for a replacement a rule and the right id.

    (S-API-09)
    """
    number = await sandbox.inbound()
    rule_id = number.rule_id
    await refused(update(sandbox, "", update={}), *INVALID, "rule id must be set")
    await refused(update(sandbox, rule_id), *INVALID, "missing or unsupported update action")
    await refused(update(sandbox, rule_id, replace={"name": "n"}), *INVALID, "missing rule")
    await refused(
        update(sandbox, rule_id, replace={"sip_dispatch_rule_id": "SDR_other", "rule": {}}),
        *INVALID,
        "rule id in the info must be empty or match the id in the update",
    )
    await refused(
        update(sandbox, "SDR_unknown", update={"name": "n"}),
        404,
        "not_found",
        "requested sip dispatch rule does not exist",
    )


async def test_a_rule_may_lead_into_a_room_without_a_name(sandbox: Sandbox) -> None:
    """A direct rule with an empty room name is accepted. (S-API-13)"""
    number = sandbox.number()
    trunk = await sandbox.trunk(numbers=[number])
    rule = await sandbox.rule(trunk_ids=[trunk.sip_trunk_id], room="")
    assert rule.rule.dispatch_rule_direct.room_name == ""


async def test_a_rule_needs_an_id_to_be_deleted(sandbox: Sandbox) -> None:
    """DeleteSIPDispatchRule without an id is refused. (S-API-19)"""
    await refused(
        sandbox.api.sip.delete_dispatch_rule(api.DeleteSIPDispatchRuleRequest()),
        *INVALID,
        "dispatch rule ID is required",
    )
