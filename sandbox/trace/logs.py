"""The log lines of a test: those that warn, and those that name one of its calls.

Looked for when a trace is written, never while a test runs: at a test's start only the sizes of
the logs are kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

__all__ = ["log_lines", "log_sizes"]

_MOST_LINES = 400
_MOST_BYTES = 8 * 1024 * 1024
_LEVELS = {"debug": 10, "info": 20, "warn": 30, "warning": 30, "error": 40, "fatal": 50}
_LEVEL = re.compile(r"\b(DEBUG|INFO|WARN(?:ING)?|ERROR|FATAL|panic)\b", re.IGNORECASE)
_STAMP = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?")


def log_sizes(folder: Path) -> dict[str, int]:
    """The size of each log in the folder of a stack."""
    return {path.name: path.stat().st_size for path in folder.glob("*.log")}


def _stamp(text: str) -> float | None:
    try:
        at = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except ValueError:
        return None
    return at.timestamp()


def _parse(line: str) -> dict[str, Any]:
    """A line as `at` (Unix seconds or None), `level` and `text`."""
    if line.startswith("{"):
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if isinstance(entry, dict):
            at = entry.pop("ts", entry.pop("time", None))
            level = str(entry.pop("level", ""))
            text = str(entry.pop("msg", ""))
            entry.pop("logger", None)
            more = " ".join(
                f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in entry.items()
            )
            return {
                "at": float(at) if isinstance(at, int | float) else _stamp(str(at)),
                "level": level.lower(),
                "text": f"{text}  {more}".strip(),
            }
    found, level_found = _STAMP.search(line), _LEVEL.search(line)
    return {
        "at": _stamp(found[0]) if found else None,
        "level": level_found[1].lower() if level_found else "",
        "text": line,
    }


def log_lines(
    folder: Path, sizes: Mapping[str, int], names: Iterable[str]
) -> dict[str, list[dict[str, Any]]]:
    """By log, the lines since `sizes` that warn or have one of `names` in them.

    The agent's log is taken whole: it is the test's own program. At most 400 lines a log, the
    last ones; a line is cut at 2000 characters.

    Args:
        folder: of the stack's logs.
        sizes: of `log_sizes`, when the test began.
        names: ids of its calls, rooms, participants and jobs.
    """
    wanted = [name for name in names if len(name) > 3]
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*.log")):
        with path.open("rb") as log:
            start = sizes.get(path.name, 0)
            size = path.stat().st_size
            log.seek(max(start if start <= size else 0, size - _MOST_BYTES))
            text = log.read(_MOST_BYTES).decode(errors="replace")
        lines = []
        for line in text.splitlines():
            if not line.strip():
                continue
            entry = _parse(line[:2000])
            named = any(name in line for name in wanted)
            loud = _LEVELS.get(entry["level"], 0) >= 30 or entry["level"] == "panic"
            if named or loud or path.stem.startswith("agent"):
                lines.append(entry)
        if lines:
            found[path.stem] = lines[-_MOST_LINES:]
    return found
