"""Calls out: outbound trunks to the phone, and CreateSIPParticipant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from livekit import api

from sandbox.telephony.inbound import duration
from sandbox.telephony.rooms import Room

__all__ = ["OutboundCall", "build_outbound_trunk", "build_participant_request"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundCall:
    """A call that livekit-sip places, as CreateSIPParticipant answered it.

    Attributes:
        room: the room that the SIP participant is in.
        info: the SIPParticipantInfo (participant_id, participant_identity, sip_call_id `SCL_…`).
    """

    room: Room
    info: api.SIPParticipantInfo

    @property
    def identity(self) -> str:
        """The identity of the SIP participant."""
        return self.info.participant_identity

    @property
    def call_id(self) -> str:
        """`SCL_…`, also the attribute `sip.callID`."""
        return self.info.sip_call_id


def build_outbound_trunk(
    address: str, numbers: list[str], fields: Mapping[str, Any]
) -> api.SIPOutboundTrunkInfo:
    """A SIPOutboundTrunkInfo from an address and keyword arguments named as its fields."""
    values = {k: v for k, v in fields.items() if v is not None}
    values.setdefault("name", "sandbox outbound")
    return api.SIPOutboundTrunkInfo(address=address, numbers=numbers, **values)


def build_participant_request(fields: Mapping[str, Any]) -> api.CreateSIPParticipantRequest:
    """A CreateSIPParticipantRequest from keyword arguments named as its fields.

    `ringing_timeout` and `max_call_duration` may be given in seconds.
    """
    values = {k: v for k, v in fields.items() if v is not None}
    for key in ("ringing_timeout", "max_call_duration"):
        if isinstance(values.get(key), (int, float)):
            values[key] = duration(values[key])
    return api.CreateSIPParticipantRequest(**values)
