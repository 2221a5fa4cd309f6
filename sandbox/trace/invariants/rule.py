"""What an invariant is: a rule over the facts of one test, and what breaks it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from sandbox.errors import SandboxError
from sandbox.phone.message import SipMessage
from sandbox.timeline import Event
from sandbox.trace.invariants.log_lines import LogLine

__all__ = ["Facts", "InvariantBroken", "PhoneCall", "Rule", "Violation"]


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule, broken once.

    Attributes:
        rule: the name of the rule.
        what: what is wrong, in words.
        seen: the evidence, a line each.
        fix: what to do.
        call: the phone's id of the call it is about, or `""`.
    """

    rule: str
    what: str
    seen: tuple[str, ...] = ()
    fix: str = ""
    call: str = ""


class InvariantBroken(SandboxError):
    """Raised at the end of a test in which a rule that holds for every call was broken.

    Attributes:
        violations: all of them.
    """

    def __init__(self, test: str, violations: Sequence[Violation], *, evidence: str = "") -> None:
        self.violations = tuple(violations)
        names = ", ".join(dict.fromkeys(violation.rule for violation in violations))
        seen = []
        for violation in violations:
            seen.append(f"[{violation.rule}] {violation.what}")
            seen += [f"    {line}" for line in violation.seen]
        super().__init__(
            f"{test} broke {names}: what holds after every call",
            seen=seen,
            remedy=next((v.fix for v in violations if v.fix), "")
            or "see docs/invariants.md for what the rule means",
            evidence=evidence,
        )

    def __str__(self) -> str:
        name = self.violations[0].rule
        return (
            f"{super().__str__()}\n"
            f'  meant    @pytest.mark.sandbox_allow("{name}", reason="…") if the test breaks it on '
            "purpose (docs/invariants.md)"
        )


@dataclass(frozen=True)
class PhoneCall:
    """One call of the phone, as the timeline has it.

    Attributes:
        id: the phone's id of it.
        messages: its SIP messages in the order of the wire.
        events: its other events.
    """

    id: str
    messages: tuple[SipMessage, ...] = ()
    events: tuple[Event, ...] = ()

    @cached_property
    def ended(self) -> Event | None:
        """Its `call.ended`; None if the line crashed, or the test ended before it."""
        return next((event for event in self.events if event.name == "call.ended"), None)

    @cached_property
    def answered_at(self) -> float | None:
        """When it was answered, in Unix seconds."""
        return next((event.at for event in self.events if event.name == "call.answered"), None)

    @property
    def call_id(self) -> str:
        """Its Call-ID."""
        return self.messages[0].call_id if self.messages else ""

    def after(self, message: SipMessage) -> tuple[SipMessage, ...]:
        """The messages behind `message`."""
        position = next(n for n, known in enumerate(self.messages) if known is message)
        return self.messages[position + 1 :]


@dataclass(frozen=True)
class Facts:
    """What the rules judge: one test, over.

    Attributes:
        events: of the test, in the order they were learned of.
        log_lines: the WARN and ERROR lines that the logs grew by.
        calls_active: the SIP service's gauge of calls by direction; None if it is not known.
    """

    events: Sequence[Event]
    log_lines: Sequence[LogLine] = ()
    calls_active: Mapping[str, float] | None = None

    @cached_property
    def calls(self) -> tuple[PhoneCall, ...]:
        """The phone's calls."""
        messages: dict[str, list[SipMessage]] = {}
        events: dict[str, list[Event]] = {}
        for event in self.events:
            if not event.call or event.source != "phone":
                continue
            if event.name not in ("sip.sent", "sip.received"):
                events.setdefault(event.call, []).append(event)
                continue
            try:
                message = SipMessage.parse(
                    str(event.data.get("raw", "")),
                    direction=event.name.removeprefix("sip."),
                    at=event.at,
                    transport=str(event.data.get("transport", "")),
                    peer=str(event.data.get("peer", "")),
                )
            except ValueError:
                continue
            messages.setdefault(event.call, []).append(message)
        return tuple(
            PhoneCall(name, tuple(messages.get(name, ())), tuple(events.get(name, ())))
            for name in dict.fromkeys([*messages, *events])
        )

    @cached_property
    def crashed_lines(self) -> frozenset[str]:
        """The lines whose process died: their calls cannot be judged."""
        return frozenset(
            str(event.data.get("line")) for event in self.events if event.name == "line.crashed"
        )

    def whole_calls(self) -> Iterator[PhoneCall]:
        """The calls whose line lived to see their end."""
        for call in self.calls:
            # Without a status it is the phone's service that says so: the line's process is gone.
            if call.ended is None or not call.ended.data.get("status"):
                continue
            if call.id.partition(".")[0] not in self.crashed_lines:
                yield call

    def named(self, *names: str) -> Iterator[Event]:
        """The events of these names."""
        return (event for event in self.events if event.name in names)


Found = Iterable[tuple[str, str, Sequence[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An invariant.

    Attributes:
        name: what `sandbox_allow` and docs/invariants.md call it.
        means: what must hold, one line.
        source: where that is written.
        fix: what to do about a violation.
        find: yields call, what is wrong, and the evidence.
        at_end: whether it can be judged only when everything has been taken down.
    """

    name: str
    means: str
    source: str
    fix: str
    find: Callable[[Facts], Found]
    at_end: bool = False

    def check(self, facts: Facts) -> Iterator[Violation]:
        """The violations of this rule."""
        for call, what, seen in self.find(facts):
            yield Violation(rule=self.name, what=what, seen=tuple(seen), fix=self.fix, call=call)
