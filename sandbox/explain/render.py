"""A verdict in words: plain text, styled for a terminal, JSON, and six lines for a failing test."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from rich.text import Text

from sandbox.explain.lints import Lint
from sandbox.explain.verdict import (
    Explanation,
    Grant,
    Outcome,
    RuleVerdict,
    State,
    TrunkVerdict,
)

__all__ = ["as_json", "as_rich", "as_text", "verdict_lines"]

#: A line of a verdict: its label, its text, the style of the text.
Line = tuple[str, str, str]

_STYLES = {
    State.WINS: "bold green",
    State.MATCHED: "green",
    State.REJECTED: "dim",
    State.CONFLICT: "bold red",
}
_WORDS = {
    State.WINS: "matched",
    State.MATCHED: "beaten",
    State.REJECTED: "rejected",
    State.CONFLICT: "conflict",
}
_HEADLINES = {
    Outcome.ROOM: "gets through",
    Outcome.PIN_PROMPT: "is asked for a PIN",
    Outcome.WRONG_PIN: "is hung up on: wrong PIN",
    Outcome.SILENCE: "is met with silence",
    Outcome.NOT_FOUND: "is refused with 404",
    Outcome.CHALLENGE: "is challenged with 407",
    Outcome.UNAUTHORIZED: "is refused with 401",
    Outcome.ERROR: "is refused with 503",
    Outcome.CRASH: "crashes livekit-server",
}


def _who(verdict: TrunkVerdict | RuleVerdict) -> str:
    if isinstance(verdict, RuleVerdict):
        return f"{verdict.id} ({verdict.target})"
    return f'{verdict.id} ("{verdict.name}")' if verdict.name else verdict.id


def _width(*verdicts: TrunkVerdict | RuleVerdict) -> int:
    return min(max((len(_who(verdict)) for verdict in verdicts), default=0), 40)


def _table(
    verdicts: Sequence[TrunkVerdict] | Sequence[RuleVerdict], label: str, width: int
) -> Iterator[Line]:
    for verdict in verdicts:
        yield (
            label,
            f"{_who(verdict):<{width}}  {_WORDS[verdict.state]:<8}  {verdict.text}",
            _STYLES[verdict.state],
        )
    if not verdicts:
        yield (label, "there is none", "yellow")


def _duration(seconds: float) -> str:
    if seconds >= 3600 and seconds % 3600 == 0:
        return f"{seconds / 3600:g} h"
    return f"{seconds:g} s"


def _grant(grant: Grant, label: str) -> Iterator[Line]:
    exists = {True: " (exists already)", False: " (is created)", None: ""}[grant.room_exists]
    yield (label, f"room      {grant.room or '(no name)'}{exists}", "bold")
    yield ("", f"caller    {grant.identity}, named {grant.name!r}", "")
    if grant.metadata:
        yield ("", f"metadata  {grant.metadata}", "")
    for number, (key, value) in enumerate(grant.attributes.items()):
        yield ("", f"{'' if number else 'attribute':<9} {key} = {value}", "")
    if grant.attributes_open:
        yield ("", f"{'':<9} and sip.h.<name> of headers that are not known here", "dim")
    for agent in grant.agents:
        name = agent.name or "(automatic dispatch)"
        told = f", job.metadata = {agent.metadata}" if agent.metadata else ""
        yield ("", f"agent     {name}{told}", "")
    if not grant.agents:
        yield ("", "agent     none", "yellow")
    if grant.agents_note:
        yield ("", f"{'':<9} {grant.agents_note}", "dim")
    for number, (key, value) in enumerate(grant.answer_headers.items()):
        yield ("", f"{'' if number else '200 OK':<9} {key}: {value}", "")
    yield (
        "",
        (
            f"limits    rings {_duration(grant.ringing_timeout)}, "
            f"lasts {_duration(grant.max_call_duration)}"
        ),
        "",
    )
    for note in grant.notes:
        yield ("note", note, "yellow")


def _lines(explanation: Explanation, lints: Sequence[Lint]) -> Iterator[Line]:
    call = explanation.call
    source = f" from {call.source}" if call.source else ""
    good = explanation.outcome.good
    yield (
        "call",
        (
            f"{call.from_user or '(no user)'} -> {call.to_user or '(no user)'}{source} "
            f"{_HEADLINES[explanation.outcome]}"
        ),
        "bold green" if good else "bold red",
    )
    width = _width(*explanation.trunks, *explanation.rules)
    yield from _table(explanation.trunks, "trunk", width)
    yield from _table(explanation.rules, "rule", width)
    yield ("why", explanation.why, "")
    yield ("wire", explanation.wire, "")
    for fix in explanation.fixes:
        yield ("fix", fix, "bold yellow")
    if explanation.grant is not None:
        asked = explanation.outcome is Outcome.PIN_PROMPT
        yield from _grant(explanation.grant, "with PIN" if asked else "gets")
    for note in explanation.notes:
        yield ("note", note, "yellow")
    for found in lints:
        yield ("lint", f"[{found.id}] {found.text}", "yellow")
        yield ("", f"fix: {found.fix}", "")


def _label_once(lines: Iterator[Line]) -> Iterator[Line]:
    last = ""
    for label, text, style in lines:
        yield ("" if label == last else label, text, style)
        last = label or last


def as_text(explanation: Explanation, lints: Sequence[Lint] = ()) -> str:
    """The whole verdict as plain text."""
    lines = _label_once(_lines(explanation, lints))
    return "\n".join(f"  {label:<8} {text}".rstrip() for label, text, _ in lines)


def as_rich(explanation: Explanation, lints: Sequence[Lint] = ()) -> Text:
    """The whole verdict for a terminal."""
    text = Text()
    for label, content, style in _label_once(_lines(explanation, lints)):
        text.append(f"  {label:<8} ", style="cyan")
        text.append(content, style=style)
        text.append("\n")
    text.rstrip()
    return text


def verdict_lines(explanation: Explanation, *, limit: int = 6) -> list[str]:
    """The verdict in at most `limit` lines (four or more): for a failing test."""
    trunks = _most_telling(explanation.trunks)
    rules = _most_telling(explanation.rules)
    # The reason and the first fix always fit; then the trunk, the rule, then more of each.
    room = limit - 1 - bool(explanation.fixes)
    shown_trunks, shown_rules = trunks[:1], rules[:1]
    for verdict in [*rules[1:], *trunks[1:]]:
        if len(shown_trunks) + len(shown_rules) >= room:
            break
        if isinstance(verdict, RuleVerdict):
            shown_rules = [*shown_rules, verdict]
        else:
            shown_trunks = [*shown_trunks, verdict]
    width = _width(*shown_trunks, *shown_rules)
    lines: list[Line] = [*_some(explanation.trunks, shown_trunks, "trunk", width)]
    lines += _some(explanation.rules, shown_rules, "rule", width)
    lines.append(("why", explanation.why, ""))
    lines += [("fix", fix, "") for fix in explanation.fixes[: max(1, limit - len(lines))]]
    if explanation.grant is not None and len(lines) < limit:
        lines.append(("gets", f"room {explanation.grant.room}", ""))
    return [f"{label:<6} {text}" for label, text, _ in _label_once(iter(lines[:limit]))]


def _some(
    everything: Sequence[TrunkVerdict] | Sequence[RuleVerdict],
    shown: Sequence[TrunkVerdict | RuleVerdict],
    label: str,
    width: int,
) -> Iterator[Line]:
    rest = len(everything) - len(shown)
    lines = list(_table(shown, label, width))  # type: ignore[arg-type]
    for number, (name, text, style) in enumerate(lines):
        more = f" (+{rest} more)" if rest and number == len(lines) - 1 else ""
        yield (name, text + more, style)


def _most_telling(
    verdicts: Sequence[TrunkVerdict] | Sequence[RuleVerdict],
) -> list[TrunkVerdict | RuleVerdict]:
    """Winners and conflicts first, then what came nearest to a match."""
    rank = {State.WINS: 0, State.CONFLICT: 0, State.MATCHED: 1, State.REJECTED: 2}

    def key(verdict: TrunkVerdict | RuleVerdict) -> tuple[int, int]:
        return rank[verdict.state], sum(not check.passed for check in verdict.checks)

    return sorted(verdicts, key=key)


def _verdict_json(verdict: TrunkVerdict | RuleVerdict) -> dict[str, Any]:
    data: dict[str, Any] = {
        "id": verdict.id,
        "name": verdict.name,
        "state": verdict.state.value,
        "text": verdict.text,
        "checks": [
            {"field": check.field, "passed": check.passed, "text": check.text}
            for check in verdict.checks
        ],
    }
    if isinstance(verdict, RuleVerdict):
        data |= {"target": verdict.target, "priority": verdict.priority}
    else:
        data["wildcard"] = verdict.wildcard
    return data


def as_json(explanation: Explanation, lints: Sequence[Lint] = ()) -> str:
    """The whole verdict as JSON."""
    call, won = explanation.call, explanation.grant
    data: dict[str, Any] = {
        "outcome": explanation.outcome.value,
        "why": explanation.why,
        "wire": explanation.wire,
        "fixes": list(explanation.fixes),
        "notes": list(explanation.notes),
        "server_version": str(explanation.version),
        "call": {
            "from": call.from_user,
            "from_host": call.from_host,
            "to": call.to_user,
            "source": call.source,
            "pin_entered": call.pin is not None,
            "credentials": call.credentials is not None,
        },
        "trunks": [_verdict_json(verdict) for verdict in explanation.trunks],
        "rules": [_verdict_json(verdict) for verdict in explanation.rules],
        "gets": None if won is None else _grant_json(won),
        "lints": [found.as_dict() for found in lints],
    }
    return json.dumps(data, indent=2, ensure_ascii=False)


def _grant_json(grant: Grant) -> dict[str, Any]:
    return {
        "room": grant.room,
        "room_exists": grant.room_exists,
        "identity": grant.identity,
        "name": grant.name,
        "metadata": grant.metadata,
        "attributes": dict(grant.attributes),
        "attributes_open": grant.attributes_open,
        "agents": [{"agent_name": a.name, "metadata": a.metadata} for a in grant.agents],
        "agents_note": grant.agents_note,
        "ringing_timeout": grant.ringing_timeout,
        "max_call_duration": grant.max_call_duration,
        "answer_headers": dict(grant.answer_headers),
        "trunk_id": grant.trunk_id,
        "rule_id": grant.rule_id,
        "notes": list(grant.notes),
    }
