"""Trunks, rules and calls in a line each."""

from __future__ import annotations

from typing import Any

from livekit import api

from sandbox.explain import IncomingCall

CALLER, NUMBER = "+15550001", "+15559999"


def trunk(id_: str = "ST_a", **fields: Any) -> api.SIPInboundTrunkInfo:
    return api.SIPInboundTrunkInfo(sip_trunk_id=id_, **fields)


def direct(
    name: str = "SDR_a", room: str = "lobby", pin: str = "", **fields: Any
) -> api.SIPDispatchRuleInfo:
    rule = api.SIPDispatchRule(
        dispatch_rule_direct=api.SIPDispatchRuleDirect(room_name=room, pin=pin)
    )
    return api.SIPDispatchRuleInfo(sip_dispatch_rule_id=name, rule=rule, **fields)


def individual(
    name: str = "SDR_a", prefix: str = "call", pin: str = "", plain: bool = False, **fields: Any
) -> api.SIPDispatchRuleInfo:
    rule = api.SIPDispatchRule(
        dispatch_rule_individual=api.SIPDispatchRuleIndividual(
            room_prefix=prefix, pin=pin, no_randomness=plain
        )
    )
    return api.SIPDispatchRuleInfo(sip_dispatch_rule_id=name, rule=rule, **fields)


def callee(
    name: str = "SDR_a", prefix: str = "call", pin: str = "", randomize: bool = False, **fields: Any
) -> api.SIPDispatchRuleInfo:
    rule = api.SIPDispatchRule(
        dispatch_rule_callee=api.SIPDispatchRuleCallee(
            room_prefix=prefix, pin=pin, randomize=randomize
        )
    )
    return api.SIPDispatchRuleInfo(sip_dispatch_rule_id=name, rule=rule, **fields)


def call(caller: str = CALLER, to: str = NUMBER, **fields: Any) -> IncomingCall:
    fields.setdefault("from_host", "pbx.example")
    fields.setdefault("source", "127.0.0.1")
    return IncomingCall(from_user=caller, to_user=to, **fields)
