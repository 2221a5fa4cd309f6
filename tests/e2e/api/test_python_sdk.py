"""livekit-api's helpers for the SIP API: what they send, and what they cannot."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from livekit import api
from livekit.protocol import sip

from sandbox import Sandbox
from tests.e2e.api.samples import plain


def arguments(helper: Callable[..., Any]) -> set[str]:
    """The keyword arguments of a helper, without the id and the request's own."""
    return set(inspect.signature(helper).parameters) - {"self", "trunk_id", "rule_id", "timeout"}


def fields(update: Any) -> set[str]:
    """The fields of an update message."""
    return {field.name for field in update.DESCRIPTOR.fields}


def sent(sandbox: Sandbox, method: str) -> dict[str, Any]:
    """The last request of `method`, in its JSON form."""
    requests = [
        event.data["message"]
        for event in sandbox.timeline.since(sandbox.mark)
        if event.name == "api.request" and event.data["method"] == f"SIP/{method}"
    ]
    last: dict[str, Any] = requests[-1]
    return last


@pytest.mark.parametrize(
    ("helper", "update", "missing"),
    [
        ("update_inbound_trunk_fields", sip.SIPInboundTrunkUpdate,
         {"auth_realm", "media_encryption"}),
        ("update_outbound_trunk_fields", sip.SIPOutboundTrunkUpdate,
         {"destination_country", "from_host", "media_encryption"}),
        ("update_dispatch_rule_fields", sip.SIPDispatchRuleUpdate,
         {"media", "media_encryption"}),
    ],
)  # fmt: skip
async def test_the_update_helpers_lack_some_fields(
    sandbox: Sandbox, helper: str, update: Any, missing: set[str]
) -> None:
    """The update_*_fields helpers of livekit-api have no argument for the newer fields.

    They are reached through the request message alone (`sandbox.sip`). (S-API-22)
    """
    known = arguments(getattr(sandbox.api.sip, helper))
    assert fields(update) - known == missing


async def test_the_inbound_helper_sends_the_raw_patch(sandbox: Sandbox) -> None:
    """update_inbound_trunk_fields: each argument is that field of the update. (S-API-22)"""
    trunk = await sandbox.trunk(numbers=[sandbox.number()])
    given: dict[str, Any] = {
        "numbers": [sandbox.number()],
        "allowed_addresses": ["127.0.0.1"],
        "allowed_numbers": [sandbox.number()],
        "auth_username": "u",
        "auth_password": "p",
        "name": "n",
        "metadata": "m",
    }
    for name, value in given.items():
        await sandbox.api.sip.update_inbound_trunk_fields(trunk.sip_trunk_id, **{name: value})
        assert sent(sandbox, "UpdateSIPInboundTrunk") == {
            "sip_trunk_id": trunk.sip_trunk_id,
            "update": {name: {"set": value} if isinstance(value, list) else value},
        }


async def test_the_outbound_helper_sends_the_raw_patch(sandbox: Sandbox) -> None:
    """update_outbound_trunk_fields: each argument is that field of the update. (S-API-22)"""
    trunk = await sandbox.outbound_trunk("127.0.0.1:1")
    given: dict[str, Any] = {
        "numbers": [sandbox.number()],
        "address": "127.0.0.1:2",
        "transport": api.SIPTransport.SIP_TRANSPORT_TCP,
        "auth_username": "u",
        "auth_password": "p",
        "name": "n",
        "metadata": "m",
    }
    for name, value in given.items():
        await sandbox.api.sip.update_outbound_trunk_fields(trunk.sip_trunk_id, **{name: value})
        on_wire = "SIP_TRANSPORT_TCP" if name == "transport" else value
        assert sent(sandbox, "UpdateSIPOutboundTrunk") == {
            "sip_trunk_id": trunk.sip_trunk_id,
            "update": {name: {"set": on_wire} if isinstance(on_wire, list) else on_wire},
        }


async def test_the_rule_helper_sends_the_raw_patch(sandbox: Sandbox) -> None:
    """update_dispatch_rule_fields: each argument is that field of the update. (S-API-22)"""
    number = await sandbox.inbound()
    rule = api.SIPDispatchRule(dispatch_rule_direct=api.SIPDispatchRuleDirect(room_name="r"))
    given: dict[str, Any] = {
        "trunk_ids": ["ST_x"],
        "rule": rule,
        "name": "n",
        "metadata": "m",
        "attributes": {"a": "b"},
    }
    for name, value in given.items():
        await sandbox.api.sip.update_dispatch_rule_fields(number.rule_id, **{name: value})
        on_wire = plain(value) if name == "rule" else value
        assert sent(sandbox, "UpdateSIPDispatchRule") == {
            "sip_dispatch_rule_id": number.rule_id,
            "update": {name: {"set": on_wire} if isinstance(on_wire, list) else on_wire},
        }


async def test_an_sdk_call_that_waits_rings_for_thirty_seconds(sandbox: Sandbox) -> None:
    """create_sip_participant with wait_until_answered sets ringing_timeout to 30 s by itself.

    A request that says otherwise keeps its own. (S-API-22)
    """
    line = await sandbox.phone.line()
    await line.rejects(486)
    trunk = await sandbox.outbound_trunk(line.address)
    with pytest.raises(api.SipCallError):
        await sandbox.call_out(trunk, line.number, wait=True)
    assert sent(sandbox, "CreateSIPParticipant")["ringing_timeout"] == "30s"
    with pytest.raises(api.SipCallError):
        await sandbox.call_out(trunk, line.number, wait=True, ringing_timeout=5)
    assert sent(sandbox, "CreateSIPParticipant")["ringing_timeout"] == "5s"
