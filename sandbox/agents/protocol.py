"""What the agent host and the test say to each other: JSON lines over the host's pipes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Behaviour", "decode", "encode"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What the sandbox's own agent does with a job.

    Attributes:
        tone: the sine it publishes as its voice, in Hz; 0 publishes nothing.
        accept: whether it accepts jobs at all; False rejects each (JobRequest.reject).
        raises: raise an exception with this text in the entrypoint; "" does not.
        waits_for_participant: whether the entrypoint waits for a participant before it speaks.
        stays: whether it stays in the room when its participant leaves.
        hangs_up_on: a digit that makes it delete the room; "" none.
        auto_subscribe: what JobContext.connect subscribes to by itself: `subscribe_all`,
            `audio_only`, `video_only` or `subscribe_none`.
    """

    tone: float = 700.0
    accept: bool = True
    raises: str = ""
    waits_for_participant: bool = True
    stays: bool = False
    hangs_up_on: str = ""
    auto_subscribe: str = "subscribe_all"

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def encode(message: Mapping[str, Any]) -> bytes:
    """One message as a line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The message of a line.

    Raises:
        ValueError: it is not a JSON object.
    """
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError(f"not a JSON object: {line!r}")
    return message
