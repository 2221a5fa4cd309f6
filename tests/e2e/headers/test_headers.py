"""SIP headers as participant attributes, and participant attributes as SIP headers."""

from __future__ import annotations

import pytest
from livekit import api

from sandbox import Sandbox
from tests.e2e.conftest import Connect, assert_rings_in

pytestmark = pytest.mark.core


async def test_a_mapped_header_becomes_an_attribute(sandbox: Sandbox) -> None:
    """headers_to_attributes: the caller joins with the header's value. (S-HDR-01, Q4)"""
    number = await sandbox.inbound(headers_to_attributes={"X-Order-Id": "order.id"})
    call = await sandbox.phone.dial(number, headers={"X-Order-Id": "42"})
    _, caller = await assert_rings_in(sandbox, call)
    assert caller.attributes["order.id"] == "42"


async def test_header_names_are_mapped_whatever_their_case(sandbox: Sandbox) -> None:
    """A mapping for X-Order-Id takes x-order-id; two spellings of one name both fill. (S-HDR-01)"""
    number = await sandbox.inbound(
        headers_to_attributes={"X-Order-Id": "first", "X-ORDER-ID": "second"}
    )
    call = await sandbox.phone.dial(number, headers={"x-order-id": "42"})
    _, caller = await assert_rings_in(sandbox, call)
    assert caller.attributes["first"] == "42"
    assert caller.attributes["second"] == "42"


async def test_of_a_repeated_header_the_first_is_mapped(sandbox: Sandbox) -> None:
    """headers_to_attributes takes the first of two headers of one name. (S-HDR-01)"""
    number = await sandbox.inbound(headers_to_attributes={"X-Tag": "tag"})
    call = await sandbox.phone.dial(number, headers=[("X-Tag", "one"), ("X-Tag", "two")])
    _, caller = await assert_rings_in(sandbox, call)
    assert caller.attributes["tag"] == "one"


async def test_a_missing_or_empty_header_leaves_no_attribute(sandbox: Sandbox) -> None:
    """A header that is absent or empty leaves its attribute out. (S-HDR-01)"""
    number = await sandbox.inbound(headers_to_attributes={"X-Empty": "empty", "X-None": "none"})
    call = await sandbox.phone.dial(number, headers={"X-Empty": ""})
    _, caller = await assert_rings_in(sandbox, call)
    assert "empty" not in caller.attributes
    assert "none" not in caller.attributes


async def test_a_mapped_header_overrides_a_rule_attribute(sandbox: Sandbox) -> None:
    """Of a rule's attribute and a mapped header with one key, the header wins. (S-HDR-03)"""
    number = await sandbox.inbound(
        headers_to_attributes={"X-Tier": "tier"}, attributes={"tier": "from the rule"}
    )
    call = await sandbox.phone.dial(number, headers={"X-Tier": "from the header"})
    _, caller = await assert_rings_in(sandbox, call)
    assert caller.attributes["tier"] == "from the header"


async def test_include_x_headers_takes_those_and_no_others(sandbox: Sandbox) -> None:
    """SIP_X_HEADERS: sip.h.<lower case> for names that start with X-, the last of a name.

    (S-HDR-02, Q6)
    """
    number = await sandbox.inbound(include_headers=api.SIPHeaderOptions.SIP_X_HEADERS)
    headers = [("X-Plain", "p"), ("x-lower", "l"), ("X-Rep", "1"), ("X-Rep", "2"), ("Subject", "s")]
    sandbox.phone.test = ""  # or X-Sandbox-Test would be one more
    call = await sandbox.phone.dial(number, headers=headers)
    _, caller = await assert_rings_in(sandbox, call)
    included = {k: v for k, v in caller.attributes.items() if k.startswith("sip.h.")}
    assert included == {"sip.h.x-plain": "p", "sip.h.x-lower": "l", "sip.h.x-rep": "2"}


async def test_include_all_headers_takes_every_one(sandbox: Sandbox) -> None:
    """SIP_ALL_HEADERS: From, To, Via, Call-ID and the rest are attributes too. (S-HDR-02, Q6)"""
    number = await sandbox.inbound(include_headers=api.SIPHeaderOptions.SIP_ALL_HEADERS)
    call = await sandbox.phone.dial(number, headers={"X-Plain": "p", "Subject": "s"})
    _, caller = await assert_rings_in(sandbox, call)
    invite = next(m for m in call.messages if m.method == "INVITE")
    included = {k for k in caller.attributes if k.startswith("sip.h.")}
    assert included >= {
        f"sip.h.{name}"
        for name in ("via", "from", "to", "call-id", "cseq", "contact", "max-forwards",
                     "content-type", "content-length", "x-plain", "subject")
    }  # fmt: skip
    assert caller.attributes["sip.h.call-id"] == call.sip_call_id
    assert caller.attributes["sip.h.cseq"] == invite.header("CSeq")
    assert caller.attributes["sip.h.subject"] == "s"


async def test_without_include_headers_there_is_no_sip_h_attribute(sandbox: Sandbox) -> None:
    """By default no header is an attribute, whatever attributes_to_headers says. (S-HDR-02, Q5)"""
    number = await sandbox.inbound(attributes_to_headers={"sip.callID": "X-Call"})
    call = await sandbox.phone.dial(number, headers={"X-Plain": "p"})
    _, caller = await assert_rings_in(sandbox, call)
    assert not [k for k in caller.attributes if k.startswith("sip.h.")]


async def test_the_headers_of_known_carriers_need_no_mapping(sandbox: Sandbox) -> None:
    """Twilio's, Telnyx's and Amazon's call ids are attributes without any configuration.

    (S-HDR-04)
    """
    number = await sandbox.inbound()
    call = await sandbox.phone.dial(
        number,
        headers={
            "X-Twilio-AccountSid": "AC1",
            "X-Twilio-CallSid": "CA1",
            "X-call_leg_id": "leg",
            "X-call_session_id": "ses",
            "X-Lk-Test-Id": "t1",
        },
    )
    _, caller = await assert_rings_in(sandbox, call)
    expected = {
        "sip.twilio.accountSid": "AC1",
        "sip.twilio.callSid": "CA1",
        "sip.telnyx.callLegID": "leg",
        "sip.telnyx.callSessionID": "ses",
        "lktest.id": "t1",
    }
    assert expected.items() <= dict(caller.attributes).items()


async def test_trunk_headers_are_on_the_200_alone(sandbox: Sandbox, connect: Connect) -> None:
    """trunk.headers: on the 200 OK, and neither on the 180 nor on the BYE. (S-HDR-07)"""
    number = await sandbox.inbound(headers={"X-Static": "st-1", "Foo": "bar"})
    talk = await connect(number)
    ringing, ok = await talk.call.response(180), await talk.call.response(200)
    assert ok.header("X-Static") == "st-1"
    assert ok.header("Foo") == "bar"
    assert ringing.header("X-Static") is None
    await talk.room.remove(talk.identity)
    bye = await talk.call.request("BYE", within=3)
    assert bye.header("X-Static") is None


async def test_mapped_attributes_are_headers_of_the_200(sandbox: Sandbox, connect: Connect) -> None:
    """attributes_to_headers: attributes the caller joined with are on the 200 OK. (S-HDR-08, Q5)"""
    number = await sandbox.inbound(
        attributes={"tier": "gold"},
        attributes_to_headers={"tier": "X-Tier", "sip.callID": "X-Lk-Call"},
    )
    talk = await connect(number)
    ok = await talk.call.response(200)
    caller = await talk.room.member(talk.identity)
    assert ok.header("X-Tier") == "gold"
    assert ok.header("X-Lk-Call") == caller.attributes["sip.callID"]


async def test_attributes_set_during_the_call_are_headers_of_the_bye(
    sandbox: Sandbox, connect: Connect
) -> None:
    """attributes_to_headers: the BYE carries the values as they are then. (S-HDR-09)"""
    number = await sandbox.inbound(
        attributes={"tier": "gold"},
        attributes_to_headers={"tier": "X-Tier", "outcome": "X-Outcome"},
    )
    talk = await connect(number)
    await talk.peer.sees(talk.identity)
    await talk.room.set_attributes(talk.identity, {"tier": "platinum", "outcome": "sold"})
    await talk.peer.attribute(talk.identity, "outcome", "sold")
    await talk.room.remove(talk.identity)
    bye = await talk.call.request("BYE", within=3)
    assert bye.header("X-Tier") == "platinum"
    assert bye.header("X-Outcome") == "sold"
