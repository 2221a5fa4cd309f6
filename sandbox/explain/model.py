"""The verdict on a call: trunks, then the password, then rules, then the PIN, as LiveKit goes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from livekit.protocol.sip import SIPDispatchRuleInfo, SIPInboundTrunkInfo

from sandbox.errors import UsageError
from sandbox.explain import advice
from sandbox.explain.call import IncomingCall
from sandbox.explain.digest import accepts
from sandbox.explain.grant import grant, hidden_caller
from sandbox.explain.rules import RuleMatch, match_rules, pin_of
from sandbox.explain.trunks import TrunkMatch, match_trunks
from sandbox.explain.verdict import Explanation, Grant, Outcome
from sandbox.explain.versions import ServerVersion

__all__ = ["explain"]

_WIRE = {
    Outcome.ROOM: "100, 180 until somebody in the room publishes audio, then 200",
    Outcome.PIN_PROMPT: "100, 180, 200 at once; a voice asks for the PIN, ended with #",
    Outcome.WRONG_PIN: "200, the PIN prompt, then BYE some 2 s after the #",
    Outcome.SILENCE: "100, 180, then nothing: no final response ever, not even to CANCEL",
    Outcome.NOT_FOUND: '100, 180, 404 "Does not match Trunks or Dispatch Rules"',
    Outcome.CHALLENGE: '100, 407 "Unauthorized" with a Digest challenge',
    Outcome.UNAUTHORIZED: '100, 401 "Unauthorized"',
    Outcome.CRASH: "100, 180, then 503: livekit-server is gone, and every room with it",
}
_LONGEST_PIN = 16
_PIN_ROOM = "200, the PIN prompt; in the room some 1.5 s after the #"


@dataclass(slots=True)
class _Case:
    """A call on its way through the model."""

    trunks: Sequence[SIPInboundTrunkInfo]
    rules: Sequence[SIPDispatchRuleInfo]
    call: IncomingCall
    version: ServerVersion
    rooms: Collection[str] | None
    trunk_match: TrunkMatch
    rule_match: RuleMatch
    notes: list[str] = field(default_factory=list)

    def done(
        self, outcome: Outcome, why: str, *, wire: str = "", won: Grant | None = None
    ) -> Explanation:
        return Explanation(
            call=self.call,
            version=self.version,
            outcome=outcome,
            trunks=self.trunk_match.verdicts,
            rules=self.rule_match.verdicts,
            wire=wire or _WIRE[outcome],
            why=why,
            fixes=tuple(advice.fixes(outcome, self.call, self.trunks, self.rules,
                                     self.trunk_match, self.rule_match)),
            grant=won,
            notes=tuple(self.notes),
        )  # fmt: skip


def explain(
    trunks: Sequence[SIPInboundTrunkInfo],
    rules: Sequence[SIPDispatchRuleInfo],
    call: IncomingCall,
    *,
    version: ServerVersion | str = "",
    rooms: Collection[str] | None = None,
) -> Explanation:
    """Say what becomes of a call, and why.

    Args:
        trunks: all inbound trunks of the deployment.
        rules: all its dispatch rules.
        call: the call.
        version: of livekit-server; the release that was checked by default.
        rooms: the rooms that exist, or None if that is not known.

    Raises:
        UsageError: the call's source is no IP address, or the version no version.
    """
    if isinstance(version, str):
        version = ServerVersion.parse(version)
    if call.source:
        try:
            ip_address(call.source)
        except ValueError:
            raise UsageError(
                f"the source {call.source!r} is no IP address",
                remedy="give the address that livekit-sip receives the INVITE from, without port",
            ) from None
    trunk_match = match_trunks(trunks, call)
    winner = trunk_match.winner
    trunk_id = winner.sip_trunk_id if winner is not None else ""
    ids = [trunk.sip_trunk_id for trunk in trunks]
    rule_match = match_rules(rules, replace(call, pin=None), trunk_id, ids)
    case = _Case(trunks, rules, call, version, rooms, trunk_match, rule_match)
    if not call.source and any(trunk.allowed_addresses for trunk in trunks):
        case.notes.append("the source address is not known: allowed_addresses were not checked")
    if trunk_match.error:
        return case.done(
            Outcome.ERROR,
            f"livekit-server cannot choose a trunk: {trunk_match.error}",
            wire='100, 503 "Try again later"',
        )
    return _password(case) or _rules(case, trunk_id, ids)


def _password(case: _Case) -> Explanation | None:
    trunk = case.trunk_match.winner
    if trunk is None or not (trunk.auth_username and trunk.auth_password):
        if case.call.credentials is not None:
            case.notes.append("nobody asks for the credentials: no trunk with user and password")
        return None
    if case.call.credentials is None:
        return case.done(
            Outcome.CHALLENGE, f"trunk {trunk.sip_trunk_id} wants user and password of the caller"
        )
    verdict = accepts(case.call.credentials, trunk.auth_username, trunk.auth_password)
    if verdict is None:
        case.notes.append("the password of the captured INVITE could not be checked")
    elif not verdict:
        wrong = "user" if case.call.credentials.username != trunk.auth_username else "password"
        return case.done(
            Outcome.UNAUTHORIZED,
            f"the {wrong} is not that of trunk {trunk.sip_trunk_id}"
            f" (user {trunk.auth_username!r}, sent {case.call.credentials.username!r})",
        )
    return None


def _rules(case: _Case, trunk_id: str, ids: Sequence[str]) -> Explanation:
    case_call = case.call
    if case.rule_match.error:
        return _rule_error(case, case.rule_match.error)
    first = case.rule_match.winner
    if first is None:
        return _nobody(case)
    broken = _cannot_hide(case, first, asked=bool(pin_of(first)))
    if broken is not None:
        return broken
    if not pin_of(first):
        if case_call.pin is not None:
            case.notes.append("nobody asks for the PIN: the rule that wins has none")
            case.call = replace(case_call, pin=None)
        return _room(case, first)
    if case_call.pin is None:
        won = grant(case.trunk_match.winner, first, case_call, case.version, case.rooms)
        return case.done(
            Outcome.PIN_PROMPT,
            f"rule {first.sip_dispatch_rule_id} wins and has a PIN",
            won=won,
        )
    if len(case_call.pin) > _LONGEST_PIN:
        return case.done(
            Outcome.WRONG_PIN,
            f"{len(case_call.pin)} digits were entered, and livekit-sip takes {_LONGEST_PIN}",
        )
    case.rule_match = match_rules(case.rules, case_call, trunk_id, ids)
    second = case.rule_match.winner
    if second is None:
        entered = "a bare #" if case_call.pin == "" else "this PIN"
        return case.done(Outcome.WRONG_PIN, f"no rule in reach takes {entered}")
    return _cannot_hide(case, second, entered=True) or _room(case, second)


_REFUSED = '100, 180, 503 "Try again later"'


def _rule_error(case: _Case, error: str) -> Explanation:
    return case.done(
        Outcome.ERROR,
        f"livekit-server refuses all rules in reach of the call: {error}",
        wire=_REFUSED,
    )


def _nobody(case: _Case) -> Explanation:
    if case.version.refuses_with_404:
        return case.done(Outcome.NOT_FOUND, "no rule matched -> livekit-server answered REJECT")
    return case.done(
        Outcome.SILENCE,
        "no rule matched -> livekit-server answered DROP -> livekit-sip drops silently "
        '(its log says 486 "flood"; not rate limiting)',
    )


def _cannot_hide(
    case: _Case, rule: SIPDispatchRuleInfo, *, asked: bool = False, entered: bool = False
) -> Explanation | None:
    """What goes wrong when `rule` hides the caller; `asked`: it only has its PIN asked for yet."""
    if not rule.hide_phone_number:
        return None
    hidden = hidden_caller(case.call.from_user)
    name = rule.sip_dispatch_rule_id
    if hidden.crash:
        return case.done(
            Outcome.CRASH,
            f"rule {name} hides the caller's number, the From header has no user, and "
            "livekit-server 1.13.5 panics on it (slice bounds out of range)",
        )
    if hidden.error and not asked:
        return case.done(
            Outcome.ERROR,
            f"rule {name} hides the caller's number by cutting it inside a letter, and "
            f"livekit-server fails: {hidden.error}",
            wire="200, the PIN prompt, then BYE" if entered else _REFUSED,
        )
    return None


def _room(case: _Case, rule: SIPDispatchRuleInfo) -> Explanation:
    won = grant(case.trunk_match.winner, rule, case.call, case.version, case.rooms)
    return case.done(
        Outcome.ROOM,
        f"rule {rule.sip_dispatch_rule_id} takes the call",
        wire="" if case.call.pin is None else _PIN_ROOM,
        won=won,
    )
