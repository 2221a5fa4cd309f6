"""The shape of a verdict: what each trunk and rule said to a call, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from sandbox.explain.call import IncomingCall
from sandbox.explain.versions import ServerVersion

__all__ = [
    "Agent",
    "Check",
    "Explanation",
    "Grant",
    "Outcome",
    "RuleVerdict",
    "State",
    "TrunkVerdict",
]


class Outcome(Enum):
    """What becomes of the call."""

    ROOM = "room"
    PIN_PROMPT = "pin prompt"
    WRONG_PIN = "wrong pin"
    SILENCE = "silence"
    NOT_FOUND = "404"
    CHALLENGE = "407"
    UNAUTHORIZED = "401"
    ERROR = "503"
    CRASH = "crash"

    @property
    def good(self) -> bool:
        """Whether the call gets where its caller wants it, or is on the way there."""
        return self in (Outcome.ROOM, Outcome.PIN_PROMPT)


class State(Enum):
    """What a trunk or a rule has to do with a call."""

    WINS = "wins"
    MATCHED = "matched"
    REJECTED = "rejected"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One predicate of a trunk or rule.

    Attributes:
        field: the field it reads, as in the API: `numbers`, `allowed_addresses`, `trunk_ids`.
        passed: whether the call satisfies it.
        text: in words, with the values.
    """

    field: str
    passed: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkVerdict:
    """What one inbound trunk said.

    Attributes:
        id: `ST_…`.
        name: its name, or `""`.
        state: what it has to do with the call.
        wildcard: whether it has no `numbers` and so takes every called number.
        checks: its predicates, in the order they are read.
        text: the deciding one, in words.
    """

    id: str
    name: str
    state: State
    wildcard: bool
    checks: tuple[Check, ...]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleVerdict:
    """What one dispatch rule said.

    Attributes:
        id: `SDR_…`.
        name: its name, or `""`.
        target: what it leads to, short: `direct:lobby`, `individual:call_`.
        state: what it has to do with the call.
        priority: smaller wins; None for a rule that did not match.
        checks: its predicates, in the order they are read.
        text: the deciding one, in words.
    """

    id: str
    name: str
    target: str
    state: State
    priority: int | None
    checks: tuple[Check, ...]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """An agent that the call brings into its room.

    Attributes:
        name: its agent_name; `""` is automatic dispatch: any worker without a name.
        metadata: what it sees as `job.metadata`.
    """

    name: str
    metadata: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What the call gets.

    Attributes:
        room: the room's name; `{random}` stands for twelve letters or digits made for each call.
        identity: of the caller as a participant.
        name: of the participant.
        metadata: of the participant.
        attributes: of the participant when it joins; `{…}` stands for what only the call knows.
        attributes_open: whether headers that are not known here may add attributes.
        agents: the agents that its joining dispatches.
        agents_note: what there is to know about them.
        room_exists: whether the room was there already; None if that is not known.
        ringing_timeout: seconds until a call that nobody answers gets 486.
        max_call_duration: seconds until it is hung up, counted from the INVITE.
        answer_headers: headers of the 200 OK.
        trunk_id: of the trunk, or `""`.
        rule_id: of the rule.
        notes: what else there is to know.
    """

    room: str
    identity: str
    name: str
    metadata: str
    attributes: Mapping[str, str]
    attributes_open: bool
    agents: tuple[Agent, ...]
    agents_note: str
    room_exists: bool | None
    ringing_timeout: float
    max_call_duration: float
    answer_headers: Mapping[str, str]
    trunk_id: str
    rule_id: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """All there is to say about a call.

    Attributes:
        call: the call.
        version: the livekit-server it was explained for.
        outcome: what becomes of it.
        trunks: the verdict of each trunk.
        rules: the verdict of each rule.
        wire: what the caller sees on the wire, in words.
        why: the reason, one sentence.
        fixes: what to change, the likeliest first.
        grant: what the call gets; None unless it gets into a room. For a PIN prompt: what the
            right PIN of the winning rule gets.
        notes: what else is worth knowing.
    """

    call: IncomingCall
    version: ServerVersion
    outcome: Outcome
    trunks: tuple[TrunkVerdict, ...]
    rules: tuple[RuleVerdict, ...]
    wire: str
    why: str
    fixes: tuple[str, ...] = ()
    grant: Grant | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def trunk(self) -> TrunkVerdict | None:
        """The trunk that takes the call."""
        return next((trunk for trunk in self.trunks if trunk.state is State.WINS), None)

    @property
    def rule(self) -> RuleVerdict | None:
        """The rule that takes the call."""
        return next((rule for rule in self.rules if rule.state is State.WINS), None)
