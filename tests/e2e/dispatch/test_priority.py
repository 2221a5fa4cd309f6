"""Which of several dispatch rules takes a call: livekit-server's order, row by row."""

from __future__ import annotations

from typing import Any

import pytest
from livekit import api

from sandbox import Sandbox
from tests.e2e.conftest import assert_dropped, assert_rings_in

NOTHING: tuple[str, ...] = ()
CALLER, CALLED, BOTH = ("caller",), ("called",), ("caller", "called")


@pytest.mark.parametrize(
    ("winner", "loser"),
    [
        # What a rule asks for of the call comes first…
        (("direct", CALLER), ("direct", NOTHING)),
        (("direct", CALLED), ("direct", NOTHING)),
        (("direct", BOTH), ("direct", CALLER)),
        (("direct", BOTH), ("direct", CALLED)),
        (("callee", CALLER), ("direct", NOTHING)),
        (("individual", CALLED), ("direct", NOTHING)),
        (("callee", BOTH), ("direct", CALLED)),
        # … and only where that is even, the kind: direct, individual, callee.
        (("direct", CALLER), ("individual", CALLED)),
        (("direct", CALLED), ("individual", CALLER)),
        (("direct", CALLER), ("callee", CALLED)),
        (("individual", CALLER), ("callee", CALLED)),
        (("individual", CALLED), ("callee", CALLER)),
    ],
    ids=lambda row: f"{row[0]}-{'+'.join(row[1]) or 'any'}",
)
async def test_the_more_special_rule_wins(
    sandbox: Sandbox, winner: tuple[str, tuple[str, ...]], loser: tuple[str, tuple[str, ...]]
) -> None:
    """inbound_numbers and numbers weigh alike and most; then direct, individual, callee.

    (S-DSP-05)
    """
    number, caller = sandbox.number(), sandbox.number()
    trunk = await sandbox.trunk(numbers=[number])

    async def rule(kind: Any, asks: tuple[str, ...]) -> str:
        fields: dict[str, Any] = {}
        if "caller" in asks:
            fields["inbound_numbers"] = [caller]
        if "called" in asks:
            fields["numbers"] = [number]
        made = await sandbox.rule(
            kind,
            room=sandbox.room_name() if kind == "direct" else "",
            room_prefix=sandbox.room_name(),
            trunk_ids=[trunk.sip_trunk_id],
            **fields,
        )
        return made.sip_dispatch_rule_id

    await rule(*loser)
    wanted = await rule(*winner)
    call = await sandbox.phone.dial(number, caller=caller)
    _, participant = await assert_rings_in(sandbox, call)
    assert participant.attributes["sip.ruleID"] == wanted


@pytest.mark.parametrize("first", ["a", "b"])
async def test_a_tie_goes_to_the_room_that_comes_first(sandbox: Sandbox, first: str) -> None:
    """Of two direct rules that are even, the one with the lesser room name wins. (S-DSP-05)"""
    number, caller = sandbox.number(), sandbox.number()
    trunk = await sandbox.trunk(numbers=[number])
    base = sandbox.room_name()
    second = "b" if first == "a" else "a"
    await sandbox.rule(
        room=f"{base}-{first}", trunk_ids=[trunk.sip_trunk_id], inbound_numbers=[caller]
    )
    await sandbox.rule(room=f"{base}-{second}", trunk_ids=[trunk.sip_trunk_id], numbers=[number])
    call = await sandbox.phone.dial(number, caller=caller)
    room, _ = await assert_rings_in(sandbox, call)
    assert room.name == f"{base}-a"


async def test_the_trunk_comes_before_everything_else(sandbox: Sandbox) -> None:
    """A rule for the trunk beats one for all trunks that names both numbers. (S-DSP-04)"""
    number = await sandbox.inbound(kind="callee")
    caller = sandbox.number()
    await sandbox.rule(room=sandbox.room_name(), inbound_numbers=[caller], numbers=[number.number])
    call = await sandbox.phone.dial(number, caller=caller)
    _, participant = await assert_rings_in(sandbox, call)
    assert participant.attributes["sip.ruleID"] == number.rule_id


async def test_a_rule_with_a_pin_comes_before_an_even_one_without(sandbox: Sandbox) -> None:
    """Of a rule with a PIN and one without, all else even, the PIN is asked for. (S-DSP-05)"""
    number = await sandbox.inbound()
    await sandbox.rule(room=sandbox.room_name(), trunk_ids=[number.trunk_id], pin="12")
    call = await sandbox.phone.dial(number)
    await call.answered(within=1)
    assert number.room is not None
    assert await number.room.info() is None


async def test_a_special_rule_without_a_pin_comes_before_a_pin(sandbox: Sandbox) -> None:
    """A rule for the caller beats a rule with a PIN for anybody: no PIN is asked for. (S-DSP-05)"""
    number = await sandbox.inbound(pin="12")
    caller = sandbox.number()
    open_room = sandbox.room_name("open")
    await sandbox.rule(room=open_room, trunk_ids=[number.trunk_id], inbound_numbers=[caller])
    call = await sandbox.phone.dial(number, caller=caller)
    room, _ = await assert_rings_in(sandbox, call)
    assert room.name == open_room


async def test_two_numbers_of_one_trunk_lead_into_two_rooms(sandbox: Sandbox) -> None:
    """Rules that share a trunk and differ in `numbers` split its calls. (S-DSP-16)"""
    one, two = sandbox.number(), sandbox.number()
    trunk = await sandbox.trunk(numbers=[one, two])
    rooms = {number: sandbox.room_name() for number in (one, two)}
    for number, name in rooms.items():
        await sandbox.rule(room=name, trunk_ids=[trunk.sip_trunk_id], numbers=[number])
    for number, name in rooms.items():
        call = await sandbox.phone.dial(number)
        room, participant = await assert_rings_in(sandbox, call)
        assert room.name == name
        assert participant.attributes["sip.trunkPhoneNumber"] == number


async def test_numbers_compare_letter_by_letter(sandbox: Sandbox) -> None:
    """rule.numbers with a plus do not match a call to the number without, though the trunk does.

    (S-DSP-08, livekit/agents#5847)
    """
    number = sandbox.number()
    await sandbox.inbound(number=number, rule={"numbers": [number]})
    call = await sandbox.phone.dial(sandbox.uri(number.removeprefix("+")))
    await assert_dropped(call)


async def test_a_rule_for_one_caller_shuts_out_the_others(sandbox: Sandbox) -> None:
    """The only rule is for another caller: the call is met with silence. (S-DSP-08)"""
    number = await sandbox.inbound(rule={"inbound_numbers": [sandbox.number()]})
    call = await sandbox.phone.dial(number)
    await assert_dropped(call)


async def test_a_room_of_caller_and_callee_takes_a_rule_for_each_number(sandbox: Sandbox) -> None:
    """No rule makes a room of caller and callee; an individual rule for each number comes close.

    Its prefix says the called number, livekit adds the caller. (S-DSP-18, livekit/sip#450)
    """
    number, caller = sandbox.number(), sandbox.number()
    trunk = await sandbox.trunk(numbers=[number])
    await sandbox.rule(
        "individual",
        trunk_ids=[trunk.sip_trunk_id],
        numbers=[number],
        room_prefix=number,
        randomize=False,
    )
    call = await sandbox.phone.dial(number, caller=caller)
    room, _ = await assert_rings_in(sandbox, call)
    assert room.name == f"{number}_{caller}"


async def test_rules_that_would_conflict_are_even_refused_across_kinds(sandbox: Sandbox) -> None:
    """A direct and an individual rule for the same calls conflict: the kind is no difference.

    (S-API-15)
    """
    number = await sandbox.inbound()
    with pytest.raises(api.ServerError, match="Dispatch rule for the same trunk"):
        await sandbox.rule("individual", trunk_ids=[number.trunk_id])
