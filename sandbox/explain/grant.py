"""What a call gets that a rule took: room, identity, attributes, agents, timeouts."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration
from livekit.protocol.sip import SIPDispatchRuleInfo, SIPInboundTrunkInfo

from sandbox.explain.call import IncomingCall
from sandbox.explain.headers import header_attributes
from sandbox.explain.rules import kind_of, pin_of, room_or_prefix
from sandbox.explain.verdict import Agent, Grant
from sandbox.explain.versions import ServerVersion

__all__ = ["RANDOM", "Hidden", "grant", "hidden_caller", "room_name"]

#: Stands for the twelve letters or digits that livekit-server draws for each call.
RANDOM = "{random}"
_RINGING = 180.0
_LONGEST = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Hidden:
    """How livekit-server fails to hide a caller, if it does.

    Attributes:
        digits: what is left of the caller's number in names.
        crash: the process ends.
        error: it answers with an error.
    """

    digits: str
    crash: bool = False
    error: str = ""


def hidden_caller(user: str) -> Hidden:
    """What hide_phone_number leaves of a From user (1.13.5): its last four bytes, or the last.

    An empty user makes livekit-server 1.13.5 panic ("slice bounds out of range [-1:]"), and bytes
    that cut a letter in two are no text and fail the request.
    """
    raw = user.encode()
    if not raw:
        return Hidden("", crash=True)
    tail = raw[-4:] if len(raw) > 4 else raw[-1:]
    try:
        return Hidden(tail.decode())
    except UnicodeDecodeError:
        return Hidden("", error="string field contains invalid UTF-8")


def room_name(rule: SIPDispatchRuleInfo, call: IncomingCall, version: ServerVersion) -> str:
    """The room that a rule leads a call to; `{random}` where a part is drawn for each call."""
    kind, prefix = kind_of(rule), room_or_prefix(rule)
    if kind == "direct":
        return prefix
    if kind == "individual":
        who = hidden_caller(call.from_user).digits if rule.hide_phone_number else call.from_user
        random = not rule.rule.dispatch_rule_individual.no_randomness
        lead = f"{prefix}_" if prefix or version.underscore_before_caller else ""
    else:
        who = call.to_user
        random = rule.rule.dispatch_rule_callee.randomize
        lead = f"{prefix}_" if prefix else ""
    return f"{lead}{who}" + (f"_{RANDOM}" if random else "")


def _attributes(
    trunk: SIPInboundTrunkInfo | None, rule: SIPDispatchRuleInfo, call: IncomingCall
) -> tuple[dict[str, str], bool]:
    """The participant's attributes as it joins, and whether unknown headers may add some."""
    values = dict(rule.attributes)
    values["sip.callID"] = "{SCL_…}"
    values["sip.ruleID"] = rule.sip_dispatch_rule_id
    values["sip.trunkID"] = trunk.sip_trunk_id if trunk is not None else ""
    if not rule.hide_phone_number:
        values["sip.phoneNumber"] = call.from_user
        values["sip.hostname"] = call.from_host or ("" if call.complete else "{From host}")
        values["sip.trunkPhoneNumber"] = call.to_user
    known, pending = header_attributes(trunk, call)
    values.update(pending)
    values.update(known)
    values["sip.callIDFull"] = call.call_id or "{Call-ID}"
    values["sip.callTag"] = call.from_tag or "{From tag}"
    values["sip.callStatus"] = "active" if pin_of(rule) or call.pin is not None else "ringing"
    included = trunk is not None and trunk.include_headers != 0
    # livekit-server takes an empty value for the order to delete the attribute.
    return {k: v for k, v in sorted(values.items()) if v}, included and not call.complete


def _agents(
    rule: SIPDispatchRuleInfo, room: str, exists: bool | None
) -> tuple[tuple[Agent, ...], str]:
    named = tuple(
        Agent(name=entry.agent_name, metadata=entry.metadata) for entry in rule.room_config.agents
    )
    if exists:
        if named:
            return (), (
                "the room exists already: room_config is not read, so nobody is dispatched "
                f"(would be {', '.join(repr(agent.name) for agent in named)})"
            )
        return (), "the room exists already: nobody new is dispatched"
    note = ""
    if not named:
        named = (Agent(name=""),)
        note = "no room_config.agents: automatic dispatch, one worker without agent_name joins"
    if exists is None and RANDOM not in room:
        also = "only if this call creates the room; in a room that exists nobody is dispatched"
        note = f"{note}; {also}" if note else also
    return named, note


def _seconds(value: Duration, default: float) -> float:
    seconds: float = value.seconds + value.nanos / 1e9
    return seconds if seconds > 0 else default


def grant(
    trunk: SIPInboundTrunkInfo | None,
    rule: SIPDispatchRuleInfo,
    call: IncomingCall,
    version: ServerVersion,
    rooms: Collection[str] | None = None,
) -> Grant:
    """What `call` gets from `rule`, having come over `trunk`.

    Args:
        trunk: the trunk that took it, or None.
        rule: the rule that took it.
        call: the call.
        version: of livekit-server.
        rooms: the rooms that exist; None if that is not known.
    """
    room = room_name(rule, call, version)
    exists = None if rooms is None else room in rooms
    attributes, attributes_open = _attributes(trunk, rule, call)
    agents, note = _agents(rule, room, exists)
    if rule.hide_phone_number:
        digest = hashlib.sha256(call.from_user.encode()).digest()[:8].hex()
        identity, name = f"sip_{digest}", f"Phone {hidden_caller(call.from_user).digits}"
    else:
        identity, name = f"sip_{call.from_user}", f"Phone {call.from_user}"
    headers: dict[str, str] = {}
    if trunk is not None and not pin_of(rule) and call.pin is None:
        headers = dict(trunk.headers)
        for attribute, header in trunk.attributes_to_headers.items():
            headers[header] = attributes.get(attribute, f"{{attribute {attribute}}}")
    return Grant(
        room=room,
        identity=identity,
        name=name,
        metadata=rule.metadata,
        attributes=attributes,
        attributes_open=attributes_open,
        agents=agents,
        agents_note=note,
        room_exists=exists,
        ringing_timeout=_seconds(trunk.ringing_timeout, _RINGING) if trunk else _RINGING,
        max_call_duration=min(
            _seconds(trunk.max_call_duration, _LONGEST) if trunk else _LONGEST, _LONGEST
        ),
        answer_headers=headers,
        trunk_id=trunk.sip_trunk_id if trunk is not None else "",
        rule_id=rule.sip_dispatch_rule_id,
        notes=_notes(trunk, rule, call, room),
    )


def _notes(
    trunk: SIPInboundTrunkInfo | None, rule: SIPDispatchRuleInfo, call: IncomingCall, room: str
) -> tuple[str, ...]:
    notes = []
    if trunk is None:
        notes.append(
            "no trunk took the call: no password and no filter applies, and anyone can place it"
        )
    if RANDOM not in room:
        notes.append("a second call of this caller while the first is up throws the first out")
    if not room:
        notes.append("the room has no name: the join fails, and the caller gets 486")
    if rule.room_preset:
        notes.append(
            f"room_preset={rule.room_preset!r}: if livekit-server's room.room_configurations "
            "lacks it, the join fails and the caller gets 486"
        )
    if not call.from_user:
        notes.append("the From header has no user: all such callers share one identity")
    mapped = trunk is not None and bool(trunk.headers or trunk.attributes_to_headers)
    if mapped and (call.pin is not None or pin_of(rule)):
        notes.append("a PIN call gets neither `headers` nor `attributes_to_headers` on its 200 OK")
    return tuple(notes)
