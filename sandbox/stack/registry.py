"""The stacks that `sandbox up` holds in front: a file each, gone when the stack is."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.errors import UsageError
from sandbox.stack.endpoints import Endpoints

__all__ = [
    "RunningStack",
    "claim",
    "forget",
    "is_alive",
    "publish",
    "running",
    "start_time",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningStack:
    """A stack that somebody's `sandbox up` runs.

    Attributes:
        name: as given by `--name`.
        pid: of the `sandbox up` process.
        env: its endpoints, as environment variables; `{}` while it is being started.
        path: the file that tells of it.
    """

    name: str
    pid: int
    env: dict[str, str]
    path: Path


def _file(name: str) -> Path:
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    return Path(base) / f"livekit-sip-sandbox-{os.getuid()}-{name}.json"


def start_time(pid: int) -> str:
    """The kernel's start time of a process: with the pid it names one process for good."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def is_alive(pid: int, started: str) -> bool:
    """Whether process `pid` lives, and is the one that started then (`""` if not known)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not started or start_time(pid) == started


def claim(name: str) -> Path:
    """Take the name `name` for a stack that this process is about to start.

    Returns:
        The file that tells of it; `publish` fills in the endpoints, `forget` removes it.

    Raises:
        UsageError: a stack of this name runs, or is being started.
    """
    running()  # sweeps the files of the dead
    if not name.replace("-", "").replace("_", "").isalnum():
        raise UsageError(f"{name!r} is no name for a stack", remedy="use letters, digits, - and _")
    path = _file(name)
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(_content(name, {}))
    part.chmod(0o600)
    try:
        # A link appears whole, and only if there is none: of two that start, one gets the name.
        os.link(part, path)
    except FileExistsError:
        raise UsageError(
            f"a stack named {name!r} is up already, or just being started",
            remedy="`sandbox status` shows it, `sandbox down` ends it, --name runs a second one",
        ) from None
    finally:
        part.unlink()
    return path


def publish(
    path: Path, name: str, endpoints: Endpoints, more: Mapping[str, str] | None = None
) -> None:
    """Tell where the stack of a claimed name listens, and what `more` there is to tell."""
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(_content(name, {**endpoints.env(), **(more or {})}))
    part.chmod(0o600)
    part.rename(path)


def _content(name: str, env: dict[str, str]) -> str:
    pid = os.getpid()
    return json.dumps({"name": name, "pid": pid, "started": start_time(pid), "env": env})


def forget(path: Path) -> None:
    """Remove the file."""
    path.unlink(missing_ok=True)


def running() -> list[RunningStack]:
    """The stacks that run now; files of dead ones are removed on the way."""
    found = []
    for path in sorted(_file("").parent.glob(_file("*").name)):
        try:
            # The temp folder is everybody's: a file of somebody else's tells nothing.
            if path.stat().st_uid != os.getuid():
                continue
            content = json.loads(path.read_text())
            pid, started = int(content["pid"]), str(content["started"])
        except (OSError, ValueError, KeyError):
            continue
        if not is_alive(pid, started):
            forget(path)
            continue
        found.append(
            RunningStack(name=content["name"], pid=pid, env=dict(content["env"]), path=path)
        )
    return found
