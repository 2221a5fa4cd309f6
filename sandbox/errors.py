"""The one tree of errors: what happened, what was seen, the likely cause, what to do, the evidence.

SandboxError
├── SetupError            a part is missing or could not be built on this machine
├── StackError            a part of the stack did not start, or died
├── AgentError            an agent under test crashed, raised, or refused a job
├── PhoneError            the phone service refused a request, or crashed
├── DeadlineMissed        an expected event did not come in time
├── CallFailed            a call ended in another way than the scenario asked for
├── GoldenMismatch        a call's ladder is not the one in the repository
├── LeakError             a test left something behind
└── UsageError            the sandbox was asked for something it cannot do
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "AgentError",
    "CallFailed",
    "DeadlineMissed",
    "GoldenMismatch",
    "LeakError",
    "PhoneError",
    "SandboxError",
    "SetupError",
    "StackError",
    "UsageError",
]


class SandboxError(Exception):
    """Raised when the sandbox cannot do what it was asked.

    Attributes:
        what: what happened, one line.
        seen: what was observed, a line each.
        cause: the likely cause, or `""`.
        remedy: what to do next, or `""`.
        evidence: where to look (a log's path, a report), or `""`.
    """

    def __init__(
        self,
        what: str,
        *,
        seen: Sequence[str] = (),
        cause: str = "",
        remedy: str = "",
        evidence: str = "",
    ) -> None:
        self.what = what
        self.seen = tuple(seen)
        self.cause = cause
        self.remedy = remedy
        self.evidence = evidence
        super().__init__(what)

    def __str__(self) -> str:
        lines = [self.what]
        for label, value in (
            ("seen", self.seen),
            ("cause", self.cause),
            ("fix", self.remedy),
            ("look at", self.evidence),
        ):
            values = value if isinstance(value, tuple) else (value,) if value else ()
            for number, line in enumerate(values):
                lines.append(f"  {label if number == 0 else '':<8} {line}")
        return "\n".join(lines)


class SetupError(SandboxError):
    """Raised when a program or library the stack needs is missing and could not be installed."""


class StackError(SandboxError):
    """Raised when a part of the stack did not become ready, or died while in use."""


class AgentError(SandboxError):
    """Raised when an agent under test ended, raised, or refused a job that was waited for."""


class PhoneError(SandboxError):
    """Raised when the phone refused a request or is gone."""


class UsageError(SandboxError):
    """Raised when an argument or an option makes no sense; nothing was done."""


class GoldenMismatch(SandboxError):
    """Raised when a call's ladder differs from its golden file; shows the difference."""


class LeakError(SandboxError):
    """Raised at the end of a test that left a call, room, trunk, rule or agent behind."""


class CallFailed(SandboxError):
    """Raised when a call ended in another way than the scenario asked for.

    Attributes:
        status: the SIP status code that ended it (RFC 3261 section 21), or 0.
        reason: its reason phrase.
    """

    def __init__(
        self,
        what: str,
        *,
        status: int = 0,
        reason: str = "",
        seen: Sequence[str] = (),
        cause: str = "",
        remedy: str = "",
        evidence: str = "",
    ) -> None:
        super().__init__(what, seen=seen, cause=cause, remedy=remedy, evidence=evidence)
        self.status = status
        self.reason = reason


class DeadlineMissed(SandboxError):
    """Raised when an expected event did not come in time; says what came instead.

    Attributes:
        expected: what was waited for.
        within: the deadline, in seconds.
    """

    def __init__(
        self,
        *,
        expected: str,
        within: float,
        seen: Sequence[str] = (),
        ended_by: str = "",
        cause: str = "",
        remedy: str = "",
        evidence: str = "",
    ) -> None:
        self.expected = expected
        self.within = within
        what = f"expected {expected}, but it did not come within {within:g} s"
        if ended_by:
            what = f"expected {expected}, but before it came: {ended_by}"
        super().__init__(
            what,
            seen=seen or ("nothing at all",),
            cause=cause,
            remedy=remedy,
            evidence=evidence,
        )
