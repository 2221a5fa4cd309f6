"""The verdict on a failing test in words: what, where, the likely cause, what to do."""

from __future__ import annotations

import linecache
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sandbox.errors import SandboxError
from sandbox.explain import explain_failed_call
from sandbox.timeline import Event
from sandbox.trace.causes import likely_cause
from sandbox.trace.invariants.rule import InvariantBroken

__all__ = ["verdict"]

_MOST_TRACEBACK = 20_000


def _where(error: pytest.ExceptionInfo[BaseException], path: Path) -> dict[str, Any]:
    """The innermost line of the test's own file, and its text."""
    own = [entry for entry in error.traceback if Path(str(entry.path)) == path]
    if not own:
        return {}
    line = own[-1].lineno + 1
    return {"file": str(path), "line": line, "text": linecache.getline(str(path), line).strip()}


def _headline(error: BaseException, text: str) -> str:
    if isinstance(error, SandboxError):
        return error.what
    # pytest's words for an assertion are better than the exception's own.
    shown = [line[1:].strip() for line in text.splitlines() if line.startswith("E ")]
    return shown[0] if shown else f"{type(error).__name__}: {error}".strip()


def verdict(
    error: pytest.ExceptionInfo[BaseException] | None,
    *,
    path: Path,
    phase: str,
    text: str,
    events: Sequence[Event],
    version: str = "",
) -> dict[str, Any]:
    """What to say first about a failing test; `{}` if it did not fail.

    Args:
        error: what it raised.
        path: of the test's file.
        phase: `setup`, `call` or `teardown`.
        text: pytest's own account of the failure.
        events: of the test.
        version: of livekit-server.

    Returns:
        `what`, `where` (`file`, `line`, `text`), `phase`, `seen`, `cause`, `fix`, `evidence` (of
        the cause), `why` (the lines of `sandbox explain`), `traceback`.
    """
    if error is None:
        return {}
    value = error.value
    why = explain_failed_call(events, version=version)
    said = {line.split(" ", 1)[0]: line.split(" ", 1)[1].strip() for line in why if " " in line}
    known = value if isinstance(value, SandboxError) else None
    found = likely_cause(events, version=version)
    if found is not None and not isinstance(value, InvariantBroken):
        said = {"why": found.what, "fix": found.fix}
    return {
        "what": _headline(value, text),
        "where": _where(error, path),
        "phase": phase,
        "seen": list(known.seen) if known else [],
        # What shows the cause, where `why` does not say it: a line's first word is what it is.
        "evidence": [line for line in found.seen if line not in why] if found is not None else [],
        # What `explain` found out of trunks and rules is surer than an error's guess.
        "cause": said.get("why") or (known.cause if known else ""),
        "fix": said.get("fix") or (known.remedy if known else ""),
        "why": why,
        "traceback": text[-_MOST_TRACEBACK:],
    }
