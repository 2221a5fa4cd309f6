"""LiveKit's API as it is on the wire: JSON in, JSON out, errors untouched."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import aiohttp
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass
from livekit import api
from livekit.protocol import room as room_protocol
from livekit.protocol import sip as sip_protocol

from sandbox.stack.endpoints import Endpoints

__all__ = ["ALL_RIGHTS", "Twirp"]

ALL_RIGHTS = {"admin": True, "call": True, "rooms": True}

_ANSWERS = {
    f"{service.name}/{method.name}": GetMessageClass(method.output_type)
    for module in (sip_protocol, room_protocol)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


class Twirp:
    """Calls of livekit-server's services, with a token for each."""

    def __init__(self, endpoints: Endpoints, http: aiohttp.ClientSession) -> None:
        self._ends = endpoints
        self._http = http

    def _token(self, request: Mapping[str, Any], rights: Mapping[str, bool]) -> str:
        token = api.AccessToken(self._ends.api_key, self._ends.api_secret).with_sip_grants(
            api.SIPGrants(admin=rights.get("admin", False), call=rights.get("call", False))
        )
        if rights.get("rooms"):
            room = request.get("room") or request.get("room_name") or ""
            token = token.with_grants(
                api.VideoGrants(room_create=True, room_list=True, room_admin=True, room=room)
            )
        return token.to_jwt()

    async def __call__(
        self,
        method: str,
        request: Mapping[str, Any],
        rights: Mapping[str, bool] = ALL_RIGHTS,
    ) -> tuple[int, Any]:
        """Call `Service/Method`; the HTTP status, and the message or the error.

        Fields that are unset are left out of the message.
        """
        async with self._http.post(
            f"{self._ends.livekit_url.replace('ws', 'http', 1)}/twirp/livekit.{method}",
            json=request,
            headers={"Authorization": f"Bearer {self._token(request, rights)}"},
        ) as response:
            text = await response.text()
            try:
                body = json.loads(text)
            except ValueError:
                return response.status, text
            if response.status == 200:
                message = ParseDict(body, _ANSWERS[method](), ignore_unknown_fields=True)
                body = MessageToDict(message, preserving_proto_field_name=True)
            return response.status, body
