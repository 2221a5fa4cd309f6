"""Who owns what is in Docker, and the removal of what nobody owns any more."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
from pathlib import Path

from sandbox.errors import StackError
from sandbox.stack import compose_reaper
from sandbox.stack.docker_cli import OWNER_LABEL, RUN_LABEL, Docker

__all__ = ["ComposeReaper", "owner_is_dead", "owner_of_this_process", "remove_run", "sweep"]

_REAPER = Path(compose_reaper.__file__)
_KINDS = (("ps", "--all"), ("network", "ls"), ("volume", "ls"))


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _start_time(pid: int) -> str:
    """The kernel's start time of a process: with the pid it names one process for good."""
    fields = _first_line(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else ""


def _here() -> tuple[str, str, str]:
    """This machine, this boot of it, and the namespace in which our process numbers count."""
    machine = _first_line("/etc/machine-id") or platform.node()
    boot = _first_line("/proc/sys/kernel/random/boot_id")
    try:
        space = os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        space = ""
    return machine, boot, space


def owner_of_this_process(pid: int | None = None) -> str:
    """The value of the owner label for this process (or `pid`)."""
    pid = os.getpid() if pid is None else pid
    return "/".join((*_here(), str(pid), _start_time(pid)))


def owner_is_dead(owner: str) -> bool:
    """Whether the process that `owner` names is certainly gone.

    One of another machine (a shared daemon) or of another container may be alive: False. One of an
    earlier boot of this machine is dead.
    """
    parts = owner.split("/")
    if len(parts) != 5 or not parts[3].isdigit():
        return False
    machine, boot, space = _here()
    if parts[0] != machine:
        return False
    if boot and parts[1] and parts[1] != boot:
        return True
    if parts[2] != space:
        return False
    try:
        os.kill(int(parts[3]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return bool(parts[4]) and _start_time(int(parts[3])) != parts[4]


def sweep(docker: Docker) -> list[str]:
    """Remove the containers, networks and volumes of runs whose process is dead.

    Returns:
        The ids of the runs that were swept.

    Raises:
        StackError: Docker does not answer.
    """
    owners: dict[str, str] = {}
    show = f'{{{{.Label "{RUN_LABEL}"}}}} {{{{.Label "{OWNER_LABEL}"}}}}'
    for kind in _KINDS:
        for line in docker.lines(*kind, "--filter", f"label={OWNER_LABEL}", "--format", show):
            run, _, owner = line.partition(" ")
            owners[run] = owner
    dead = sorted(run for run, owner in owners.items() if run and owner_is_dead(owner))
    for run in dead:
        remove_run(docker, run)
    return dead


def remove_run(docker: Docker, run: str) -> None:
    """Remove everything that carries the run's label.

    Raises:
        StackError: some of it is still there.
    """
    label = f"{RUN_LABEL}={run}"
    for _ in range(5):
        if not compose_reaper.remove(docker.program, label):
            return
    left = [
        f"{kind[0]} {line}"
        for kind in _KINDS
        for line in docker.lines(*kind, "--filter", f"label={label}")
    ]
    if left:
        raise StackError(
            "something of the stack could not be removed from Docker",
            seen=left,
            remedy=f"docker rm -f $(docker ps -aq --filter label={label})",
        )


class ComposeReaper:
    """Our end of the helper that removes a run's containers when we are killed."""

    def __init__(self, docker: Docker, run: str) -> None:
        """Start it, before anything is started that it should remove."""
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-E", str(_REAPER), docker.program, f"{RUN_LABEL}={run}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def dismiss(self) -> None:
        """Everything has been taken down; the helper ends."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(b"done\n")
            self._process.stdin.flush()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
