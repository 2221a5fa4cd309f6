"""Which inbound trunk takes a call."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from sandbox import Sandbox
from tests.e2e.conftest import assert_dropped, assert_rings_in

pytestmark = pytest.mark.core


async def test_a_number_trunk_takes_calls_to_its_number(sandbox: Sandbox) -> None:
    """A call to a trunk's number is that trunk's: sip.trunkID says so. (S-TRK-01)"""
    number = await sandbox.inbound()
    call = await sandbox.phone.dial(number)
    _, caller = await assert_rings_in(sandbox, call)
    assert caller.attributes["sip.trunkID"] == number.trunk_id
    assert caller.attributes["sip.trunkPhoneNumber"] == number.number


async def test_a_number_trunk_beats_a_wildcard_trunk(sandbox: Sandbox) -> None:
    """With a trunk for the number and one for any number, the number's trunk wins. (S-TRK-01)"""
    wildcard = await sandbox.trunk(allowed_addresses=["127.0.0.0/8"])
    number = await sandbox.inbound()
    await sandbox.rule(room=sandbox.room_name("wild"), trunk_ids=[wildcard.sip_trunk_id])
    call = await sandbox.phone.dial(number)
    _, caller = await assert_rings_in(sandbox, call)
    assert caller.attributes["sip.trunkID"] == number.trunk_id


async def test_a_wildcard_trunk_takes_any_number(sandbox: Sandbox) -> None:
    """A trunk without numbers takes every number; the To user is sip.trunkPhoneNumber. (Q2)"""
    source = sandbox.endpoints.phone_host
    number = await sandbox.inbound(number="order-42", numbers=[], allowed_addresses=[source])
    call = await sandbox.phone.dial(number)
    _, caller = await assert_rings_in(sandbox, call)
    assert caller.attributes["sip.trunkID"] == number.trunk_id
    assert caller.attributes["sip.trunkPhoneNumber"] == "order-42"


async def test_the_to_header_is_matched_and_not_the_request_uri(sandbox: Sandbox) -> None:
    """An INVITE for A with To B is a call to B. (S-TRK-04, Q3)"""
    a = await sandbox.inbound()
    b = await sandbox.inbound()
    call = await sandbox.phone.dial(a, to=b.uri)
    _, caller = await assert_rings_in(sandbox, call)
    assert caller.attributes["sip.trunkID"] == b.trunk_id
    assert caller.attributes["sip.trunkPhoneNumber"] == b.number


async def test_a_matching_request_uri_does_not_help_a_strange_to(sandbox: Sandbox) -> None:
    """An INVITE for the trunk's number with another To is nobody's call. (S-TRK-04)"""
    number = await sandbox.inbound()
    call = await sandbox.phone.dial(number, to=sandbox.uri(sandbox.number()))
    await assert_dropped(call)


async def test_the_plus_is_ignored_in_matching(sandbox: Sandbox) -> None:
    """A trunk with +1555… takes a call to 1555…; the attribute keeps what was sent. (S-TRK-03)"""
    number = await sandbox.inbound()
    bare = number.number.removeprefix("+")
    call = await sandbox.phone.dial(sandbox.uri(bare))
    _, caller = await assert_rings_in(sandbox, call)
    assert caller.attributes["sip.trunkID"] == number.trunk_id
    assert caller.attributes["sip.trunkPhoneNumber"] == bare


async def test_a_number_of_no_trunk_is_met_with_silence(sandbox: Sandbox) -> None:
    """A call to a number of no trunk gets 100, 180 and nothing more. (S-TRK-02, livekit/sip#484)"""
    await sandbox.inbound()
    call = await sandbox.phone.dial(sandbox.number())
    await assert_dropped(call)


async def test_allowed_numbers_admit_the_caller(sandbox: Sandbox) -> None:
    """A caller in allowed_numbers gets through. (S-TRK-09)"""
    caller = sandbox.number()
    number = await sandbox.inbound(allowed_numbers=[caller])
    call = await sandbox.phone.dial(number, caller=caller)
    await assert_rings_in(sandbox, call)


async def test_allowed_numbers_shut_out_other_callers(sandbox: Sandbox) -> None:
    """A caller who is not in allowed_numbers is met with silence. (S-TRK-09)"""
    number = await sandbox.inbound(allowed_numbers=[sandbox.number()])
    call = await sandbox.phone.dial(number)
    await assert_dropped(call)


@pytest.mark.parametrize("length", [None, 8], ids=["address", "network"])
async def test_allowed_addresses_admit_the_source(sandbox: Sandbox, length: int | None) -> None:
    """A source address in allowed_addresses, as address or CIDR, gets through. (S-TRK-06)"""
    source = sandbox.endpoints.phone_host
    allowed = str(ip_network(f"{source}/{length}", strict=False)) if length else source
    number = await sandbox.inbound(allowed_addresses=[allowed])
    call = await sandbox.phone.dial(number)
    await assert_rings_in(sandbox, call)


async def test_allowed_addresses_shut_out_other_sources(sandbox: Sandbox) -> None:
    """A source address outside allowed_addresses is met with silence. (S-TRK-06)"""
    number = await sandbox.inbound(allowed_addresses=["192.0.2.0/24"])
    call = await sandbox.phone.dial(number)
    await assert_dropped(call)


async def test_a_rule_for_all_trunks_answers_even_calls_of_no_trunk(sandbox: Sandbox) -> None:
    """A rule without trunk_ids takes a call that no trunk matched: no filter applies. (S-SEC-01)"""
    await sandbox.inbound(allowed_addresses=["192.0.2.0/24"])
    stranger = sandbox.number()
    await sandbox.rule(room=sandbox.room_name("open"))
    call = await sandbox.phone.dial(stranger)
    _, caller = await assert_rings_in(sandbox, call)
    assert caller.attributes.get("sip.trunkID", "") == ""
