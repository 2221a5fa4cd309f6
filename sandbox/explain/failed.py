"""The verdict on a call that failed in a test, from what the timeline recorded of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

from google.protobuf.json_format import ParseDict
from livekit.protocol.sip import SIPDispatchRuleInfo, SIPInboundTrunkInfo

from sandbox.errors import UsageError
from sandbox.explain.call import Credentials, IncomingCall
from sandbox.explain.model import explain
from sandbox.explain.render import verdict_lines
from sandbox.explain.verdict import Explanation, Outcome
from sandbox.timeline import Event

__all__ = ["FailedCall", "configuration", "explain_failed_call", "failed_calls"]


def configuration(
    events: Iterable[Event],
) -> tuple[list[SIPInboundTrunkInfo], list[SIPDispatchRuleInfo]]:
    """The inbound trunks and dispatch rules that the API's answers on the timeline leave behind."""
    trunks: dict[str, SIPInboundTrunkInfo] = {}
    rules: dict[str, SIPDispatchRuleInfo] = {}
    for event in events:
        message = event.data.get("message")
        if event.name != "api.answer" or not isinstance(message, dict):
            continue
        method = str(event.data.get("method", "")).removeprefix("SIP/")
        if method in ("CreateSIPInboundTrunk", "UpdateSIPInboundTrunk"):
            trunks[message["sip_trunk_id"]] = _parsed(message, SIPInboundTrunkInfo())
        elif method in ("CreateSIPDispatchRule", "UpdateSIPDispatchRule"):
            rules[message["sip_dispatch_rule_id"]] = _parsed(message, SIPDispatchRuleInfo())
        elif method == "DeleteSIPTrunk":
            trunks.pop(message.get("sip_trunk_id", ""), None)
        elif method == "DeleteSIPDispatchRule":
            rules.pop(message.get("sip_dispatch_rule_id", ""), None)
    return list(trunks.values()), list(rules.values())


def _parsed(message: dict[str, Any], into: Any) -> Any:
    return ParseDict(message, into, ignore_unknown_fields=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedCall:
    """A call to LiveKit that did not get through.

    Attributes:
        id: the phone's id of the call.
        call: what its INVITE said.
        statuses: the responses to the INVITE, in order.
        joined: the room that its caller joined, or `""`.
        hung_up: whether the SIP service ended it by BYE.
    """

    id: str
    call: IncomingCall
    statuses: tuple[int, ...]
    joined: str
    hung_up: bool

    @property
    def final(self) -> int:
        """The final status of the INVITE; 0 for silence."""
        return next((status for status in reversed(self.statuses) if status >= 200), 0)


_STATUS = re.compile(r"SIP/2\.0 (\d{3})")
_CSEQ = re.compile(r"^CSeq\s*:\s*\d+\s+INVITE\s*$", re.IGNORECASE | re.MULTILINE)
_VIA = re.compile(r"^(?:Via|v)\s*:\s*SIP/2\.0/\w+\s+\[?([0-9a-fA-F.:]+?)\]?(?::\d+)?\s*(?:;|$)",
                  re.IGNORECASE | re.MULTILINE)  # fmt: skip
_TO_TAG = re.compile(r"^(?:To|t)\s*:[^\r\n]*;\s*tag=", re.IGNORECASE | re.MULTILINE)


def _source(raw: str) -> str:
    """The address that the phone sent from, by its Via."""
    found = _VIA.search(raw)
    try:
        return str(ip_address(found[1])) if found else ""
    except ValueError:
        return ""


def failed_calls(events: Sequence[Event]) -> list[FailedCall]:
    """The calls from the phone that got no room or no answer, in the order they were placed."""
    failed = []
    for name in dict.fromkeys(event.call for event in events if event.call):
        mine = [event for event in events if event.call == name]
        raws = [(event.name, str(event.data.get("raw", ""))) for event in mine]
        invites = [
            raw
            for kind, raw in raws
            if kind == "sip.sent" and raw.startswith("INVITE ") and not _TO_TAG.search(raw)
        ]
        if not invites:
            continue
        try:
            call = IncomingCall.from_invite(invites[-1], source=_source(invites[-1]))
        except UsageError:
            continue
        statuses = tuple(
            int(found[1])
            for kind, raw in raws
            if kind == "sip.received" and (found := _STATUS.match(raw)) and _CSEQ.search(raw)
        )
        one = FailedCall(
            id=name,
            call=call,
            statuses=statuses,
            joined=_joined(events, call.call_id),
            hung_up=any(kind == "sip.received" and raw.startswith("BYE ") for kind, raw in raws),
        )
        if not (200 <= one.final < 300 and one.joined):
            failed.append(one)
    return failed


def _joined(events: Iterable[Event], call_id: str) -> str:
    for event in events:
        if event.name != "webhook.participant_joined":
            continue
        attributes = event.data.get("participant", {}).get("attributes", {})
        if attributes.get("sip.callIDFull") == call_id:
            return str(event.data.get("room", {}).get("name", ""))
    return ""


def explain_failed_call(
    events: Sequence[Event],
    trunks: Sequence[SIPInboundTrunkInfo] | None = None,
    rules: Sequence[SIPDispatchRuleInfo] | None = None,
    *,
    version: str = "",
    limit: int = 6,
) -> list[str]:
    """Why the calls of a failing test did not get through: at most `limit` lines for each.

    Calls that a CANCEL of the test's own ended, or that were answered, say nothing.

    Args:
        events: of the test, the API's answers among them.
        trunks: the inbound trunks; by default those that the events leave behind.
        rules: the dispatch rules; by default those that the events leave behind.
        version: of livekit-server; the release that was checked by default.
        limit: of lines for each call, four or more.
    """
    if trunks is None or rules is None:
        known_trunks, known_rules = configuration(events)
        trunks = known_trunks if trunks is None else trunks
        rules = known_rules if rules is None else rules
    lines: list[str] = []
    for one in failed_calls(events):
        verdict = _lines(one, trunks, rules, version, limit - 1)
        if verdict:
            lines.append(f"call   {one.call.from_user} -> {one.call.to_user}: {_seen(one)}")
            lines += verdict
    return lines


def _seen(one: FailedCall) -> str:
    shown = ", ".join(str(status) for status in dict.fromkeys(one.statuses)) or "nothing"
    if one.joined:
        return f"{shown}; its caller was in room {one.joined}"
    return shown if one.final else f"{shown}, then no final response"


def _lines(
    one: FailedCall,
    trunks: Sequence[SIPInboundTrunkInfo],
    rules: Sequence[SIPDispatchRuleInfo],
    version: str,
    limit: int,
) -> list[str]:
    if one.joined:
        return _after_joining(one, trunks, rules, version)
    if one.final == 487:
        # Cancelled while it rang: whoever asks for a verdict knows that.
        return []
    call = one.call
    if one.final == 401 and call.credentials is not None:
        # The digest was refused: no need to work it out again.
        call = replace(
            call, credentials=Credentials(username=call.credentials.username, password="")
        )
    verdict = explain(trunks, rules, call, version=version)
    if 200 <= one.final < 300 and verdict.outcome is not Outcome.PIN_PROMPT:
        return []
    lines = verdict_lines(verdict, limit=limit)
    if verdict.outcome is Outcome.PIN_PROMPT:
        if one.hung_up:
            lines[-1:] = ["why    the PIN that was entered is that of no rule in reach"]
        return lines[:limit]
    if not _agrees(verdict, one.final):
        lines = lines[: limit - 1]
        lines.append(f"note   {_disagreement(verdict, one)}")
    return lines


def _agrees(verdict: Explanation, final: int) -> bool:
    expected = {
        Outcome.SILENCE: 0,
        Outcome.NOT_FOUND: 404,
        Outcome.CHALLENGE: 407,
        Outcome.UNAUTHORIZED: 401,
        Outcome.ERROR: 503,
        Outcome.CRASH: 503,
    }
    return expected.get(verdict.outcome) == final


def _disagreement(verdict: Explanation, one: FailedCall) -> str:
    if verdict.outcome is not Outcome.ROOM:
        return f"trunks and rules do not account for this: they lead to {verdict.outcome.value}"
    reasons = {
        0: "the rules let it in, so look at livekit-server's and the SIP service's logs: "
        "is the server up, and the configuration the same when the call came?",
        400: "400 is the SDP: no offer, no common codec, or encryption is required",
        486: "486 before an answer: room deleted or full, caller removed, the same number called "
        "again into the same room, ringing_timeout, or an unknown room_preset",
        503: "503: livekit-server did not answer the SIP service",
    }
    return reasons.get(one.final, f"trunks and rules let it in; the {one.final} has another cause")


def _after_joining(
    one: FailedCall,
    trunks: Sequence[SIPInboundTrunkInfo],
    rules: Sequence[SIPDispatchRuleInfo],
    version: str,
) -> list[str]:
    if one.final == 487:
        return []
    lines = []
    won = explain(trunks, rules, one.call, version=version).grant
    if one.final == 0:
        lines.append(
            f"why    nobody in room {one.joined} published an audio track, so it went on ringing"
        )
        if won is not None and won.room == one.joined and won.agents:
            names = ", ".join(agent.name or "(automatic dispatch)" for agent in won.agents)
            lines.append(f"agents {names}: {won.agents_note or 'has a worker of that name run?'}")
        lines.append("fix    let the agent publish audio, or check agent_name and its log")
    elif one.final == 486:
        lines.append(
            "why    486 after joining: the caller was removed (a second call of the same number "
            "into one room does that), the room deleted, or ringing_timeout passed"
        )
    return lines
