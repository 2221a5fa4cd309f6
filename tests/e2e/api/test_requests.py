"""Requests that are refused, or taken without effect: calls, transfers, and a server alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.json_format import ParseDict
from livekit import api

from sandbox import Sandbox, Stack
from sandbox.telephony.inbound import duration
from sandbox.telephony.tracing import sip_request
from tests.e2e.api.conftest import Twirp, refused
from tests.e2e.api.samples import INVALID
from tests.e2e.conftest import PEER_TONE, Connect, refer_policy

DENIED = (401, {"code": "unauthenticated", "msg": "permissions denied"})

COUNTRY = "country must be a valid ISO 3166-1 alpha-2 code (2-letter like 'US', 'IN', 'UK')"


# --- grants -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method",
    [
        "CreateSIPInboundTrunk", "UpdateSIPInboundTrunk", "GetSIPInboundTrunk",
        "ListSIPInboundTrunk", "CreateSIPOutboundTrunk", "UpdateSIPOutboundTrunk",
        "GetSIPOutboundTrunk", "ListSIPOutboundTrunk", "ListSIPTrunk", "DeleteSIPTrunk",
        "CreateSIPDispatchRule", "UpdateSIPDispatchRule", "ListSIPDispatchRule",
        "DeleteSIPDispatchRule",
    ],
)  # fmt: skip
async def test_every_trunk_and_rule_method_needs_sip_admin(
    sandbox: Sandbox, twirp: Twirp, method: str
) -> None:
    """Without sip.admin, and so with sip.call alone, every one of them is 401. (S-API-02)"""
    assert await twirp(method, {}, sip=api.SIPGrants(call=True)) == DENIED
    assert await twirp(method, {}, sip=api.SIPGrants()) == DENIED


async def test_an_unknown_method_is_no_route(sandbox: Sandbox, twirp: Twirp) -> None:
    """A method that does not exist is 404 bad_route, and the path is in the text. (S-VER-03)"""
    status, error = await twirp("Nope", {})
    assert (status, error["code"]) == (404, "bad_route")
    assert error["msg"] == 'no handler for path "/twirp/livekit.SIP/Nope"'


# --- where a call is to go --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("destination", "message"),
    [
        ({"country": "XX"}, COUNTRY),
        ({"country": "DEU"}, COUNTRY),
        ({"country": "de"}, COUNTRY),
        ({"city": "Berlin"}, "if city is specified, country or region must also be specified"),
    ],
)
async def test_the_destination_of_a_call_is_checked(
    sandbox: Sandbox, destination: dict[str, str], message: str
) -> None:
    """destination: its country must be a code of two capital letters, its city in one. (S-API-16)

    Unlike destination_country of a trunk, which is taken as it is.
    """
    trunk = await sandbox.outbound_trunk("127.0.0.1:5060")
    request = sandbox.call_out(trunk, "+1555", destination=destination)
    await refused(request, *INVALID, message)


async def test_the_destination_leads_nowhere_here(sandbox: Sandbox) -> None:
    """A valid destination is accepted, and changes nothing: only LiveKit Cloud routes by it.

    (S-API-16)
    """
    line = await sandbox.phone.line()
    await line.answers()
    trunk = await sandbox.outbound_trunk(line.address)
    place: Any = {"country": "DE", "city": "Berlin", "region": "eu"}
    await sandbox.call_out(trunk, line.number, destination=place, wait=True)
    await (await line.incoming(within=1)).answered(within=1)


# --- transfers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"participant_identity": "x", "transfer_to": "tel:+1"},
         "twirp error unknown: Missing room name"),
        ({"room_name": "r", "transfer_to": "tel:+1"},
         "twirp error unknown: Missing participant identity"),
        ({"room_name": "r", "participant_identity": "x"}, "missing transfer to"),
        ({"room_name": "r", "participant_identity": "x", "transfer_to": "tel:+1",
          "headers": {"From": "x"}},
         "invalid header name: header name From not supported"),
    ],
)  # fmt: skip
async def test_a_transfer_request_is_checked(
    sandbox: Sandbox, request_: dict[str, Any], message: str
) -> None:
    """TransferSIPParticipant is refused with a text that names what is missing. (S-XFR-03)"""
    request = ParseDict(request_, api.TransferSIPParticipantRequest())
    await refused(sandbox.api.sip.transfer_sip_participant(request), *INVALID, message)


async def test_a_dial_tone_is_played_to_who_is_transferred(
    sandbox: Sandbox, connect: Connect
) -> None:
    """play_dialtone: the caller hears 425 Hz in place of the room until the transfer is over.

    A transfer that fails gives the room back. (S-XFR-08)
    """
    talk = await connect(await sandbox.inbound())
    await talk.call.hears_tone(PEER_TONE, within=4)
    await refer_policy(talk.call, 202, dial=False)
    transfer = asyncio.create_task(
        sandbox.api.sip.transfer_sip_participant(
            api.TransferSIPParticipantRequest(
                room_name=talk.room.name,
                participant_identity=talk.identity,
                transfer_to="tel:+1",
                play_dialtone=True,
                ringing_timeout=duration(1),
            )
        )
    )
    await talk.call.hears_tone(425, within=2)
    with pytest.raises(api.ServerError) as caught:
        await transfer
    assert (caught.value.status, caught.value.code) == (408, "deadline_exceeded")
    await talk.call.hears_tone(PEER_TONE, within=4)


# --- a server without redis -------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="session")
async def lonely(sandbox: Sandbox, sandbox_stack: Stack) -> AsyncIterator[api.LiveKitAPI]:
    """The API of a livekit-server without redis, which has no SIP."""
    if sandbox_stack.why_fixed:
        pytest.skip(sandbox_stack.why_fixed)
    server = await sandbox_stack.start_part("livekit-server", "lonely", {"redis": None})
    ends = sandbox.endpoints
    async with api.LiveKitAPI(f"http://{server.address}", ends.api_key, ends.api_secret) as client:
        yield client
    await server.stop()


async def test_without_redis_there_is_no_sip(lonely: api.LiveKitAPI) -> None:
    """A livekit-server without redis refuses every SIP request, and says why. (S-API-01)"""
    text = "sip not connected (redis required)"
    for method, request in {
        "ListSIPInboundTrunk": api.ListSIPInboundTrunkRequest(),
        "CreateSIPDispatchRule": api.CreateSIPDispatchRuleRequest(),
        "CreateSIPParticipant": api.CreateSIPParticipantRequest(),
        "DeleteSIPTrunk": api.DeleteSIPTrunkRequest(),
    }.items():
        with pytest.raises(api.ServerError) as caught:
            await sip_request(lonely, method, request)
        assert (caught.value.status, caught.value.code) == (500, "internal")
        assert text in caught.value.message
