"""The log lines of a test: those that warn, and those that name one of its calls.

Looked for when a trace is written, never while a test runs: at a test's start only the sizes of
the logs are kept. A line that says when it was written is a row of the timeline too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sandbox.timeline import Event
from sandbox.trace.invariants.log_lines import allowed_lines, loud_line, stamp

__all__ = ["LOUD", "log_events", "log_lines", "log_sizes"]

_MOST_LINES = 400
_MOST_BYTES = 8 * 1024 * 1024
_MOST_TEXT = 2000
_MOST_FIELD = 800
_LEVELS = {"debug": 10, "info": 20, "warn": 30, "warning": 30, "error": 40, "dpanic": 50,
           "panic": 50, "fatal": 50, "critical": 50}  # fmt: skip
#: From this level on a line is kept whatever it names.
LOUD = 30
_LEVEL = re.compile(r"\b(DEBUG|INFO|WARN(?:ING)?|ERROR|FATAL|CRITICAL|panic)\b", re.IGNORECASE)
_LOUD_WORDS = tuple(
    word
    for level in ("warn", "error", "fatal", "panic", "critical")
    for word in (level, level.upper(), level.title())
)
_STAMP = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?")
#: Whose log each file is, where its name does not say it in the timeline's words.
_SOURCES = {"livekit-server": "server"}


def log_sizes(folder: Path) -> dict[str, int]:
    """The size of each log in the folder of a stack."""
    return {path.name: path.stat().st_size for path in folder.glob("*.log")}


def _cut(value: str, most: int) -> str:
    return value if len(value) <= most else f"{value[: most - 1]}…"


def _field(value: Any) -> Any:
    """A value as it is, or the beginning of its text where it is long."""
    text = value if isinstance(value, str) else json.dumps(value)
    return value if len(text) <= _MOST_FIELD else _cut(text, _MOST_FIELD)


def _parse(line: str) -> dict[str, Any]:
    """A line as `at` (Unix seconds or None), `level`, `text`, and `fields` where it has some."""
    if line.startswith("{"):
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if isinstance(entry, dict):
            at = entry.pop("ts", entry.pop("time", entry.pop("timestamp", None)))
            level = str(entry.pop("level", "")).lower()
            # zap and slog have `msg`, livekit-agents `message`.
            text = str(entry.pop("msg", entry.pop("message", "")))
            return {
                "at": stamp(at),
                "level": level,
                "text": _cut(text, _MOST_TEXT),
                "fields": {key: _field(value) for key, value in entry.items()},
            }
    found, level_found = _STAMP.search(line), _LEVEL.search(line)
    return {
        "at": stamp(found[0]) if found else None,
        "level": level_found[1].lower() if level_found else "",
        "text": _cut(line, _MOST_TEXT),
    }


def _rank(entry: Mapping[str, Any]) -> int:
    return _LEVELS.get(entry["level"], 20)


def _kept(lines: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """At most `_MOST_LINES`: the loudest, of the same loudness the last."""
    if len(lines) <= _MOST_LINES:
        return list(lines)
    chosen = sorted(range(len(lines)), key=lambda n: (_rank(lines[n]), n))[-_MOST_LINES:]
    left = len(lines) - len(chosen)
    told = {"at": None, "level": "", "text": f"… {left} more lines about this test in {name}"}
    return [told, *(lines[n] for n in sorted(chosen))]


def _part(log: str) -> str:
    """Whose log it is: agent-desk-1 is an agent's, sip-2 that of a second SIP service."""
    return log if log in _SOURCES else log.partition("-")[0]


def _no_fault(part: str, line: str, service: str) -> str:
    """Why a line that warns is no fault, if it is in the allow-list."""
    loud = loud_line(part, line)
    if loud is None:
        return ""
    return next((one.reason for one in allowed_lines() if one.covers(loud, service)), "")


def log_lines(
    folder: Path, sizes: Mapping[str, int], names: Iterable[str], *, service: str = ""
) -> dict[str, list[dict[str, Any]]]:
    """By log, the lines since `sizes` that warn or have one of `names` in them.

    The agent's log is taken whole: it is the test's own program. At most 400 lines a log, what
    warns first and what debugs last; a message is cut at 2000 characters, a field at 800.

    Args:
        folder: of the stack's logs.
        sizes: of `log_sizes`, when the test began.
        names: ids of its calls, rooms, participants and jobs.
        service: what ran as SIP service, `livekit-sip` or `stand-in`: for the allow-list.

    Returns:
        Each line as `at` (Unix seconds, or None), `level`, `text` (the message), `names` (those of
        `names` that are in it), `fields` where the log is JSON, and `no_fault` (why) where it warns
        of what the invariants' allow-list has.
    """
    # Longest first: a room's name may be the beginning of another's.
    wanted = sorted((name for name in names if len(name) > 3), key=len, reverse=True)
    pattern = re.compile("|".join(rf"(?<![\w-]){re.escape(name)}(?![\w-])" for name in wanted))
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*.log")):
        with path.open("rb") as log:
            start = sizes.get(path.name, 0)
            size = path.stat().st_size
            log.seek(max(start if start <= size else 0, size - _MOST_BYTES))
            text = log.read(_MOST_BYTES).decode(errors="replace")
        own = path.stem.startswith("agent")
        lines = []
        for line in text.splitlines():
            if not line.strip():
                continue
            # Most lines are none of a test's, and told so fastest by what they have not in them.
            named = (
                sorted(set(pattern.findall(line))) if any(name in line for name in wanted) else []
            )
            kept = bool(named) or own
            if not kept and not any(word in line for word in _LOUD_WORDS):
                continue
            entry = _parse(line)
            entry["names"] = named
            if _rank(entry) >= LOUD and (why := _no_fault(_part(path.stem), line, service)):
                entry["no_fault"] = why
            if kept or _rank(entry) >= LOUD:
                lines.append(entry)
        if lines:
            found[path.stem] = _kept(lines, path.name)
    return found


def log_events(logs: Mapping[str, Sequence[dict[str, Any]]]) -> list[tuple[dict[str, Any], Event]]:
    """The lines of `log_lines` that say when they were written, each with its event.

    Its source is whose log it is (`sip`, `server`, `agent`, …), its name `log.` and the level.
    """
    events = []
    for name, lines in logs.items():
        source = _SOURCES.get(name, _part(name))
        for line in lines:
            if line["at"] is None:
                continue
            data = {"log": name, **{key: value for key, value in line.items() if key != "at"}}
            level = {"warning": "warn"}.get(line["level"], line["level"]) or "line"
            events.append(
                (line, Event(source=source, name=f"log.{level}", at=line["at"], data=data))
            )
    return events
