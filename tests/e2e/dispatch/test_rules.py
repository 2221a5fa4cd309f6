"""Which room a dispatch rule leads a call to, and as whom."""

from __future__ import annotations

import re

import pytest
from livekit import api

from sandbox import Sandbox
from tests.e2e.conftest import assert_dropped, assert_rings_in

pytestmark = pytest.mark.core


async def test_a_direct_rule_leads_into_its_room(sandbox: Sandbox) -> None:
    """A direct rule puts the caller into the named room, as sip_<From user>. (S-DSP-01)"""
    number = await sandbox.inbound()
    caller = sandbox.number()
    call = await sandbox.phone.dial(number, caller=caller)
    room, participant = await assert_rings_in(sandbox, call)
    assert number.room is not None
    assert room.name == number.room.name
    assert participant.identity == f"sip_{caller}"
    assert participant.name == f"Phone {caller}"
    assert participant.kind == api.ParticipantInfo.Kind.SIP


async def test_the_caller_has_exactly_the_attributes_of_its_call(sandbox: Sandbox) -> None:
    """A ringing caller carries nine sip. attributes and no others. (S-DSP-01)"""
    number = await sandbox.inbound()
    caller = sandbox.number()
    call = await sandbox.phone.dial(number, caller=caller)
    _, participant = await assert_rings_in(sandbox, call)
    attributes = dict(participant.attributes)
    assert attributes.pop("sip.callID").startswith("SCL_")
    assert attributes == {
        "sip.callIDFull": call.sip_call_id,
        "sip.callTag": call.invite.from_tag,
        "sip.callStatus": "ringing",
        "sip.hostname": sandbox.endpoints.phone_host,
        "sip.phoneNumber": caller,
        "sip.ruleID": number.rule_id,
        "sip.trunkID": number.trunk_id,
        "sip.trunkPhoneNumber": number.number,
    }


async def test_an_individual_rule_makes_a_room_for_each_call(sandbox: Sandbox) -> None:
    """The room is <prefix>_<From user>_<12 letters or digits>, a new one each time.

    (S-DSP-02, Q11)
    """
    prefix = sandbox.room_name("call") + "-"
    number = await sandbox.inbound(kind="individual", room_prefix=prefix)
    caller = sandbox.number()
    names = set()
    for _ in range(2):
        call = await sandbox.phone.dial(number, caller=caller)
        room, _ = await assert_rings_in(sandbox, call)
        assert re.fullmatch(rf"{prefix}_{re.escape(caller)}_[A-Za-z0-9]{{12}}", room.name)
        names.add(room.name)
        await call.cancel()
    assert len(names) == 2


async def test_an_individual_rule_without_randomness_names_the_caller_alone(
    sandbox: Sandbox,
) -> None:
    """no_randomness leaves the random part out: <prefix>_<From user>. (S-DSP-02)"""
    prefix = sandbox.room_name("call")
    number = await sandbox.inbound(kind="individual", room_prefix=prefix, randomize=False)
    caller = sandbox.number()
    call = await sandbox.phone.dial(number, caller=caller)
    room, _ = await assert_rings_in(sandbox, call)
    assert room.name == f"{prefix}_{caller}"


async def test_a_callee_rule_names_the_room_after_the_called_number(sandbox: Sandbox) -> None:
    """Two callers of one number meet in <prefix>_<To user>. (S-DSP-03, Q2)"""
    prefix = sandbox.room_name("desk")
    number = await sandbox.inbound(kind="callee", room_prefix=prefix)
    first = await sandbox.phone.dial(number)
    room, _ = await assert_rings_in(sandbox, first)
    second = await sandbox.phone.dial(number)
    same, _ = await assert_rings_in(sandbox, second)
    assert room.name == same.name == f"{prefix}_{number.number}"


async def test_a_callee_rule_can_randomize(sandbox: Sandbox) -> None:
    """randomize adds twelve letters or digits to the callee's room. (S-DSP-03)"""
    prefix = sandbox.room_name("desk")
    number = await sandbox.inbound(kind="callee", room_prefix=prefix, randomize=True)
    call = await sandbox.phone.dial(number)
    room, _ = await assert_rings_in(sandbox, call)
    assert re.fullmatch(rf"{prefix}_{re.escape(number.number)}_[A-Za-z0-9]{{12}}", room.name)


async def test_a_rule_for_the_trunk_beats_a_rule_for_all(sandbox: Sandbox) -> None:
    """A rule that names the trunk wins over one without trunk_ids. (S-DSP-04)"""
    await sandbox.rule(room=sandbox.room_name("any"))
    number = await sandbox.inbound()
    call = await sandbox.phone.dial(number)
    room, participant = await assert_rings_in(sandbox, call)
    assert number.room is not None
    assert room.name == number.room.name
    assert participant.attributes["sip.ruleID"] == number.rule_id


async def test_a_rule_for_the_caller_beats_one_for_everybody(sandbox: Sandbox) -> None:
    """A rule with the caller in inbound_numbers wins over one without. (S-DSP-05)"""
    number = await sandbox.inbound()
    caller = sandbox.number()
    special = sandbox.room_name("vip")
    await sandbox.rule(room=special, trunk_ids=[number.trunk_id], inbound_numbers=[caller])
    call = await sandbox.phone.dial(number, caller=caller)
    room, _ = await assert_rings_in(sandbox, call)
    assert room.name == special


async def test_inbound_numbers_compare_letter_by_letter(sandbox: Sandbox) -> None:
    """inbound_numbers with a plus do not match a caller without one. (S-DSP-08)"""
    caller = sandbox.number()
    number = await sandbox.inbound(rule={"inbound_numbers": [caller]})
    call = await sandbox.phone.dial(number, caller=caller.removeprefix("+"))
    await assert_dropped(call)


async def test_rule_metadata_and_attributes_become_the_participants(sandbox: Sandbox) -> None:
    """The rule's metadata and attributes are the participant's; the trunk's are nowhere.

    (S-DSP-07, Q7, Q8)
    """
    number = await sandbox.inbound(
        metadata='{"rule": 2}', attributes={"tier": "gold"}, rule={}, name="with metadata"
    )
    trunk_metadata = '{"trunk": 1}'
    await sandbox.api.sip.update_inbound_trunk_fields(number.trunk_id, metadata=trunk_metadata)
    call = await sandbox.phone.dial(number)
    room, participant = await assert_rings_in(sandbox, call)
    assert participant.metadata == '{"rule": 2}'
    assert participant.attributes["tier"] == "gold"
    info = await room.info()
    assert info is not None
    assert info.metadata == ""
    assert trunk_metadata not in participant.attributes.values()


async def test_hide_phone_number_hides_it_everywhere(sandbox: Sandbox) -> None:
    """hide_phone_number masks identity, name and room, and leaves three attributes out.

    (S-DSP-06)
    """
    prefix = sandbox.room_name("call")
    number = await sandbox.inbound(kind="individual", room_prefix=prefix, hide_phone_number=True)
    caller = sandbox.number()
    last = caller[-4:]
    call = await sandbox.phone.dial(number, caller=caller)
    room, participant = await assert_rings_in(sandbox, call)
    assert re.fullmatch(r"sip_[0-9a-f]{16}", participant.identity)
    assert participant.name == f"Phone {last}"
    assert re.fullmatch(rf"{prefix}_{last}_[A-Za-z0-9]{{12}}", room.name)
    assert set(participant.attributes) == {
        "sip.callID",
        "sip.callIDFull",
        "sip.callTag",
        "sip.callStatus",
        "sip.ruleID",
        "sip.trunkID",
    }


async def test_a_trunk_without_a_rule_is_met_with_silence(sandbox: Sandbox) -> None:
    """A call on a trunk that no rule is for gets 100, 180 and nothing.

    (S-DSP-11, livekit/sip#484)
    """
    number = sandbox.number()
    await sandbox.trunk(numbers=[number])
    call = await sandbox.phone.dial(number)
    await assert_dropped(call)


async def test_a_rule_for_another_trunk_does_not_help(sandbox: Sandbox) -> None:
    """A rule that names another trunk leaves the call in silence. (S-TRK-10)"""
    number = sandbox.number()
    await sandbox.trunk(numbers=[number])
    other = await sandbox.trunk(numbers=[sandbox.number()])
    await sandbox.rule(room=sandbox.room_name(), trunk_ids=[other.sip_trunk_id])
    call = await sandbox.phone.dial(number)
    await assert_dropped(call)


async def test_the_second_call_of_a_number_throws_the_first_out_of_the_room(
    sandbox: Sandbox,
) -> None:
    """Two calls from one number into one room share an identity: the first gets 486.

    (S-DSP-17, livekit/sip#426)
    """
    number = await sandbox.inbound()
    caller = sandbox.number()
    first = await sandbox.phone.dial(number, caller=caller)
    await assert_rings_in(sandbox, first)
    second = await sandbox.phone.dial(number, caller=caller)
    final = await first.rejected(486, within=3)
    assert final.reason == "Rejected"
    await second.ringing(within=2)
