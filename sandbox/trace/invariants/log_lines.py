"""WARN and ERROR lines of the stack's logs: read where they grew, and the allow-list."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from pathlib import Path

import yaml

__all__ = ["AllowedLine", "LogLine", "LogTail", "allowed_lines", "loud_line", "stamp"]

#: A log that grew by more than this during one test is read from its end only, in bytes.
_MOST = 4_000_000
#: What a line of WARN or ERROR has in it; looked for as bytes, which costs next to nothing.
_LOUD = (
    *(
        b'"level":%b"%b' % (gap, level)
        for gap in (b"", b" ")
        for level in (b"warn", b"error", b"dpanic", b"panic", b"fatal")
    ),
    b" WARN", b" ERROR", b" CRITICAL", b"level=warn", b"level=error", b"level=fatal",
    b"panic:", b"fatal error:",
)  # fmt: skip
_LEVELS = {"warn": "WARN", "warning": "WARN", "error": "ERROR", "dpanic": "ERROR",
           "panic": "ERROR", "fatal": "ERROR", "critical": "ERROR"}  # fmt: skip
#: `2026-01-31 12:00:00,000 WARNING livekit.agents …` and `time="…" level=warning msg=…`.
_PLAIN = re.compile(
    r"^(?:\S+ ){0,3}?(WARN|WARNING|ERROR|FATAL|PANIC|CRITICAL)\b|\blevel=(warn|warning|error|fatal)"
    r"|^(panic|fatal error):",
)


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of WARN or ERROR.

    Attributes:
        part: whose log: `livekit-server`, `sip`, `agent`, ….
        level: `WARN` or `ERROR`.
        text: the message, with the keys that tell more.
        path: the file.
        at: when it was logged, in Unix seconds; None if it does not say so.
    """

    part: str
    level: str
    text: str
    path: str
    at: float | None = None

    def __str__(self) -> str:
        return f"{self.part} {self.level}: {_short(self.text)}"


@dataclass(frozen=True, slots=True)
class AllowedLine:
    """A line that breaks no rule.

    Attributes:
        part: whose log; `*` for any.
        pattern: what it looks like.
        reason: why it is no fault.
        service: the SIP service that must have run, `livekit-sip` or `stand-in`; `""` for either.
    """

    part: str
    pattern: re.Pattern[str]
    reason: str
    service: str = ""

    def covers(self, line: LogLine, service: str = "") -> bool:
        """Whether `line` is allowed by it, where `service` ran."""
        if self.service and self.service != service:
            return False
        return self.part in ("*", line.part) and self.pattern.search(line.text) is not None


@cache
def allowed_lines() -> Sequence[AllowedLine]:
    """The allow-list that comes with the package, `allowed_log_lines.yaml`."""
    text = files("sandbox.trace.invariants").joinpath("allowed_log_lines.yaml").read_text("utf-8")
    return tuple(
        AllowedLine(
            entry["log"], re.compile(entry["line"]), entry["reason"], entry.get("service", "")
        )
        for entry in yaml.safe_load(text)
    )


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 160 else f"{text[:159]}…"


def stamp(at: object) -> float | None:
    """The time of a log line in Unix seconds: of zap a number, else ISO 8601; None for no time."""
    if isinstance(at, int | float):
        return float(at)
    try:
        # slog has nanoseconds, Python's logging a comma.
        return datetime.fromisoformat(re.sub(r"[.,](\d{1,6})\d*", r".\1", str(at))).timestamp()
    except ValueError:
        return None


def _of_json(part: str, line: Mapping[str, object], path: str) -> LogLine | None:
    level = _LEVELS.get(str(line.get("level", "")).lower())
    if level is None:
        return None
    # Both Go programs put the cause in `error` (zap) or `err` (slog); livekit-agents has `message`.
    said = str(line.get("msg") or line.get("message") or "").partition("\n")[0]
    told = [f"{line['name']} {said}" if line.get("name") else said]
    told += [f"{key}={line[key]}" for key in ("error", "err", "reason") if line.get(key)]
    return LogLine(part, level, " ".join(told), path, stamp(line.get("ts")))


def loud_line(part: str, text: str, path: str = "") -> LogLine | None:
    """The line `text` of the log of `part`, if it is one of WARN or ERROR."""
    if text.startswith("{"):
        try:
            parsed = json.loads(text)
        except ValueError:
            parsed = None
        if isinstance(parsed, dict):
            return _of_json(part, parsed, path)
    found = _PLAIN.search(text)
    if found is None:
        return None
    word = next(group for group in found.groups() if group)
    if found[1]:
        # What stands before the level is the time.
        text = text[found.end() :].strip()
    return LogLine(part, _LEVELS.get(word.lower().split()[0], "ERROR"), text, path)


#: Whose logs are judged. Agents under test outlive a test, and what they log is their own affair.
_JUDGED = ("livekit-server", "sip", "agent")


def _loud(data: bytes) -> Iterator[bytes]:
    """The lines that may be of WARN or ERROR, in order."""
    starts = set()
    for mark in _LOUD:
        position = data.find(mark)
        while position >= 0:
            starts.add(data.rfind(b"\n", 0, position) + 1)
            end = data.find(b"\n", position)
            position = data.find(mark, end) if end >= 0 else -1
    for start in sorted(starts):
        end = data.find(b"\n", start)
        yield data[start : end if end >= 0 else len(data)]


class LogTail:
    """The logs of livekit-server, the SIP service and the sandbox's own agents, from now on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ends = {path: path.stat().st_size for path in folder.glob("*.log")}
        self._since = time.time()

    def lines(self) -> Iterator[LogLine]:
        """The WARN and ERROR lines that were logged since, log by log.

        A container's log comes a moment late: what it says of before is not about now.
        """
        for path in sorted(self._folder.glob("*.log")):
            start, end = self._ends.get(path, 0), path.stat().st_size
            if path.stem not in _JUDGED or end <= start:
                continue
            with path.open("rb") as file:
                file.seek(max(start, end - _MOST))
                data = file.read(end - start)
            for line in _loud(data):
                found = loud_line(path.stem, line.decode(errors="replace"), str(path))
                if found is not None and (found.at is None or found.at >= self._since):
                    yield found
