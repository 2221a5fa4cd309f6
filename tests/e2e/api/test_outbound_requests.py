"""CreateSIPOutboundTrunk and CreateSIPParticipant: what is refused before a call is placed."""

from __future__ import annotations

from typing import Any

import pytest
from livekit import api

from sandbox import Sandbox
from tests.e2e.api.conftest import refused

INVALID = (400, "invalid_argument")
BAD_NAME = (
    "invalid header name: header name Bad Name contains invalid characters: char 32 not allowed"
)


@pytest.mark.parametrize(
    ("address", "numbers", "fields", "message"),
    [
        ("", ["+1"], {}, "no outbound address specified"),
        ("127.0.0.1:5060", [], {}, "no trunk numbers specified"),
        ("sip:127.0.0.1", ["+1"], {}, "trunk address should be a hostname or IP, not SIP URI"),
        ("127.0.0.1;transport=tcp", ["+1"], {},
         "trunk address should not contain transport parameter"),
        ("127.0.0.1:5060", ["+1"], {"from_host": "sip:pbx"},
         "from_host should be a hostname or IP, not SIP URI"),
    ],
)  # fmt: skip
async def test_an_outbound_trunk_is_checked(
    sandbox: Sandbox, address: str, numbers: list[str], fields: dict[str, Any], message: str
) -> None:
    """An outbound trunk needs an address and a number, and neither may be a URI. (S-API-06)"""
    await refused(sandbox.outbound_trunk(address, numbers=numbers, **fields), *INVALID, message)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sip_trunk_id": ""}, "missing sip trunk id and sip number"),
        ({"sip_call_to": ""}, "missing sip callee number"),
        ({"room_name": ""}, "missing room name"),
        ({"sip_call_to": "sip:+1@pbx"},
         "SipCallTo should be a phone number or SIP user, not a full SIP URI"),
        ({"headers": {"Bad Name": "x"}},
         BAD_NAME),
        ({"headers": {"": "x"}}, "invalid header name: header name cannot be empty"),
        ({"headers": {"X-A": "a\r\nb"}},
         "invalid header value for X-A: header X-A: value: char 13 not allowed"),
        ({"display_name": "x" * 129}, "DisplayName too long (max 128 characters)"),
    ],
)  # fmt: skip
async def test_a_participant_request_is_checked(
    sandbox: Sandbox, fields: dict[str, Any], message: str
) -> None:
    """CreateSIPParticipant is refused with a text that names the field. (S-API-16)"""
    trunk = await sandbox.outbound_trunk("127.0.0.1:5060")
    request: dict[str, Any] = {
        "sip_trunk_id": trunk.sip_trunk_id,
        "sip_call_to": sandbox.number(),
        "room_name": sandbox.room_name(),
        **fields,
    }
    await refused(
        sandbox.api.sip.create_sip_participant(api.CreateSIPParticipantRequest(**request)),
        *INVALID,
        message,
    )


async def test_an_inline_trunk_needs_a_number(sandbox: Sandbox) -> None:
    """An inline trunk without sip_number is 412: there is no number to call from. (S-API-17)"""
    await refused(
        sandbox.api.sip.create_sip_participant(
            api.CreateSIPParticipantRequest(
                trunk=api.SIPOutboundConfig(hostname="127.0.0.1:5060"),
                sip_call_to=sandbox.number(),
                room_name=sandbox.room_name(),
            )
        ),
        412,
        "failed_precondition",
        "twirp error unknown: no numbers on outbound trunk",
    )
