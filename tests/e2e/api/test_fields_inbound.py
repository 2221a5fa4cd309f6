"""Every field of an inbound trunk: what create, replace and patch make of it."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from livekit import api
from livekit.protocol import sip

from sandbox import Sandbox
from tests.e2e.api import samples
from tests.e2e.api.conftest import refused
from tests.e2e.api.samples import INVALID, assert_has, plain

BARE = (
    "for security, one of the fields must be set: "
    "AuthUsername+AuthPassword, AllowedAddresses or Numbers"
)


async def create(sandbox: Sandbox, info: api.SIPInboundTrunkInfo) -> api.SIPInboundTrunkInfo:
    """CreateSIPInboundTrunk."""
    return await sandbox.api.sip.create_inbound_trunk(api.CreateSIPInboundTrunkRequest(trunk=info))


async def get(sandbox: Sandbox, trunk_id: str) -> api.SIPInboundTrunkInfo:
    """GetSIPInboundTrunk."""
    answer = await sandbox.sip(
        "GetSIPInboundTrunk", api.GetSIPInboundTrunkRequest(sip_trunk_id=trunk_id)
    )
    trunk: api.SIPInboundTrunkInfo = answer.trunk
    return trunk


async def update(sandbox: Sandbox, trunk_id: str, **action: Any) -> api.SIPInboundTrunkInfo:
    """UpdateSIPInboundTrunk with `update={…}` or `replace={…}` in their JSON form."""
    request = ParseDict({"sip_trunk_id": trunk_id, **action}, api.UpdateSIPInboundTrunkRequest())
    trunk: api.SIPInboundTrunkInfo = await sandbox.sip("UpdateSIPInboundTrunk", request)
    return trunk


async def test_create_stores_every_field(sandbox: Sandbox) -> None:
    """A trunk with every field set, the media config too, is stored with all of them. (S-API-08)"""
    wanted = samples.inbound_trunk(sandbox)
    made = await create(sandbox, wanted)
    assert_has(made, wanted)
    assert await get(sandbox, made.sip_trunk_id) == made


async def test_replace_sets_every_field(sandbox: Sandbox) -> None:
    """update with replace sets every field that it names, and may repeat the id. (S-API-09)"""
    made = await sandbox.trunk(numbers=[sandbox.number()])
    wanted = samples.inbound_trunk(sandbox)
    wanted.sip_trunk_id = made.sip_trunk_id
    after = await update(sandbox, made.sip_trunk_id, replace=plain(wanted))
    assert after == wanted
    assert await get(sandbox, made.sip_trunk_id) == wanted


async def test_a_replacement_for_another_trunk_is_refused(sandbox: Sandbox) -> None:
    """The id inside a replacement must be that of the request, which must have one. (S-API-09)"""
    made = await sandbox.trunk(numbers=[sandbox.number()])
    other = {"sip_trunk_id": "ST_other", "numbers": [sandbox.number()]}
    await refused(
        update(sandbox, made.sip_trunk_id, replace=other),
        *INVALID,
        "trunk id in the info must be empty or match the id in the update",
    )
    await refused(update(sandbox, "", replace={}), *INVALID, "trunk id must be set")


async def test_a_replacement_is_checked_as_a_new_trunk_is(sandbox: Sandbox) -> None:
    """A replacement without numbers, addresses and credentials is refused. (S-API-09)"""
    made = await sandbox.trunk(numbers=[sandbox.number()])
    await refused(update(sandbox, made.sip_trunk_id, replace={"name": "x"}), *INVALID, BARE)
    # Before anything else, even before the trunk is looked for.
    await refused(update(sandbox, "ST_unknown", replace={"name": "x"}), *INVALID, BARE)


async def test_an_update_without_any_field_changes_nothing(sandbox: Sandbox) -> None:
    """An empty update is accepted, and leaves the trunk as it was. (S-API-08)"""
    made = await create(sandbox, samples.inbound_trunk(sandbox))
    assert await update(sandbox, made.sip_trunk_id, update={}) == made


@pytest.mark.parametrize("field", ["numbers", "allowed_addresses", "allowed_numbers"])
async def test_every_list_can_be_set_added_to_removed_from_and_cleared(
    sandbox: Sandbox, field: str
) -> None:
    """numbers, allowed_addresses and allowed_numbers take set, add, remove and clear. (S-API-10)"""
    made = await sandbox.trunk(
        numbers=[sandbox.number()], auth_username="user", auth_password="password"
    )

    async def patch(**operation: Any) -> list[str]:
        after = await update(sandbox, made.sip_trunk_id, update={field: operation})
        return list(getattr(after, field))

    one, two = ("192.0.2.1", "192.0.2.2") if "addresses" in field else (sandbox.number(), "+1")
    assert await patch(set=[one]) == [one]
    assert await patch(add=[two]) == [one, two]
    assert await patch(add=[two]) == [one, two], "what is there already is not added again"
    assert await patch(remove=[one]) == [two]
    assert await patch(remove=[one]) == [two]
    assert await patch(add=[one], remove=[two]) == [one]
    assert await patch(clear=True) == []


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ({"set": ["1"], "add": ["2"]}, "cannot set and change the list at the same time"),
        ({"set": ["1"], "remove": ["2"]}, "cannot set and change the list at the same time"),
        ({"clear": True, "add": ["1"]}, "cannot clear and change the list at the same time"),
        ({"clear": True, "set": ["1"]}, "cannot clear and change the list at the same time"),
        ({"clear": True, "remove": ["1"]}, "cannot clear and change the list at the same time"),
        ({"set": [""]}, "empty element in the list"),
        ({"add": [""]}, "empty element in the list"),
        ({"remove": [""]}, "empty element in the list"),
        ({}, "unsupported list update operation"),
        ({"set": []}, "unsupported list update operation"),
    ],
)
async def test_a_contradictory_list_update_is_refused(
    sandbox: Sandbox, operation: dict[str, Any], message: str
) -> None:
    """A ListUpdate must be one of set, clear, or add and remove, without empty elements.

    To set a list to nothing is not to clear it: `set: []` cannot be told from no operation.
    (S-API-10)
    """
    made = await sandbox.trunk(numbers=[sandbox.number()])
    request = update(sandbox, made.sip_trunk_id, update={"numbers": operation})
    await refused(request, *INVALID, message)


async def test_the_last_protection_cannot_be_cleared(sandbox: Sandbox) -> None:
    """Clearing the numbers of a trunk that has nothing else is refused.

    The text has the prefix of an error that was not made for the API. (S-API-10)
    """
    made = await sandbox.trunk(numbers=[sandbox.number()])
    await refused(
        update(sandbox, made.sip_trunk_id, update={"numbers": {"clear": True}}),
        *INVALID,
        f"twirp error unknown: {BARE}",
    )


async def test_a_patch_of_media_replaces_all_of_it(sandbox: Sandbox) -> None:
    """update.media takes the place of the whole media config, its unset fields too. (S-API-08)"""
    made = await create(sandbox, samples.inbound_trunk(sandbox))
    after = await update(
        sandbox, made.sip_trunk_id, update={"media": {"codecs": [{"name": "G722"}]}}
    )
    # What is not said of the encryption is filled in from the deprecated field.
    assert plain(after.media) == {
        "codecs": [{"name": "G722"}],
        "encryption": "SIP_MEDIA_ENCRYPT_ALLOW",
    }
    every = plain(samples.media())
    after = await update(sandbox, made.sip_trunk_id, update={"media": every})
    assert plain(after.media) == every


async def test_the_old_encryption_field_cannot_change_the_new_one(sandbox: Sandbox) -> None:
    """update.media_encryption does nothing once media.encryption is set; else it sets both.

    A surprise: the patch of the deprecated field is accepted, and lost. (S-SRTP-06)
    """
    made = await create(sandbox, samples.inbound_trunk(sandbox))
    patch = {"media_encryption": "SIP_MEDIA_ENCRYPT_REQUIRE"}
    after = await update(sandbox, made.sip_trunk_id, update=patch)
    assert (after.media_encryption, after.media.encryption) == (samples.ALLOW, samples.ALLOW)

    fresh = await sandbox.trunk(numbers=[sandbox.number()])
    after = await update(sandbox, fresh.sip_trunk_id, update=patch)
    assert (after.media_encryption, after.media.encryption) == (samples.REQUIRE, samples.REQUIRE)


@pytest.mark.parametrize(
    ("media", "message"),
    [
        ({"codecs": [{"name": ""}]}, "missing codec name"),
        ({"codecs": [{"name": "PCMU/8000"}]}, "codec name must not contain '/'"),
        ({"codecs": [{"name": "PC MU"}]}, "invalid codec name"),
        ({"media_timeout": "660s"}, "media_timeout must not exceed 10m0s"),
        ({"media_timeout": "-1s"}, "media_timeout must not be negative"),
    ],
)
async def test_an_impossible_media_config_is_refused(
    sandbox: Sandbox, media: dict[str, Any], message: str
) -> None:
    """A codec without a name or with a rate in it, and a media_timeout over 10 min, are refused.

    So on inbound trunks, outbound trunks, rules and calls alike. (S-API-18)
    """
    config = ParseDict(media, sip.SIPMediaConfig())
    await refused(sandbox.trunk(numbers=[sandbox.number()], media=config), *INVALID, message)
    await refused(sandbox.outbound_trunk("127.0.0.1:5060", media=config), *INVALID, message)
    await refused(sandbox.rule(room=sandbox.room_name(), media=config), *INVALID, message)
    trunk = await sandbox.outbound_trunk("127.0.0.1:5060")
    await refused(sandbox.call_out(trunk, sandbox.number(), media=config), *INVALID, message)
    made = await sandbox.trunk(numbers=[sandbox.number()])
    await refused(update(sandbox, made.sip_trunk_id, update={"media": media}), *INVALID, message)


async def test_only_listed_codecs_needs_no_list(sandbox: Sandbox) -> None:
    """only_listed_codecs without codecs is accepted when the trunk is made. (S-API-18)"""
    trunk = await sandbox.trunk(
        numbers=[sandbox.number()], media=sip.SIPMediaConfig(only_listed_codecs=True)
    )
    assert trunk.media.only_listed_codecs


async def test_any_status_can_be_the_ringing_timeout_status(sandbox: Sandbox) -> None:
    """ringing_timeout_status is stored, whichever of the enum's statuses it is.

    livekit-server v1.13.5 does not know the field yet: it keeps it and does not check it. Later
    ones refuse what is not 4xx to 6xx ("ringing timeout status must be 4xx-6xx, got %d"), and
    livekit-sip up to v1.11 answers 486 whatever it says. (S-ANS-04)
    """
    number = sandbox.number()
    made = await sandbox.trunk(numbers=[number])
    for status in sip.SIPStatusCode.values():
        replace = {"numbers": [number], "ringing_timeout_status": status}
        after = await update(sandbox, made.sip_trunk_id, replace=replace)
        assert after.ringing_timeout_status == status


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("From", "From not supported"),
        ("from", "from not supported"),
        ("Contact", "Contact not supported"),
        ("Content-Type", "Content-Type not supported"),
        ("Call-ID", "Call-ID not supported"),
        ("CSeq", "CSeq not supported"),
        ("Allow", "Allow not supported"),
        ("Accept", "Accept not supported"),
        ("Event", "Event not supported"),
        ("Expires", "Expires not supported"),
        ("Max-Forwards", "Max-Forwards not supported"),
        ("Record-Route", "Record-Route not supported"),
        ("Refer-To", "Refer-To not supported"),
        ("Reply-To", "Reply-To not supported"),
        ("k", "k not supported"),
        ("x" * 256, "header name too long (max 255 characters)"),
        ("X:A", "X:A contains invalid characters: char 58 not allowed"),
        ("", "cannot be empty"),
    ],
)
async def test_a_reserved_header_name_is_refused(sandbox: Sandbox, name: str, message: str) -> None:
    """Headers that livekit writes itself, and names that are none, are refused. (S-API-07)"""
    with pytest.raises(api.ServerError) as caught:
        await sandbox.trunk(numbers=[sandbox.number()], headers={name: "x"})
    assert (caught.value.status, caught.value.code) == INVALID
    assert message in caught.value.message


@pytest.mark.parametrize(
    "value", ["", "x" * 1024, "Zo\u00eb \u65e5\u672c", "a\tb"], ids=["empty", "1024", "utf8", "tab"]
)
async def test_a_header_value_may_be_long_and_in_any_script(sandbox: Sandbox, value: str) -> None:
    """A header's value may be empty, 1024 characters long, and in UTF-8. (S-API-07)"""
    trunk = await sandbox.trunk(numbers=[sandbox.number()], headers={"X-A": value})
    assert trunk.headers["X-A"] == value


@pytest.mark.parametrize("value", ["x" * 1025, "a\x01b"], ids=["1025", "control"])
async def test_a_header_value_has_its_limits(sandbox: Sandbox, value: str) -> None:
    """A value of 1025 characters, or with a control character, is refused. (S-API-07)"""
    problem = ": char 1 not allowed" if "\x01" in value else " too long (max 1024 characters)"
    await refused(
        sandbox.trunk(numbers=[sandbox.number()], headers={"X-A": value}),
        *INVALID,
        f"invalid header value for X-A: header X-A: value{problem}",
    )


async def test_mapped_header_names_may_be_reserved_ones(sandbox: Sandbox) -> None:
    """headers_to_attributes may read From, and attributes_to_headers may write it. (S-API-07)

    A surprise: the names of headers that livekit writes itself are refused in `headers` alone.
    """
    trunk = await sandbox.trunk(
        numbers=[sandbox.number()],
        headers_to_attributes={"From": "f", "Call-ID": "i"},
        attributes_to_headers={"f": "From"},
    )
    assert dict(trunk.headers_to_attributes) == {"From": "f", "Call-ID": "i"}
    assert dict(trunk.attributes_to_headers) == {"f": "From"}
