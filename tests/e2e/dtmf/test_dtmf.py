"""DTMF between the phone and the room (RFC 4733)."""

from __future__ import annotations

import pytest

from sandbox import Sandbox
from tests.e2e.conftest import Connect

pytestmark = pytest.mark.core


async def test_keys_pressed_on_the_phone_reach_the_room(sandbox: Sandbox, connect: Connect) -> None:
    """Each key press is one sip_dtmf_received, sent by the caller. (S-DTM-01)"""
    number = await sandbox.inbound()
    talk = await connect(number)
    await talk.peer.sees(talk.identity)
    await talk.call.send_dtmf("159#*0")
    await talk.peer.dtmf("159#*0", of=talk.identity, within=6)


async def test_letter_keys_arrive_in_lower_case(sandbox: Sandbox, connect: Connect) -> None:
    """The keys A to D arrive as a to d. (S-DTM-01)"""
    number = await sandbox.inbound()
    talk = await connect(number)
    await talk.peer.sees(talk.identity)
    await talk.call.send_dtmf("AD")
    await talk.peer.dtmf("ad", of=talk.identity, within=4)


async def test_a_long_press_is_one_digit(sandbox: Sandbox, connect: Connect) -> None:
    """A key held for 0.8 s is one event, and the next key another. (S-DTM-02)"""
    number = await sandbox.inbound()
    talk = await connect(number)
    await talk.peer.sees(talk.identity)
    await talk.call.send_dtmf("5", duration_ms=800)
    await talk.call.send_dtmf("6")
    await talk.peer.dtmf("56", of=talk.identity, within=4)


async def test_digits_published_in_the_room_reach_the_phone(
    sandbox: Sandbox, connect: Connect
) -> None:
    """publish_dtmf from the room arrives at the phone as RFC 4733 events. (S-DTM-06)"""
    number = await sandbox.inbound()
    talk = await connect(number)
    await talk.peer.sees(talk.identity)
    await talk.peer.publish_dtmf("15#")
    await talk.call.dtmf("15#", within=5)


async def test_sip_info_is_refused_and_no_digit_arrives(sandbox: Sandbox, connect: Connect) -> None:
    """DTMF by SIP INFO is answered 405, although Allow lists INFO. (S-DTM-05)"""
    number = await sandbox.inbound()
    talk = await connect(number)
    await talk.peer.sees(talk.identity)
    await talk.call.send_dtmf("5", method="info")
    refusal = await talk.call.response(405, method="INFO", within=2)
    assert refusal.status == 405
    assert refusal.reason == "Method Not Allowed"
    # The next key by RFC 4733 arrives, and it is the first that does.
    await talk.call.send_dtmf("6")
    await talk.peer.dtmf("6", of=talk.identity, within=4)


async def test_a_digit_of_one_caller_reaches_the_other(sandbox: Sandbox, connect: Connect) -> None:
    """What one SIP caller presses is sent to the other SIP caller of the room. (S-DTM-07)"""
    number = await sandbox.inbound()
    talk = await connect(number)
    other = await sandbox.phone.dial(number)
    await other.answered(within=5)
    await talk.call.send_dtmf("7")
    await other.dtmf("7", within=4)
