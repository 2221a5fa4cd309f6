"""Removes what a killed run left in Docker: a helper process that outlives its owner by a moment.

The owner gives the Docker client and the label of its run as arguments, and holds the pipe to the
helper's standard input. `done` on it means that the owner has taken everything down. When the pipe
closes without it, the owner is dead: every container, network and volume with the label is removed,
until two looks in a row find nothing (a `compose up` of the owner may still be under way in the
daemon). Standard library only, because it is started with `python -S -E` for speed.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time

_LOOKS = 60


def docker(program: str, *arguments: str) -> list[str]:
    """The lines that `docker ARGUMENTS` prints; none where it fails."""
    try:
        answer = subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return answer.stdout.decode(errors="replace").split()


def remove(program: str, label: str) -> int:
    """Remove what carries `label`; returns how much there was."""
    chosen = ("--filter", f"label={label}", "--quiet")
    containers = docker(program, "ps", "--all", *chosen)
    if containers:
        docker(program, "rm", "--force", "--volumes", *containers)
    networks = docker(program, "network", "ls", *chosen)
    if networks:
        docker(program, "network", "rm", *networks)
    volumes = docker(program, "volume", "ls", *chosen)
    if volumes:
        docker(program, "volume", "rm", "--force", *volumes)
    return len(containers) + len(networks) + len(volumes)


def main() -> None:
    """Wait for the pipe to close, then clean up if the owner did not say `done`."""
    # A Ctrl-C at the terminal goes to the whole foreground group; the reaper must outlast it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    program, label = sys.argv[1:3]
    for line in sys.stdin:
        if line.strip() == "done":
            return
    quiet = 0
    for _ in range(_LOOKS):
        quiet = 0 if remove(program, label) else quiet + 1
        if quiet == 2:
            return
        time.sleep(0.7)


if __name__ == "__main__":
    main()
