"""The likely cause of a failing test and its mend, read off the events of the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property

from livekit.protocol.sip import SIPDispatchRuleInfo, SIPInboundTrunkInfo

from sandbox.explain import explain
from sandbox.explain.failed import FailedCall, configuration, explain_failed_call, failed_calls
from sandbox.explain.verdict import Explanation, Outcome, State
from sandbox.phone.message import SipMessage
from sandbox.phone.sdp import parse_sdp
from sandbox.timeline import Event
from sandbox.trace.invariants.rule import Facts, PhoneCall
from sandbox.trace.invariants.rules import judge

__all__ = ["Cause", "likely_cause"]

#: A call that is up this long and has heard nothing hears nothing, in seconds.
_DEAF = 1.0
_MOST_LINES = 6
_MOST_FAULTS = 2


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a test failed, as far as its events tell.

    Attributes:
        what: the cause, one sentence.
        fix: what to do.
        seen: what shows it, a line each.
    """

    what: str
    fix: str
    seen: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The verdict, six lines at most: the cause and the mend first."""
        lines = [f"cause  {self.what}", f"fix    {self.fix}"]
        return [*lines, *self.seen][:_MOST_LINES]


@dataclass(frozen=True)
class _Case:
    """The events of a test, and what is read off them."""

    events: Sequence[Event]
    version: str

    @cached_property
    def facts(self) -> Facts:
        return Facts(self.events)

    @cached_property
    def configuration(self) -> tuple[list[SIPInboundTrunkInfo], list[SIPDispatchRuleInfo]]:
        return configuration(self.events)

    @cached_property
    def failed(self) -> list[FailedCall]:
        return failed_calls(self.events)

    def explained(self, call: FailedCall) -> Explanation:
        trunks, rules = self.configuration
        return explain(trunks, rules, call.call, version=self.version)

    def joinings(self) -> Iterator[tuple[PhoneCall, Event]]:
        """The phone's calls whose caller is, or was, in a room, and its joining."""
        calls = {call.call_id: call for call in self.facts.calls if call.call_id}
        for event in self.facts.named("webhook.participant_joined"):
            attributes = event.data["participant"].get("attributes", {})
            call = calls.get(attributes.get("sip.callIDFull", ""))
            if call is not None:
                yield call, event

    def rule_of(self, joined: Event) -> SIPDispatchRuleInfo | None:
        """The dispatch rule that led a caller to its room."""
        wanted = joined.data["participant"].get("attributes", {}).get("sip.ruleID")
        return next((r for r in self.configuration[1] if r.sip_dispatch_rule_id == wanted), None)

    def in_room(self, name: str, room: str) -> list[Event]:
        """The events `name` of a room."""
        found = []
        for event in self.facts.named(name):
            of = event.data.get("room", "")
            if (of.get("name") if isinstance(of, Mapping) else of) == room:
                found.append(event)
        return found


def likely_cause(events: Sequence[Event], *, version: str = "") -> Cause | None:
    """The cause that the events of a failing test point to; None if they point to none.

    Args:
        events: of the test.
        version: of livekit-server.
    """
    case = _Case(events, version)
    finders: tuple[Callable[[_Case], Cause | None], ...] = (
        _crash, _refusal, _existing_room, _nobody_serves, _silent_room, _mistyped_header,
        _deaf_agent, _deaf_phone, _broken_rule,
    )  # fmt: skip
    cause = next((cause for find in finders if (cause := find(case)) is not None), None)
    return cause and replace(cause, seen=(*_inflicted(case), *cause.seen))


def _inflicted(case: _Case) -> tuple[str, ...]:
    """The faults that the test itself brought about: whatever failed may be meant so."""
    start = case.events[0].at if case.events else 0.0
    return tuple(
        f"fault  {event.data.get('text', '')} (the test did this, at {event.at - start:+.3f} s)"
        for event in case.facts.named("fault.begins")
    )[:_MOST_FAULTS]


# --- something died -----------------------------------------------------------------------------


def _crash(case: _Case) -> Cause | None:
    for event in case.events:
        data = event.data
        code = f"exit code {data.get('code')}"
        if isinstance(data.get("code"), int) and data["code"] < 0:
            code = f"signal {-data['code']}"
        if event.name == "process.died":
            return Cause(f"{data['part']} died ({code})", f"look at the end of {data['part']}.log")
        if event.name == "worker.exited" and (fault := _killed(case, event)) is not None:
            return Cause(
                f"the test did it: {fault.data['text']}; its jobs are gone, and nobody speaks to "
                "the caller",
                "let the test wait for what a caller then has (silence, and a call that stays up), "
                "or end the worker later",
                (f"seen   {event}",),
            )
        if event.name == "host.died" or (event.name == "worker.exited" and data.get("code")):
            return Cause(
                f"the process of the agent worker died in mid-test ({code}): its jobs are gone, "
                "and nobody speaks to the caller",
                f"read the end of {data.get('log') or 'agent.log'} for what killed it; signal 9 is "
                "the kernel out of memory, or the test itself",
                (f"seen   {event}",),
            )
        if event.name == "job.failed":
            return Cause(
                f"the agent's job raised: {data.get('error', '')}",
                "mend the entrypoint; the traceback is in the agent's log",
                (f"seen   job {data.get('job', '')} in room {data.get('room', '')}",),
            )
        if event.name == "job.status" and data.get("status") == "failed":
            return Cause(
                f"the agent's job {data.get('job', '')} failed: its process died, or it raised",
                "read the end of the agent's log for what it said last",
                (f"seen   {event}",),
            )
        if event.name == "line.crashed":
            return Cause(
                f"the phone's line {data.get('line')} crashed ({code})",
                f"that is the phone's fault, not your code's; its log is {data.get('log_path')}",
            )
    return None


def _killed(case: _Case, exited: Event) -> Event | None:
    """The fault that ended this worker, if the test inflicted one."""
    return next(
        (
            event
            for event in case.facts.named("fault.begins")
            if event.data.get("agent") == exited.data.get("agent") and event.at <= exited.at
        ),
        None,
    )


# --- the call was refused -----------------------------------------------------------------------


def _refusal(case: _Case) -> Cause | None:
    for call in case.failed:
        if call.joined or call.final == 487:
            continue
        why = explain_failed_call([e for e in case.events if not e.call or e.call == call.id],
                                  version=case.version)  # fmt: skip
        if not why:
            continue
        verdict = case.explained(call)
        said = {line[:7].strip(): line[7:].strip() for line in why}
        cause = _in_words(verdict, said)
        seen = tuple(
            line
            for line in why
            if line[:7].strip() in ("call", "trunk", "rule", "why") and line[7:] != cause
        )
        if call.final in (400, 488) and verdict.outcome is Outcome.ROOM:
            return _no_codec(case, call, verdict) or Cause(said.get("note", ""), "", seen)
        fix = verdict.fixes[0] if verdict.fixes else said.get("note", "see the lines below")
        return Cause(cause, fix, seen)
    return None


def _in_words(verdict: Explanation, said: Mapping[str, str]) -> str:
    """Why nobody took a call: the predicate that stood in its way, not the machinery behind it."""
    if verdict.outcome not in (Outcome.SILENCE, Outcome.NOT_FOUND):
        return said.get("why") or verdict.why
    if verdict.trunks and verdict.trunk is None:
        first = min(verdict.trunks, key=lambda t: sum(not check.passed for check in t.checks))
        return f"no trunk takes the call, so no rule does: {first.id} {first.text}"
    rejected = [rule for rule in verdict.rules if rule.state is State.REJECTED]
    if not rejected:
        return "no dispatch rule takes the call: there is none"
    first_rule = min(rejected, key=lambda r: sum(not check.passed for check in r.checks))
    return f"no dispatch rule takes the call: {first_rule.id} {first_rule.text}"


def _codecs_of(trunk: SIPInboundTrunkInfo | None) -> list[str]:
    return [codec.name for codec in trunk.media.codecs] if trunk is not None else []


def _no_codec(case: _Case, call: FailedCall, verdict: Explanation) -> Cause | None:
    invite = next(
        (m for c in case.facts.calls if c.id == call.id for m in c.messages if m.is_request), None
    )
    sdp = parse_sdp(invite.body) if invite is not None else None
    if sdp is None:
        return Cause("the INVITE has no SDP offer (400)", "offer audio in the INVITE")
    offered = [name for name in sdp.media[0].formats if name != "telephone-event"]
    trunk_id = verdict.trunk.id if verdict.trunk else ""
    trunk = next((t for t in case.configuration[0] if t.sip_trunk_id == trunk_id), None)
    allowed = _codecs_of(trunk)
    takes = f"trunk {trunk_id} takes {', '.join(allowed)}" if allowed else (
        "LiveKit takes PCMU, PCMA and G722 by itself"
    )  # fmt: skip
    return Cause(
        f"no codec in common ({call.final}): the caller offers {', '.join(offered)}, {takes}",
        f"add {offered[0] if offered else 'a codec'} to media.codecs of {trunk_id}, or offer one "
        "of those"
        if allowed
        else "offer one of those",
        (f"seen   {sdp.summary()}",),
    )


# --- the caller is in its room, and alone -------------------------------------------------------


def _existing_room(case: _Case) -> Cause | None:
    for call, joined in case.joinings():
        rule = case.rule_of(joined)
        room = joined.data["room"]["name"]
        if rule is None or not rule.room_config.agents or not call.messages:
            continue
        names = {entry.agent_name for entry in rule.room_config.agents}
        started = case.in_room("webhook.room_started", room)
        served = [e for e in case.in_room("job.entered", room) if e.data["agent_name"] in names]
        if served or not started or started[0].at > call.messages[0].at:
            continue
        ahead = [
            str(e.data["participant"].get("identity", ""))
            for e in case.in_room("webhook.participant_joined", room)
            # The webhooks of a room come in order, though late at times.
            if e.at < joined.at
        ]
        by = f"{ahead[0]} had joined it" if ahead else "it had been created"
        agents = ", ".join(sorted(repr(name) for name in names))
        return Cause(
            f"room {room} existed when the call came ({by}), and room_config.agents counts only "
            f"for the join that creates the room: {agents} was not dispatched",
            "do not create or join the room before the call, or dispatch the agent by "
            "AgentDispatchService.CreateDispatch",
            (f"rule   {rule.sip_dispatch_rule_id} (room_config.agents: {agents})",),
        )
    return None


def _nobody_serves(case: _Case) -> Cause | None:
    registered = [str(e.data["name"]) for e in case.facts.named("worker.registered")
                  if "name" in e.data]  # fmt: skip
    for _call, joined in case.joinings():
        rule = case.rule_of(joined)
        room = joined.data["room"]["name"]
        offered = case.in_room("job.offered", room) or case.in_room("job.entered", room)
        if rule is None or offered:
            continue
        for name in [entry.agent_name for entry in rule.room_config.agents]:
            if name in registered or not name:
                continue
            near = get_close_matches(name, registered, n=1)
            there = ", ".join(map(repr, registered)) or "none in this test"
            meant = near[0] if near else ""
            return Cause(
                f"rule {rule.sip_dispatch_rule_id} dispatches agent {name!r}, and no worker of "
                f"that name took the job (registered: {there})",
                f"write {meant!r} as agent_name of the rule, or give the worker the name {name!r}"
                if meant
                else f"start a worker with agent_name={name!r}, or correct the rule's agent_name",
                (f"seen   the caller is in room {room}, alone",),
            )
    return None


def _answered(call: PhoneCall) -> bool:
    return call.answered_at is not None


def _silent_room(case: _Case) -> Cause | None:
    for call, joined in case.joinings():
        room = joined.data["room"]["name"]
        caller = joined.data["participant"].get("identity")
        voices = [
            e for e in case.in_room("webhook.track_published", room)
            if e.data["participant"].get("identity") != caller
        ]  # fmt: skip
        rings = not _answered(call) and not any(
            m.status >= 200 and m.method == "INVITE" for m in call.messages
        )
        if voices or not rings:
            continue
        others = [
            str(e.data["participant"].get("identity", ""))
            for e in case.in_room("webhook.participant_joined", room)
            if e.data["participant"].get("identity") != caller
        ]
        who = f"{', '.join(others)} published none" if others else "nobody else is there"
        return Cause(
            f"the caller rings in room {room} and nobody there publishes an audio track ({who}): "
            "that is what answers a call",
            "let the agent publish its audio track"
            if others
            else "send an agent there (agent=… of the rule), or join the room and publish audio",
            (f"seen   {', '.join(str(m.status) for m in call.messages if m.status)}, no 200",),
        )
    return None


# --- the call is up, and something is missing ---------------------------------------------------


def _mistyped_header(case: _Case) -> Cause | None:
    for call, joined in case.joinings():
        attributes = joined.data["participant"].get("attributes", {})
        wanted = attributes.get("sip.trunkID")
        trunk = next((t for t in case.configuration[0] if t.sip_trunk_id == wanted), None)
        invite = next((m for m in call.messages if m.is_request and m.method == "INVITE"), None)
        if trunk is None or invite is None:
            continue
        for header, attribute in trunk.headers_to_attributes.items():
            if invite.header(header) is not None:
                continue
            near = _near_header(header, invite, trunk)
            if near:
                return Cause(
                    f"trunk {trunk.sip_trunk_id} makes attribute {attribute!r} of the header "
                    f"{header!r}, and the INVITE has none; it has {near!r}",
                    f"write {near!r} in headers_to_attributes, or have the caller send {header!r}",
                    (f"seen   {near}: {invite.header(near)}",),
                )
    return None


def _near_header(wanted: str, invite: SipMessage, trunk: SIPInboundTrunkInfo) -> str:
    mapped = {name.lower() for name in trunk.headers_to_attributes}
    own = {
        header.name.lower(): header.name
        for header in invite.headers
        if header.name.lower() not in mapped
    }
    near = get_close_matches(wanted.lower(), own, n=1, cutoff=0.8)
    return own[near[0]] if near else ""


def _deaf_agent(case: _Case) -> Cause | None:
    for call, joined in case.joinings():
        room, who = joined.data["room"]["name"], joined.data["participant"].get("identity")
        published = [
            e for e in case.in_room("webhook.track_published", room)
            if e.data["participant"].get("identity") == who
        ]  # fmt: skip
        if not _answered(call) or not published:
            continue
        for job in case.in_room("job.connected", room):
            heard = [
                e for e in case.in_room("job.track", room)
                if e.data.get("job") == job.data.get("job") and e.data.get("identity") == who
            ]  # fmt: skip
            # Agents under test do not tell which tracks they take.
            tells = "identity" in job.data
            if not heard and tells:
                return Cause(
                    f"one-way audio: {who} publishes its sound in room {room}, but the agent "
                    f"({job.data.get('identity')}) did not subscribe to it, so it hears nothing",
                    "connect with auto_subscribe=SUBSCRIBE_ALL or AUDIO_ONLY, or subscribe to the "
                    "caller's track",
                    (f"seen   track_published of {who}, no job.track in {job.data.get('job')}",),
                )
    return None


def _deaf_phone(case: _Case) -> Cause | None:
    last = max((event.at for event in case.events), default=0.0)
    for call in case.facts.calls:
        up = call.answered_at
        names = {event.name for event in call.events}
        if up is None or last - up < _DEAF or "rtp.first_received" in names:
            continue
        sdp = next(
            (s for m in reversed(call.messages)
             if m.direction == "received" and (s := parse_sdp(m.body)) is not None), None,
        )  # fmt: skip
        if sdp is None or sdp.media[0].direction not in ("sendrecv", "sendonly"):
            continue
        return Cause(
            f"one-way audio: no RTP has reached the phone on call {call.id}, "
            f"{last - up:.1f} s after the answer",
            f"is {sdp.media[0].address}:{sdp.media[0].port}, from its SDP, the SIP service's real "
            "address, and its RTP port range open?",
            (f"seen   {sdp.summary()}",),
        )
    return None


def _broken_rule(case: _Case) -> Cause | None:
    """An invariant that the calls so far break."""
    for violation in judge(case.facts, at_end=False):
        seen = tuple(f"seen   {line}" for line in violation.seen)
        return Cause(f"[{violation.rule}] {violation.what}", violation.fix, seen)
    return None
