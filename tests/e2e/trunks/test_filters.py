"""What a trunk lets in: how its lists compare, and where they let in more than they seem to."""

from __future__ import annotations

import pytest
from livekit import api

from sandbox import Sandbox
from tests.e2e.conftest import assert_dropped, assert_rings_in


@pytest.mark.parametrize("spelling", ["+1 (555) 123-45", "1-555-123-45", "155512345"])
async def test_a_number_of_a_trunk_may_be_spelled_with_spaces(
    sandbox: Sandbox, spelling: str
) -> None:
    """Spaces, dashes, brackets and the plus of a trunk's number are ignored. (S-TRK-03)"""
    number = await sandbox.inbound(number="+155512345", numbers=[spelling])
    for dialled in ("+155512345", "155512345"):
        call = await sandbox.phone.dial(sandbox.uri(dialled))
        _, caller = await assert_rings_in(sandbox, call)
        assert caller.attributes["sip.trunkID"] == number.trunk_id
        assert caller.attributes["sip.trunkPhoneNumber"] == dialled
        await call.cancel()


@pytest.mark.parametrize("dialled", ["SALES", "sales2"])
async def test_a_name_is_compared_letter_by_letter(sandbox: Sandbox, dialled: str) -> None:
    """A trunk number with letters matches that very name alone. (S-TRK-03)"""
    number = await sandbox.inbound(number="sales")
    call = await sandbox.phone.dial(number)
    _, caller = await assert_rings_in(sandbox, call)
    assert caller.attributes["sip.trunkPhoneNumber"] == "sales"
    other = await sandbox.phone.dial(sandbox.uri(dialled))
    await assert_dropped(other)


async def test_a_trunk_that_does_not_let_in_is_no_trunk(sandbox: Sandbox) -> None:
    """allowed_addresses shut the caller out of the trunk, and a rule for all lets it in. (S-TRK-06)

    The call is then nobody's: no sip.trunkID, and none of the trunk's headers or limits.
    """
    number = await sandbox.inbound(
        allowed_addresses=["192.0.2.0/24"], headers_to_attributes={"X-A": "a"}
    )
    everybody = await sandbox.rule(room=sandbox.room_name("open"))
    call = await sandbox.phone.dial(number, headers={"X-A": "1"})
    _, caller = await assert_rings_in(sandbox, call)
    assert caller.attributes.get("sip.trunkID", "") == ""
    assert caller.attributes["sip.ruleID"] == everybody.sip_dispatch_rule_id
    assert "a" not in caller.attributes


@pytest.mark.parametrize("pattern", ["10.0.0.*", "sip://10.0.0.1", "10.0.0.1;10.0.0.2"])
async def test_an_address_pattern_that_is_none_lets_everybody_in(
    sandbox: Sandbox, pattern: str
) -> None:
    """allowed_addresses with nothing but invalid entries filter nothing at all.

    A trap: the entry is dropped without a word, and an empty list means anybody. (S-TRK-07)
    """
    number = await sandbox.inbound(allowed_addresses=[pattern])
    call = await sandbox.phone.dial(number)
    _, caller = await assert_rings_in(sandbox, call)
    assert caller.attributes["sip.trunkID"] == number.trunk_id


async def test_an_invalid_address_beside_a_valid_one_is_dropped(sandbox: Sandbox) -> None:
    """Of allowed_addresses the valid entries count where there are any. (S-TRK-07)"""
    number = await sandbox.inbound(allowed_addresses=["10.0.0.*", "192.0.2.1"])
    call = await sandbox.phone.dial(number)
    await assert_dropped(call)


async def test_a_host_name_is_what_the_caller_says_it_is(sandbox: Sandbox) -> None:
    """allowed_addresses with a name let in whoever writes that name into the From header.

    Any address will do: it is no protection against callers who mean harm. (S-TRK-08)
    """
    number = await sandbox.inbound(allowed_addresses=["pbx.example"])
    call = await sandbox.phone.dial(number, from_host="pbx.example")
    _, caller = await assert_rings_in(sandbox, call)
    assert caller.attributes["sip.hostname"] == "pbx.example"
    stranger = await sandbox.phone.dial(number)
    await assert_dropped(stranger)


async def test_an_anonymous_caller_is_not_among_the_allowed(sandbox: Sandbox) -> None:
    """allowed_numbers shut out a caller who calls as `anonymous`. (S-TRK-09)"""
    number = await sandbox.inbound(allowed_numbers=[sandbox.number()])
    call = await sandbox.phone.dial(number, caller="anonymous", from_host="anonymous.invalid")
    await assert_dropped(call)


async def test_allowed_numbers_ignore_the_plus(sandbox: Sandbox) -> None:
    """A caller in allowed_numbers gets through without the plus too. (S-TRK-09)"""
    caller = sandbox.number()
    number = await sandbox.inbound(allowed_numbers=[caller])
    call = await sandbox.phone.dial(number, caller=caller.removeprefix("+"))
    await assert_rings_in(sandbox, call)


async def test_allowed_numbers_choose_between_trunks_of_one_number(sandbox: Sandbox) -> None:
    """Two trunks for one number with different allowed_numbers: each takes its own callers.

    (S-API-14)
    """
    number, ann, bob = (sandbox.number() for _ in range(3))
    for caller in (ann, bob):
        trunk = await sandbox.inbound(number=number, allowed_numbers=[caller])
        call = await sandbox.phone.dial(trunk, caller=caller)
        _, participant = await assert_rings_in(sandbox, call)
        assert participant.attributes["sip.trunkID"] == trunk.trunk_id


@pytest.mark.sandbox_allow(
    "log-line",
    match="Multiple (default )?SIP Trunks matched|Dispatch rule for the same trunk",
    reason="the conflict is what the test is about, and the SIP service logs it",
)
async def test_two_trunks_that_both_fit_are_an_error(sandbox: Sandbox) -> None:
    """A trunk for the number, and one for the number and the caller: 503 Try again later.

    The API allows the pair, and no call of that caller ever gets through. (S-API-14, S-TRK-05)
    """
    number, caller = sandbox.number(), sandbox.number()
    await sandbox.inbound(number=number)
    await sandbox.inbound(number=number, allowed_numbers=[caller])
    call = await sandbox.phone.dial(sandbox.uri(number), caller=caller)
    final = await call.rejected(503, within=5)
    assert final.reason == "Try again later"


async def test_a_change_of_a_trunk_counts_for_the_next_call(sandbox: Sandbox) -> None:
    """A number that a trunk gets is answered by it at once, one that it loses not. (S-TRK-11)"""
    number = await sandbox.inbound()
    later = sandbox.number()
    await assert_dropped(await sandbox.phone.dial(sandbox.uri(later)))
    await sandbox.api.sip.update_inbound_trunk_fields(number.trunk_id, numbers=[later])
    call = await sandbox.phone.dial(sandbox.uri(later))
    _, caller = await assert_rings_in(sandbox, call)
    assert caller.attributes["sip.trunkID"] == number.trunk_id
    await assert_dropped(await sandbox.phone.dial(number))


async def test_a_deleted_trunk_takes_no_calls(sandbox: Sandbox) -> None:
    """Calls to the number of a trunk that was deleted are met with silence. (S-API-19)"""
    number = await sandbox.inbound()
    await sandbox.api.sip.delete_trunk(api.DeleteSIPTrunkRequest(sip_trunk_id=number.trunk_id))
    await assert_dropped(await sandbox.phone.dial(number))
