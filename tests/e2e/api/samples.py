"""Trunks and rules with every field set, for the scenarios that say what becomes of each."""

from __future__ import annotations

from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from livekit import api
from livekit.protocol import sip

from sandbox import Sandbox

ALLOW = api.SIPMediaEncryption.SIP_MEDIA_ENCRYPT_ALLOW
REQUIRE = api.SIPMediaEncryption.SIP_MEDIA_ENCRYPT_REQUIRE

INVALID = (400, "invalid_argument")


def media() -> Any:
    """A SIPMediaConfig with every field set."""
    return sip.SIPMediaConfig(
        only_listed_codecs=True,
        codecs=[sip.SIPCodec(name="PCMA", rate=8000)],
        encryption=ALLOW,
        media_timeout=Duration(seconds=7),
    )


def inbound_trunk(sandbox: Sandbox) -> api.SIPInboundTrunkInfo:
    """An inbound trunk with every field set that a client may set."""
    return api.SIPInboundTrunkInfo(
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
        ringing_timeout_status=sip.SIPStatusCode.SIP_STATUS_TEMPORARILY_UNAVAILABLE,
        max_call_duration=Duration(seconds=99),
        krisp_enabled=True,
        media_encryption=ALLOW,
        media=media(),
    )


def outbound_trunk(sandbox: Sandbox) -> api.SIPOutboundTrunkInfo:
    """An outbound trunk with every field set that a client may set."""
    return api.SIPOutboundTrunkInfo(
        name="all fields",
        metadata="m",
        address="pbx.example:5080",
        destination_country="DE",
        transport=api.SIPTransport.SIP_TRANSPORT_TLS,
        numbers=[sandbox.number(), sandbox.number()],
        auth_username="user",
        auth_password="password",
        headers={"X-A": "a"},
        headers_to_attributes={"X-B": "b"},
        attributes_to_headers={"c": "X-C"},
        include_headers=api.SIPHeaderOptions.SIP_ALL_HEADERS,
        media_encryption=ALLOW,
        from_host="pbx.example",
        media=media(),
    )


def room_config() -> api.RoomConfiguration:
    """A RoomConfiguration with every field set."""
    config = api.RoomConfiguration(
        name="config",
        empty_timeout=33,
        departure_timeout=44,
        max_participants=5,
        metadata="room metadata",
        min_playout_delay=10,
        max_playout_delay=20,
        sync_streams=True,
        agents=[api.RoomAgentDispatch(agent_name="agent", metadata="job metadata")],
        tags={"team": "sales"},
    )
    config.egress.room.room_name = "recorded"
    return config


#: The three kinds of rule, each with every field set.
KINDS: dict[str, dict[str, Any]] = {
    "direct": {"dispatch_rule_direct": {"room_name": "room", "pin": "12"}},
    "individual": {
        "dispatch_rule_individual": {"room_prefix": "call", "pin": "12", "no_randomness": True}
    },
    "callee": {"dispatch_rule_callee": {"room_prefix": "desk", "pin": "12", "randomize": True}},
}


def rule(kind: str, *trunk_ids: str) -> api.SIPDispatchRuleInfo:
    """A dispatch rule of `kind` with every field set that a client may set."""
    return api.SIPDispatchRuleInfo(
        rule=ParseDict(KINDS[kind], api.SIPDispatchRule()),
        trunk_ids=trunk_ids,
        hide_phone_number=True,
        inbound_numbers=["+15550001"],
        numbers=["+15550002"],
        name="all fields",
        metadata="m",
        attributes={"a": "b"},
        room_preset="preset",
        room_config=room_config(),
        krisp_enabled=True,
        media_encryption=ALLOW,
        media=media(),
    )


def plain(message: Message) -> dict[str, Any]:
    """A message as its JSON form, field names as in the proto file."""
    return MessageToDict(message, preserving_proto_field_name=True)


def assert_has(got: Message, wanted: Message, *, but: tuple[str, ...] = ()) -> None:
    """Every field that is set in `wanted` has that value in `got`, field by field."""
    have, want = plain(got), plain(wanted)
    for name, value in want.items():
        if name not in but:
            assert have.get(name) == value, name
