"""Where an attribute has several sources, and headers that are hard to carry."""

from __future__ import annotations

import pytest
from livekit import api

from sandbox import Sandbox
from tests.e2e.conftest import assert_rings_in
from tests.e2e.wire import Wire

X_HEADERS = api.SIPHeaderOptions.SIP_X_HEADERS


async def test_amazon_connects_headers_need_no_mapping(sandbox: Sandbox) -> None:
    """All five X-Amzn- headers of Amazon Connect are sip.amazon. attributes. (S-HDR-04)"""
    number = await sandbox.inbound()
    call = await sandbox.phone.dial(
        number,
        headers={
            "X-Amzn-ConnectContactId": "contact",
            "X-Amzn-ConnectInitialContactId": "first",
            "X-Amzn-SourceAccount": "account",
            "X-Amzn-SourceArn": "source",
            "X-Amzn-TargetArn": "target",
        },
    )
    _, caller = await assert_rings_in(sandbox, call)
    amazon = {k: v for k, v in caller.attributes.items() if k.startswith("sip.amazon.")}
    assert amazon == {
        "sip.amazon.contactId": "contact",
        "sip.amazon.initialContactId": "first",
        "sip.amazon.sourceAccount": "account",
        "sip.amazon.sourceArn": "source",
        "sip.amazon.targetArn": "target",
    }


async def test_an_included_header_overrides_a_rule_attribute(sandbox: Sandbox) -> None:
    """Of the rule's attribute sip.h.x-a and an included header X-A the header wins. (S-HDR-03)"""
    number = await sandbox.inbound(
        include_headers=X_HEADERS, attributes={"sip.h.x-a": "rule", "sip.h.x-b": "rule"}
    )
    call = await sandbox.phone.dial(number, headers={"X-A": "header"})
    _, caller = await assert_rings_in(sandbox, call)
    assert caller.attributes["sip.h.x-a"] == "header"
    assert caller.attributes["sip.h.x-b"] == "rule"


async def test_a_carriers_header_overrides_a_rule_attribute(sandbox: Sandbox) -> None:
    """Of the rule's attribute and a known carrier's header the header wins. (S-HDR-03)"""
    number = await sandbox.inbound(attributes={"sip.twilio.callSid": "rule"})
    call = await sandbox.phone.dial(number, headers={"X-Twilio-CallSid": "header"})
    _, caller = await assert_rings_in(sandbox, call)
    assert caller.attributes["sip.twilio.callSid"] == "header"


async def test_a_mapping_overrides_the_rule_and_included_headers(sandbox: Sandbox) -> None:
    """headers_to_attributes wins over the rule's attributes and included headers. (S-HDR-03)"""
    number = await sandbox.inbound(
        include_headers=X_HEADERS,
        attributes={"sip.twilio.callSid": "rule", "sip.h.x-a": "rule"},
        headers_to_attributes={"X-Mine": "sip.twilio.callSid", "X-Other": "sip.h.x-a"},
    )
    call = await sandbox.phone.dial(
        number, headers={"X-A": "a", "X-Mine": "mine", "X-Other": "other"}
    )
    _, caller = await assert_rings_in(sandbox, call)
    assert caller.attributes["sip.twilio.callSid"] == "mine"
    assert caller.attributes["sip.h.x-a"] == "other"


async def test_a_carriers_header_overrides_a_mapping(sandbox: Sandbox) -> None:
    """A known carrier's header has the last word, over headers_to_attributes too. (S-HDR-03)"""
    number = await sandbox.inbound(
        attributes={"sip.twilio.callSid": "rule"},
        headers_to_attributes={"X-Mine": "sip.twilio.callSid"},
    )
    call = await sandbox.phone.dial(
        number, headers={"X-Twilio-CallSid": "carrier", "X-Mine": "mine"}
    )
    _, caller = await assert_rings_in(sandbox, call)
    assert caller.attributes["sip.twilio.callSid"] == "carrier"


async def test_an_empty_header_takes_the_attribute_away(sandbox: Sandbox) -> None:
    """Mapped, included or a carrier's: an empty header removes what the rule had set. (S-HDR-01)"""
    number = await sandbox.inbound(
        include_headers=X_HEADERS,
        attributes={"mapped": "rule", "sip.h.x-a": "rule", "sip.twilio.callSid": "rule"},
        headers_to_attributes={"X-Mine": "mapped"},
    )
    call = await sandbox.phone.dial(
        number, headers={"X-Mine": "", "X-A": "", "X-Twilio-CallSid": ""}
    )
    _, caller = await assert_rings_in(sandbox, call)
    assert not {"mapped", "sip.h.x-a", "sip.twilio.callSid"} & set(caller.attributes)


async def test_a_mapping_may_forge_the_number_but_not_the_call(sandbox: Sandbox) -> None:
    """headers_to_attributes may overwrite sip.phoneNumber, and neither status nor call ids.

    (S-HDR-03)
    """
    number = await sandbox.inbound(
        headers_to_attributes={
            "X-Number": "sip.phoneNumber",
            "X-Status": "sip.callStatus",
            "X-Full": "sip.callIDFull",
            "X-Tag": "sip.callTag",
        }
    )
    call = await sandbox.phone.dial(
        number, headers={"X-Number": "+1", "X-Status": "x", "X-Full": "x", "X-Tag": "x"}
    )
    _, caller = await assert_rings_in(sandbox, call)
    assert caller.attributes["sip.phoneNumber"] == "+1"
    assert caller.attributes["sip.callStatus"] == "ringing"
    assert caller.attributes["sip.callIDFull"] == call.sip_call_id
    assert caller.attributes["sip.callTag"] == call.invite.from_tag


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("From", '"Tester" <sip:+15550009@pbx.example>'),
        ("P-Asserted-Identity", '"Bob" <sip:bob@pbx.example>'),
        ("Diversion", "<sip:+1888@pbx>;reason=unconditional"),
        ("User-Agent", "pbx/9"),
        ("X-Utf", "Zo\u00eb \u65e5\u672c"),
        ("X-Long", "L" * 2000),
    ],
    ids=lambda value: value[:20],
)
async def test_any_header_can_be_mapped(sandbox: Sandbox, header: str, value: str) -> None:
    """headers_to_attributes takes any header as it is: From, identities, UTF-8, 2 kB.

    (S-HDR-15)
    """
    number = await sandbox.inbound(headers_to_attributes={header: "mapped"})
    if header == "From":
        call = await sandbox.phone.dial(
            number, caller="+15550009", display_name="Tester", from_host="pbx.example"
        )
        value += f";tag={call.invite.from_tag}"
    else:
        call = await sandbox.phone.dial(number, headers={header: value})
    _, caller = await assert_rings_in(sandbox, call)
    assert caller.attributes["mapped"] == value


async def test_a_folded_header_is_one_line(sandbox: Sandbox, wire: Wire) -> None:
    """A header folded over two lines is mapped as one, with a space between. (S-HDR-15)"""
    number = await sandbox.inbound(headers_to_attributes={"X-Folded": "folded"})
    call = await wire.invite(number, headers={"X-Folded": "a\r\n b"})
    event = await call.joined()
    assert event.data["participant"]["attributes"]["folded"] == "a b"


async def test_a_compact_header_is_not_its_long_form(sandbox: Sandbox, wire: Wire) -> None:
    """`s: x` is no Subject to headers_to_attributes, though it is to SIP. (S-HDR-01)"""
    number = await sandbox.inbound(headers_to_attributes={"Subject": "long", "s": "short"})
    call = await wire.invite(number, headers={"s": "x"})
    event = await call.joined()
    attributes = event.data["participant"]["attributes"]
    assert "long" not in attributes
    assert attributes["short"] == "x"


async def test_forty_kilobytes_by_tcp_are_one_attribute(sandbox: Sandbox) -> None:
    """A header of 40,000 bytes, sent by TCP, is an attribute of 40,000 bytes. (S-HDR-16)"""
    wire = await Wire(sandbox.endpoints, sandbox.timeline).open("tcp")
    try:
        number = await sandbox.inbound(headers_to_attributes={"X-Big": "big"})
        call = await wire.invite(number, headers={"X-Big": "B" * 40_000})
        event = await call.joined()
        assert event.data["participant"]["attributes"]["big"] == "B" * 40_000
    finally:
        await wire.close()


async def test_mapped_attributes_are_there_when_the_caller_joins(sandbox: Sandbox) -> None:
    """A mapped attribute is in participant_connected and in the webhook, not a change later.

    (S-HDR-05)
    """
    number = await sandbox.inbound(headers_to_attributes={"X-Order-Id": "order.id"})
    assert number.room is not None
    peer = await number.room.join()
    call = await sandbox.phone.dial(number, headers={"X-Order-Id": "42"})
    _, caller = await assert_rings_in(sandbox, call)
    assert caller.attributes["order.id"] == "42"
    event = await peer.sees(caller.identity)
    assert event.data["attributes"]["order.id"] == "42"
