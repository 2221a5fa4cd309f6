"""What a caller may choose about a stack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["ENGINES", "StackOptions"]

ENGINES = ("auto", "native", "compose", "attach")


@dataclass(frozen=True, slots=True, kw_only=True)
class StackOptions:
    """How a stack is brought up.

    Attributes:
        engine: one of `ENGINES`.
        run_dir: the folder for logs and configuration files; made when it is missing.
        name: tells side-by-side stacks apart (an xdist worker's id, say).
        server_config: keys laid over livekit-server's configuration (None removes a key).
        sip_config: keys laid over the SIP service's configuration.
        start_timeout: seconds that each part gets to answer.
    """

    engine: str = "auto"
    run_dir: Path
    name: str = "main"
    server_config: Mapping[str, Any] = field(default_factory=dict)
    sip_config: Mapping[str, Any] = field(default_factory=dict)
    start_timeout: float = 15.0
