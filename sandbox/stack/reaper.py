"""Ends what a killed run left: a helper process that outlives its owner by a moment.

The owner writes lines to the reaper's standard input: `group PGID` for a process group that it
started, `path DIR` for a folder that may not survive it, `done` when it has taken everything down
itself. When the pipe closes without `done`, the owner is dead: the groups are killed and the
folders removed. Standard library only, because it is started with `python -S -E` for speed.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys


def main() -> None:
    """Read the owner's lines until the pipe closes, then clean up if it did not say `done`."""
    # A Ctrl-C at the terminal goes to the whole foreground group; the reaper must outlast it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: list[int] = []
    paths: list[str] = []
    for line in sys.stdin:
        word, _, value = line.rstrip("\n").partition(" ")
        if word == "group":
            groups.append(int(value))
        elif word == "path":
            paths.append(value)
        elif word == "ended":
            # Its number may be given to a stranger from now on.
            groups.remove(int(value))
        elif word == "done":
            return
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue
    for path in paths:
        if os.path.isdir(path):
            shutil.rmtree(path, ignore_errors=True)
        elif os.path.exists(path):
            os.unlink(path)


if __name__ == "__main__":
    main()
