"""Every field of an outbound trunk: what create, replace and patch make of it."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from livekit import api

from sandbox import Sandbox
from tests.e2e.api import samples
from tests.e2e.api.conftest import Twirp, refused
from tests.e2e.api.samples import INVALID, assert_has, plain


async def create(sandbox: Sandbox, info: api.SIPOutboundTrunkInfo) -> api.SIPOutboundTrunkInfo:
    """CreateSIPOutboundTrunk."""
    request = api.CreateSIPOutboundTrunkRequest(trunk=info)
    return await sandbox.api.sip.create_outbound_trunk(request)


async def get(sandbox: Sandbox, trunk_id: str) -> api.SIPOutboundTrunkInfo:
    """GetSIPOutboundTrunk."""
    answer = await sandbox.sip(
        "GetSIPOutboundTrunk", api.GetSIPOutboundTrunkRequest(sip_trunk_id=trunk_id)
    )
    trunk: api.SIPOutboundTrunkInfo = answer.trunk
    return trunk


async def update(sandbox: Sandbox, trunk_id: str, **action: Any) -> api.SIPOutboundTrunkInfo:
    """UpdateSIPOutboundTrunk with `update={…}` or `replace={…}` in their JSON form."""
    request = ParseDict({"sip_trunk_id": trunk_id, **action}, api.UpdateSIPOutboundTrunkRequest())
    trunk: api.SIPOutboundTrunkInfo = await sandbox.sip("UpdateSIPOutboundTrunk", request)
    return trunk


async def test_create_stores_every_field(sandbox: Sandbox) -> None:
    """A trunk with every field set is stored with all of them, and get returns it. (S-API-06)"""
    wanted = samples.outbound_trunk(sandbox)
    made = await create(sandbox, wanted)
    assert_has(made, wanted)
    assert await get(sandbox, made.sip_trunk_id) == made


async def test_replace_sets_every_field(sandbox: Sandbox) -> None:
    """update with replace sets every field that it names, and drops the others. (S-API-09)"""
    made = await sandbox.outbound_trunk("127.0.0.1:5060")
    wanted = samples.outbound_trunk(sandbox)
    wanted.sip_trunk_id = made.sip_trunk_id
    assert await update(sandbox, made.sip_trunk_id, replace=plain(wanted)) == wanted
    assert await get(sandbox, made.sip_trunk_id) == wanted
    bare = {"address": "pbx.example", "numbers": ["+1"]}
    after = await update(sandbox, made.sip_trunk_id, replace=bare)
    assert plain(after) == {"sip_trunk_id": made.sip_trunk_id, **bare}


async def test_an_update_changes_the_named_fields_alone(sandbox: Sandbox) -> None:
    """Each patchable field can be changed, and the others stay as they were. (S-API-08)"""
    before = await create(sandbox, samples.outbound_trunk(sandbox))
    patches: list[dict[str, Any]] = [
        {"name": "renamed"},
        {"metadata": "changed"},
        {"address": "other.example:5060"},
        {"transport": "SIP_TRANSPORT_TCP"},
        {"destination_country": "FR"},
        {"auth_username": "u"},
        {"auth_password": "p"},
        {"from_host": "other.example"},
        {"media": {"codecs": [{"name": "G722", "rate": 8000}],
                   "only_listed_codecs": True, "media_timeout": "3s",
                   "encryption": "SIP_MEDIA_ENCRYPT_ALLOW"}},
    ]  # fmt: skip
    for patch in patches:
        after = await update(sandbox, before.sip_trunk_id, update=patch)
        was, now = plain(before), plain(after)
        assert {key for key in now | was if now.get(key) != was.get(key)} == set(patch)
        assert {key: now[key] for key in patch} == patch
        before = after


async def test_its_numbers_can_be_set_added_removed_but_not_cleared(sandbox: Sandbox) -> None:
    """numbers take set, add and remove; to clear them is refused, as an error of the server.

    A surprise: what an update leaves wrong is 500 "unknown", and 400 when a trunk is made.
    (S-API-10)
    """
    made = await sandbox.outbound_trunk("127.0.0.1:5060", numbers=["+1"])

    async def patch(**operation: Any) -> list[str]:
        after = await update(sandbox, made.sip_trunk_id, update={"numbers": operation})
        return list(after.numbers)

    assert await patch(add=["+2"]) == ["+1", "+2"]
    assert await patch(remove=["+1"]) == ["+2"]
    assert await patch(set=["+3"]) == ["+3"]
    await refused(patch(clear=True), 500, "unknown", "no trunk numbers specified")
    await refused(
        update(sandbox, made.sip_trunk_id, update={"address": "sip:pbx"}),
        500,
        "unknown",
        "trunk address should be a hostname or IP, not SIP URI",
    )


async def test_the_old_encryption_field_sets_the_new_one_once(sandbox: Sandbox) -> None:
    """update.media_encryption sets media.encryption where that is unset. (S-SRTP-06)"""
    made = await sandbox.outbound_trunk("127.0.0.1:5060")
    patch = {"media_encryption": "SIP_MEDIA_ENCRYPT_REQUIRE"}
    after = await update(sandbox, made.sip_trunk_id, update=patch)
    assert (after.media_encryption, after.media.encryption) == (samples.REQUIRE, samples.REQUIRE)


async def test_an_id_must_not_be_chosen(sandbox: Sandbox, twirp: Twirp) -> None:
    """An outbound trunk with an id of the client's is refused, and so is none at all.

    (S-API-05)
    """
    wanted = samples.outbound_trunk(sandbox)
    wanted.sip_trunk_id = "ST_mine"
    await refused(create(sandbox, wanted), *INVALID, "trunk id must not be set")
    assert await twirp("CreateSIPOutboundTrunk", {}) == (
        400,
        {"code": "invalid_argument", "msg": "missing trunk"},
    )


async def test_an_unknown_trunk_cannot_be_read_or_updated(sandbox: Sandbox) -> None:
    """Get and update of an unknown id are 404, without an id 400. (S-API-19)"""
    missing = (404, "not_found", "requested sip trunk does not exist")
    await refused(get(sandbox, "ST_unknown"), *missing)
    await refused(update(sandbox, "ST_unknown", update={"name": "x"}), *missing)
    await refused(get(sandbox, ""), *INVALID, "trunk ID is required")
    await refused(update(sandbox, "", update={}), *INVALID, "trunk id must be set")
    made = await sandbox.outbound_trunk("127.0.0.1:5060")
    await refused(
        update(sandbox, made.sip_trunk_id), *INVALID, "missing or unsupported update action"
    )


async def test_an_inbound_trunk_is_no_outbound_trunk(sandbox: Sandbox) -> None:
    """An inbound trunk's id is unknown to the outbound side, for Get and for a call. (S-API-16)"""
    trunk = await sandbox.trunk(numbers=[sandbox.number()])
    missing = (404, "not_found", "requested sip trunk does not exist")
    await refused(get(sandbox, trunk.sip_trunk_id), *missing)
    await refused(sandbox.call_out(trunk.sip_trunk_id, sandbox.number()), *missing)


@pytest.mark.parametrize("country", ["DE", "XX", "Germany"])
async def test_the_country_of_a_trunk_is_not_checked(sandbox: Sandbox, country: str) -> None:
    """destination_country is stored as it is: what is no country is not refused. (S-API-06)"""
    trunk = await sandbox.outbound_trunk("127.0.0.1:5060", destination_country=country)
    assert trunk.destination_country == country
