"""Which grants of an access token the SIP API asks for."""

from __future__ import annotations

from livekit import api

from sandbox import Sandbox
from tests.e2e.api.conftest import Twirp

DENIED = (401, {"code": "unauthenticated", "msg": "permissions denied"})


async def test_trunks_need_the_sip_admin_grant(sandbox: Sandbox, twirp: Twirp) -> None:
    """A token with sip.call alone may not list trunks. (S-API-02)"""
    assert await twirp("ListSIPInboundTrunk", {}, sip=api.SIPGrants(call=True)) == DENIED


async def test_calls_need_the_sip_call_grant(sandbox: Sandbox, twirp: Twirp) -> None:
    """A token with sip.admin alone may not place a call. (S-API-02)"""
    body = {"sip_trunk_id": "ST_x", "sip_call_to": "+1", "room_name": "r"}
    assert await twirp("CreateSIPParticipant", body, sip=api.SIPGrants(admin=True)) == DENIED


async def test_a_transfer_needs_room_admin_too(sandbox: Sandbox, twirp: Twirp) -> None:
    """TransferSIPParticipant wants sip.call and video.roomAdmin of the room. (S-API-02)"""
    body = {"participant_identity": "x", "room_name": "r", "transfer_to": "tel:+1"}
    assert await twirp("TransferSIPParticipant", body, sip=api.SIPGrants(call=True)) == DENIED


async def test_no_token_and_a_bad_token_are_refused(sandbox: Sandbox, twirp: Twirp) -> None:
    """Without a token the API answers 401 in JSON; with a broken one, 401 in plain text.

    (S-API-02)
    """
    assert await twirp("ListSIPInboundTrunk", {}, token="") == DENIED
    status, text = await twirp("ListSIPInboundTrunk", {}, token="not.a.token")
    assert (status, text) == (401, "invalid authorization token")


async def test_the_old_create_trunk_is_gone(sandbox: Sandbox, twirp: Twirp) -> None:
    """CreateSIPTrunk is no route any more. (S-API-21)"""
    status, error = await twirp("CreateSIPTrunk", {})
    assert (status, error["code"]) == (404, "bad_route")
