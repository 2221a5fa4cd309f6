"""What is linted: a deployment's trunks and rules, and what a trap looks like."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from livekit.protocol.sip import SIPDispatchRuleInfo, SIPInboundTrunkInfo

__all__ = ["Found", "Setup"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is linted.

    Attributes:
        trunks: all inbound trunks.
        rules: all dispatch rules.
        agents: the agent names that workers serve (`""` for automatic dispatch), if known.
        rooms: the rooms that exist, if known.
    """

    trunks: Sequence[SIPInboundTrunkInfo]
    rules: Sequence[SIPDispatchRuleInfo]
    agents: Collection[str] | None = None
    rooms: Collection[str] | None = None


#: A trap, found: the subject's id, what is wrong, the fix.
Found = Iterator[tuple[str, str, str]]
