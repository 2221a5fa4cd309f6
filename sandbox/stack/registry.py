"""The stacks that `sandbox up` holds in front: a file each, gone when the stack is."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sandbox.stack.endpoints import Endpoints

__all__ = ["RunningStack", "forget", "running", "write"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningStack:
    """A stack that somebody's `sandbox up` runs.

    Attributes:
        name: as given by `--name`.
        pid: of the `sandbox up` process.
        env: its endpoints, as environment variables.
        path: the file that tells of it.
    """

    name: str
    pid: int
    env: dict[str, str]
    path: Path


def _folder() -> Path:
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    return Path(base) / f"livekit-sip-sandbox-{os.getuid()}"


def _start_time(pid: int) -> str:
    """The kernel's start time of a process: with the pid it names one process for good."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _alive(pid: int, started: str) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not started or _start_time(pid) == started


def write(name: str, endpoints: Endpoints) -> Path:
    """Tell that this process runs the stack `name`; returns the file that says so."""
    folder = _folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    content = {
        "name": name,
        "pid": os.getpid(),
        "started": _start_time(os.getpid()),
        "env": endpoints.env(),
    }
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(content))
    part.chmod(0o600)
    part.rename(path)
    return path


def forget(path: Path) -> None:
    """Remove the file, and its folder when it was the last."""
    path.unlink(missing_ok=True)
    try:
        path.parent.rmdir()
    except OSError:
        return


def running() -> list[RunningStack]:
    """The stacks that run now; files of dead ones are removed on the way."""
    found = []
    for path in sorted(_folder().glob("*.json")):
        try:
            content = json.loads(path.read_text())
            pid, started = int(content["pid"]), str(content["started"])
        except (OSError, ValueError, KeyError):
            continue
        if not _alive(pid, started):
            forget(path)
            continue
        found.append(
            RunningStack(name=content["name"], pid=pid, env=dict(content["env"]), path=path)
        )
    return found
