"""Inbound trunks and dispatch rules: what makes a number ring in a room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from google.protobuf.duration_pb2 import Duration
from livekit import api

from sandbox.errors import UsageError
from sandbox.telephony.rooms import Room

__all__ = ["Inbound", "RuleKind", "build_rule", "build_trunk", "duration"]

RuleKind = Literal["direct", "individual", "callee"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """A number that can be called: an inbound trunk, a dispatch rule and the room they lead to.

    Attributes:
        number: the number to dial (the To user).
        uri: the SIP URI to dial it at; also `str(inbound)`.
        trunk: the SIPInboundTrunkInfo as livekit-server returned it; None without a trunk.
        rule: the SIPDispatchRuleInfo; None without a rule.
        room: the room of a direct rule; None where the rule makes the name up for each call.
    """

    number: str
    uri: str
    trunk: api.SIPInboundTrunkInfo | None
    rule: api.SIPDispatchRuleInfo | None
    room: Room | None

    def __str__(self) -> str:
        return self.uri

    @property
    def trunk_id(self) -> str:
        """`ST_…`.

        Raises:
            UsageError: there is no trunk.
        """
        if self.trunk is None:
            raise UsageError("this number was made without a trunk")
        return self.trunk.sip_trunk_id

    @property
    def rule_id(self) -> str:
        """`SDR_…`.

        Raises:
            UsageError: there is no rule.
        """
        if self.rule is None:
            raise UsageError("this number was made without a dispatch rule")
        return self.rule.sip_dispatch_rule_id


def duration(seconds: float | None) -> Duration | None:
    """A protobuf Duration of `seconds`, or None for the server's default."""
    if seconds is None:
        return None
    whole = int(seconds)
    return Duration(seconds=whole, nanos=round((seconds - whole) * 1e9))


def build_trunk(fields: Mapping[str, Any]) -> api.SIPInboundTrunkInfo:
    """A SIPInboundTrunkInfo from keyword arguments named as its fields.

    `ringing_timeout` and `max_call_duration` may be given in seconds.
    """
    values = {k: v for k, v in fields.items() if v is not None}
    for key in ("ringing_timeout", "max_call_duration"):
        if isinstance(values.get(key), (int, float)):
            values[key] = duration(values[key])
    return api.SIPInboundTrunkInfo(**values)


def build_rule(
    kind: RuleKind,
    *,
    room: str = "",
    room_prefix: str = "",
    pin: str = "",
    randomize: bool | None = None,
    agents: Sequence[api.RoomAgentDispatch] = (),
    room_config: api.RoomConfiguration | None = None,
    **fields: Any,
) -> api.SIPDispatchRuleInfo:
    """A SIPDispatchRuleInfo.

    Args:
        kind: `direct` (one room), `individual` (a room for each call, named after the caller) or
            `callee` (named after the called number).
        room: the room of a direct rule.
        room_prefix: of an individual or callee rule; livekit-server adds `_` behind it.
        pin: the PIN that callers must enter, or "".
        randomize: callee: add a random part to the name; individual: False leaves it out.
        agents: put into `room_config.agents`.
        room_config: the RoomConfiguration of the room, if the call creates it.
        fields: further fields of SIPDispatchRuleInfo, by name.
    """
    if kind == "direct":
        rule = api.SIPDispatchRule(
            dispatch_rule_direct=api.SIPDispatchRuleDirect(room_name=room, pin=pin)
        )
    elif kind == "individual":
        rule = api.SIPDispatchRule(
            dispatch_rule_individual=api.SIPDispatchRuleIndividual(
                room_prefix=room_prefix, pin=pin, no_randomness=randomize is False
            )
        )
    elif kind == "callee":
        rule = api.SIPDispatchRule(
            dispatch_rule_callee=api.SIPDispatchRuleCallee(
                room_prefix=room_prefix, pin=pin, randomize=bool(randomize)
            )
        )
    else:
        raise UsageError(f"no dispatch rule kind {kind!r}; there are direct, individual, callee")
    info = api.SIPDispatchRuleInfo(rule=rule, **{k: v for k, v in fields.items() if v is not None})
    if room_config is not None:
        info.room_config.CopyFrom(room_config)
    info.room_config.agents.extend(agents)
    if not agents and room_config is None:
        info.ClearField("room_config")
    return info
