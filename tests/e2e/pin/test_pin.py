"""Dispatch rules with a PIN: the caller is answered, prompted, and let in or not."""

from __future__ import annotations

import asyncio

from livekit import api

from sandbox import Sandbox


async def test_a_pin_call_is_answered_before_anybody_is_there(sandbox: Sandbox) -> None:
    """With a PIN rule the phone gets 200 at once, and no participant joins yet. (S-PIN-01)"""
    number = await sandbox.inbound(pin="1234")
    call = await sandbox.phone.dial(number)
    await call.answered(within=1)
    assert number.room is not None
    assert await number.room.info() is None


async def test_the_right_pin_opens_the_room(sandbox: Sandbox) -> None:
    """The right digits and # let the caller in, with the status active. (S-PIN-01)"""
    number = await sandbox.inbound(pin="12")
    call = await sandbox.phone.dial(number)
    await call.answered(within=1)
    await call.send_dtmf("12#")
    room, caller = await sandbox.joined(call, within=6)
    assert number.room is not None
    assert room.name == number.room.name
    assert caller.attributes["sip.callStatus"] == "active"


async def test_a_wrong_pin_is_the_end(sandbox: Sandbox) -> None:
    """Wrong digits and # are answered with a prompt and BYE; no room is made. (S-PIN-02)"""
    number = await sandbox.inbound(pin="12")
    call = await sandbox.phone.dial(number)
    await call.answered(within=1)
    await call.send_dtmf("99#")
    await call.request("BYE", within=6)
    assert number.room is not None
    assert await number.room.info() is None


async def test_the_17th_digit_is_the_end(sandbox: Sandbox) -> None:
    """16 digits and # are a PIN. With the 17th digit the entry is wrong: BYE, without a #, even
    if a rule has that PIN.

    (S-PIN-04)
    """
    digits = "12345678901234567"
    fits = await sandbox.inbound(pin=digits[:16])
    too_long = await sandbox.inbound(pin=digits)
    call, other = await asyncio.gather(sandbox.phone.dial(fits), sandbox.phone.dial(too_long))
    # While the prompt plays livekit-sip may keep about ten keys, and drop the rest.
    await asyncio.gather(call.hears_sound(), other.hears_sound())
    await asyncio.gather(call.hears_silence(), other.hears_silence())
    await asyncio.gather(call.send_dtmf(digits[:16] + "#"), other.send_dtmf(digits))
    await asyncio.gather(sandbox.joined(call, within=12), other.request("BYE", within=12))
    assert too_long.room is not None
    assert await too_long.room.info() is None


async def test_each_pin_of_a_trunk_leads_to_its_room(sandbox: Sandbox) -> None:
    """Two PINs on one trunk: each opens its own room. (S-PIN-06)"""
    number = await sandbox.inbound(pin="11")
    other = sandbox.room_name("other")
    await sandbox.rule(room=other, pin="22", trunk_ids=[number.trunk_id])
    call = await sandbox.phone.dial(number)
    await call.answered(within=1)
    await call.send_dtmf("22#")
    room, _ = await sandbox.joined(call, within=6)
    assert room.name == other


async def test_a_bare_hash_takes_the_rule_without_a_pin(sandbox: Sandbox) -> None:
    """A rule with a PIN beside one without: all are prompted, # alone takes the open one.

    (S-PIN-03)
    """
    number = await sandbox.inbound()
    await sandbox.rule(room=sandbox.room_name("locked"), pin="22", trunk_ids=[number.trunk_id])
    call = await sandbox.phone.dial(number)
    await call.answered(within=1)
    await call.send_dtmf("#")
    room, _ = await sandbox.joined(call, within=6)
    assert number.room is not None
    assert room.name == number.room.name


async def test_hanging_up_at_the_prompt_leaves_no_trace(sandbox: Sandbox) -> None:
    """BYE while prompted gets 200; no participant and no room come of it. (S-PIN-07)"""
    number = await sandbox.inbound(pin="12")
    call = await sandbox.phone.dial(number)
    await call.answered(within=1)
    await call.hang_up()
    assert (await call.response(200, method="BYE", within=2)).status == 200
    assert not (await sandbox.api.room.list_rooms(api.ListRoomsRequest())).rooms


async def test_pin_calls_carry_no_mapped_headers(sandbox: Sandbox) -> None:
    """On PIN calls neither trunk.headers nor attributes_to_headers are ever sent. (S-PIN-08)"""
    number = await sandbox.inbound(
        pin="1",
        headers={"X-Static": "s"},
        attributes={"tier": "gold"},
        attributes_to_headers={"tier": "X-Tier"},
    )
    call = await sandbox.phone.dial(number)
    await call.answered(within=1)
    assert (await call.response(200)).header("X-Static") is None
    await call.send_dtmf("1#")
    room, caller = await sandbox.joined(call, within=6)
    await room.remove(caller.identity)
    bye = await call.request("BYE", within=2)
    assert bye.header("X-Tier") is None


async def test_a_password_comes_before_the_pin(sandbox: Sandbox) -> None:
    """A trunk with a password and a rule with a PIN: 407, then 200 and the prompt. (S-PIN-09)"""
    right = sandbox.credentials()
    number = await sandbox.inbound(auth_username=right.user, auth_password=right.password, pin="12")
    call = await sandbox.phone.dial(number, credentials=right)
    await call.response(407)
    await call.answered(within=2)
    await call.send_dtmf("12#")
    room, _ = await sandbox.joined(call, within=6)
    assert number.room is not None
    assert room.name == number.room.name
