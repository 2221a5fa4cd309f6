"""CreateSIPInboundTrunk, Get, List, Update and Delete."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import ParseDict
from livekit import api

from sandbox import Sandbox
from tests.e2e.api.conftest import Twirp, refused

INVALID = (400, "invalid_argument")
BAD_NAME = (
    "invalid header name: header name bad header contains invalid characters: char 32 not allowed"
)


async def test_every_field_comes_back_as_it_was_given(sandbox: Sandbox) -> None:
    """A trunk with every field set is returned by create, get and list with all of them. (Q23)"""
    wanted = api.SIPInboundTrunkInfo(
        name="all fields",
        metadata="m",
        numbers=[sandbox.number()],
        allowed_addresses=["127.0.0.0/8"],
        allowed_numbers=[sandbox.number()],
        auth_username="user",
        auth_password="password",
        auth_realm="pbx.example",
        headers={"X-A": "a"},
        headers_to_attributes={"X-B": "b"},
        attributes_to_headers={"c": "X-C"},
        include_headers=api.SIPHeaderOptions.SIP_X_HEADERS,
        ringing_timeout=Duration(seconds=9),
        max_call_duration=Duration(seconds=99),
        krisp_enabled=True,
        media_encryption=api.SIPMediaEncryption.SIP_MEDIA_ENCRYPT_ALLOW,
    )
    made = await sandbox.api.sip.create_inbound_trunk(
        api.CreateSIPInboundTrunkRequest(trunk=wanted)
    )
    assert made.sip_trunk_id.startswith("ST_")
    got = (
        await sandbox.sip(
            "GetSIPInboundTrunk", api.GetSIPInboundTrunkRequest(sip_trunk_id=made.sip_trunk_id)
        )
    ).trunk
    assert got == made
    for field, value in wanted.ListFields():
        assert getattr(got, field.name) == value, field.name


async def test_a_trunk_that_lets_everybody_in_is_refused(sandbox: Sandbox) -> None:
    """A trunk without numbers, addresses and credentials is refused. (S-API-03)"""
    await refused(
        sandbox.trunk(numbers=[]),
        *INVALID,
        "for security, one of the fields must be set: "
        "AuthUsername+AuthPassword, AllowedAddresses or Numbers",
    )


async def test_an_id_must_not_be_chosen(sandbox: Sandbox) -> None:
    """A trunk with an id of the client's is refused. (S-API-05)"""
    await refused(
        sandbox.trunk(numbers=[sandbox.number()], sip_trunk_id="ST_mine"),
        *INVALID,
        "trunk id must not be set",
    )


async def test_an_empty_request_is_refused(sandbox: Sandbox, twirp: Twirp) -> None:
    """CreateSIPInboundTrunk without a trunk is refused. (S-API-05)"""
    assert await twirp("CreateSIPInboundTrunk", {}) == (
        400,
        {"code": "invalid_argument", "msg": "missing trunk"},
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"headers_to_attributes": {"bad header": "a"}},
            BAD_NAME,
        ),
        (
            {"attributes_to_headers": {"a": "bad header"}},
            BAD_NAME,
        ),
        (
            {"headers": {"X-A": "one\r\ntwo"}},
            "invalid header value for X-A: header X-A: value: char 13 not allowed",
        ),
    ],
)
async def test_impossible_headers_are_refused(
    sandbox: Sandbox, fields: dict[str, Any], message: str
) -> None:
    """Header names with spaces and values with line ends are refused, by name. (S-API-07)"""
    await refused(sandbox.trunk(numbers=[sandbox.number()], **fields), *INVALID, message)


@pytest.mark.parametrize("name", ["From", "Contact", "Content-Type", "Call-ID", "k"])
async def test_headers_of_the_protocol_are_refused(sandbox: Sandbox, name: str) -> None:
    """Headers that SIP itself needs cannot be set by a trunk, nor in their compact form.

    (S-API-07)
    """
    with pytest.raises(api.ServerError) as caught:
        await sandbox.trunk(numbers=[sandbox.number()], headers={name: "x"})
    assert caught.value.code == "invalid_argument"
    assert caught.value.message.endswith("not supported")
    assert caught.value.message.startswith("invalid header name: header name ")


async def test_headers_need_no_x(sandbox: Sandbox) -> None:
    """X-Foo, Foo and Route are all accepted. (S-API-07)"""
    headers = {"X-Foo": "1", "Foo": "2", "Route": "<sip:a@b>"}
    trunk = await sandbox.trunk(numbers=[sandbox.number()], headers=headers)
    assert dict(trunk.headers) == headers


async def test_two_trunks_for_one_number_conflict(sandbox: Sandbox) -> None:
    """A second trunk for a number is refused, and the error names the first. (S-API-14)"""
    number = sandbox.number()
    first = await sandbox.trunk(numbers=[number])
    with pytest.raises(api.ServerError) as caught:
        await sandbox.trunk(numbers=[number])
    # livekit-server names the two in either order.
    assert caught.value.message.replace(f'"{first.sip_trunk_id}"', '"<new>"') == (
        'Conflicting inbound SIP Trunks: "<new>" and "<new>", '
        f'using the same number(s) ["{number}"] without AllowedNumbers set'
    )


async def test_allowed_addresses_do_not_tell_trunks_apart(sandbox: Sandbox) -> None:
    """Two trunks for one number with different allowed_addresses conflict all the same.

    (S-TRK-12)
    """
    number = sandbox.number()
    await sandbox.trunk(numbers=[number], allowed_addresses=["192.0.2.1"])
    with pytest.raises(api.ServerError, match="Conflicting inbound SIP Trunks"):
        await sandbox.trunk(numbers=[number], allowed_addresses=["192.0.2.2"])


async def test_allowed_numbers_tell_trunks_apart(sandbox: Sandbox) -> None:
    """Trunks for one number may differ in allowed_numbers, but may not share one. (S-API-14)"""
    number, caller = sandbox.number(), sandbox.number()
    await sandbox.trunk(numbers=[number])
    second = await sandbox.trunk(numbers=[number], allowed_numbers=[caller])
    with pytest.raises(api.ServerError) as caught:
        await sandbox.trunk(numbers=[number], allowed_numbers=[caller])
    # livekit-server names the two in either order.
    assert caught.value.message.replace(f'"{second.sip_trunk_id}"', '"<new>"') == (
        'Conflicting inbound SIP Trunks: "<new>" and "<new>", '
        f'using the same number(s) ["{number}"] and AllowedNumber "{caller}"'
    )


async def test_there_is_one_trunk_for_any_number(sandbox: Sandbox) -> None:
    """A second trunk without numbers conflicts, whatever its credentials. (S-API-14)"""
    await sandbox.trunk(auth_username="a", auth_password="a")
    with pytest.raises(api.ServerError, match=r"using the same number\(s\) <any>"):
        await sandbox.trunk(auth_username="b", auth_password="b")


async def test_an_update_changes_the_named_fields_alone(sandbox: Sandbox) -> None:
    """Each patchable field can be changed, and the others stay as they were. (S-API-08)"""
    before = await sandbox.trunk(
        numbers=[sandbox.number()], metadata="m", headers={"X-A": "a"}, krisp_enabled=True
    )
    patches: list[dict[str, Any]] = [
        {"name": "renamed"},
        {"metadata": "changed"},
        {"auth_username": "u"},
        {"auth_password": "p"},
        {"auth_realm": "pbx"},
        {"numbers": [sandbox.number()]},
        {"allowed_addresses": ["127.0.0.1"]},
        {"allowed_numbers": [sandbox.number()]},
    ]
    for patch in patches:
        update = ParseDict(
            {k: {"set": v} if isinstance(v, list) else v for k, v in patch.items()},
            api.SIPInboundTrunkUpdate(),
        )
        after = await sandbox.sip(
            "UpdateSIPInboundTrunk",
            api.UpdateSIPInboundTrunkRequest(sip_trunk_id=before.sip_trunk_id, update=update),
        )
        changed = {
            field.name
            for field in after.DESCRIPTOR.fields
            if getattr(after, field.name) != getattr(before, field.name)
        }
        assert changed == set(patch)
        before = after


async def test_list_updates_add_remove_and_set(sandbox: Sandbox) -> None:
    """ListUpdate adds to a list, removes from it, or replaces it. (S-API-10)"""
    one, two, three = (sandbox.number() for _ in range(3))
    trunk_id = (await sandbox.trunk(numbers=[one])).sip_trunk_id
    update = sandbox.api.sip.update_inbound_trunk_fields
    added = await update(trunk_id, numbers=api.ListUpdate(add=[two]))
    assert list(added.numbers) == [one, two]
    removed = await update(trunk_id, numbers=api.ListUpdate(remove=[one]))
    assert list(removed.numbers) == [two]
    replaced = await update(trunk_id, numbers=api.ListUpdate(set=[three]))
    assert list(replaced.numbers) == [three]


async def test_an_update_with_nothing_in_it_is_refused(sandbox: Sandbox, twirp: Twirp) -> None:
    """UpdateSIPInboundTrunk without replace and update is refused. (S-API-09)"""
    trunk = await sandbox.trunk(numbers=[sandbox.number()])
    assert await twirp("UpdateSIPInboundTrunk", {"sip_trunk_id": trunk.sip_trunk_id}) == (
        400,
        {"code": "invalid_argument", "msg": "missing or unsupported update action"},
    )


async def test_a_replaced_trunk_loses_what_is_left_out(sandbox: Sandbox) -> None:
    """update with replace drops the fields that it does not name. (S-API-09, S-API-23)"""
    number = sandbox.number()
    trunk = await sandbox.trunk(numbers=[number], headers={"X-A": "a"}, ringing_timeout=9)
    after = await sandbox.api.sip.update_inbound_trunk(
        trunk.sip_trunk_id, api.SIPInboundTrunkInfo(name="replaced", numbers=[number])
    )
    assert after.name == "replaced"
    assert dict(after.headers) == {}
    assert not after.HasField("ringing_timeout")


async def test_an_update_may_take_another_trunks_number(sandbox: Sandbox) -> None:
    """The conflict check is made on create alone: an update to a taken number succeeds."""
    taken = await sandbox.trunk(numbers=[sandbox.number()])
    trunk = await sandbox.trunk(numbers=[sandbox.number()])
    after = await sandbox.api.sip.update_inbound_trunk_fields(
        trunk.sip_trunk_id, numbers=list(taken.numbers)
    )
    assert list(after.numbers) == list(taken.numbers)


async def test_an_unknown_trunk_cannot_be_read_or_updated(sandbox: Sandbox) -> None:
    """Get and update of an unknown id are 404. (S-API-19)"""
    await refused(
        sandbox.sip("GetSIPInboundTrunk", api.GetSIPInboundTrunkRequest(sip_trunk_id="ST_unknown")),
        404,
        "not_found",
        "requested sip trunk does not exist",
    )
    await refused(
        sandbox.api.sip.update_inbound_trunk_fields("ST_unknown", name="x"),
        404,
        "not_found",
        "requested sip trunk does not exist",
    )


async def test_an_unknown_trunk_can_be_deleted(sandbox: Sandbox) -> None:
    """DeleteSIPTrunk succeeds for an id that does not exist, and echoes it. (S-API-19)"""
    answer = await sandbox.api.sip.delete_trunk(
        api.DeleteSIPTrunkRequest(sip_trunk_id="ST_unknown")
    )
    assert answer.sip_trunk_id == "ST_unknown"


async def test_deleting_needs_an_id(sandbox: Sandbox) -> None:
    """DeleteSIPTrunk without an id is refused. (S-API-19)"""
    await refused(
        sandbox.api.sip.delete_trunk(api.DeleteSIPTrunkRequest()), *INVALID, "trunk ID is required"
    )


async def test_listing_by_number_includes_the_trunk_for_any_number(sandbox: Sandbox) -> None:
    """ListSIPInboundTrunk by number: the number's trunk and the wildcard. (S-API-12)"""
    number = sandbox.number()
    own = await sandbox.trunk(numbers=[number])
    await sandbox.trunk(numbers=[sandbox.number()])
    wildcard = await sandbox.trunk(allowed_addresses=["127.0.0.1"])
    answer = await sandbox.api.sip.list_inbound_trunk(
        api.ListSIPInboundTrunkRequest(numbers=[number])
    )
    assert {trunk.sip_trunk_id for trunk in answer.items} == {
        own.sip_trunk_id,
        wildcard.sip_trunk_id,
    }


async def test_listing_goes_on_after_an_id_and_ignores_the_limit(sandbox: Sandbox) -> None:
    """page.after_id lists what comes after an id, in their order; page.limit does nothing.

    A surprise of livekit-server v1.13.5: a page of one holds everything. (S-API-12)
    """
    ids = sorted([(await sandbox.trunk(numbers=[sandbox.number()])).sip_trunk_id for _ in range(3)])

    async def page(**fields: Any) -> list[str]:
        answer = await sandbox.api.sip.list_inbound_trunk(
            api.ListSIPInboundTrunkRequest(page=api.Pagination(**fields))
        )
        return [trunk.sip_trunk_id for trunk in answer.items]

    assert await page(limit=1) == ids
    assert await page(after_id=ids[0]) == ids[1:]
    assert await page(after_id=ids[2]) == []
