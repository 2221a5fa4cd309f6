"""The folder of a run's logs and configuration: of one run at a time."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sandbox.stack.registry import is_alive, start_time

__all__ = ["claim_run_dir"]

_OWNER = "owner"


def claim_run_dir(output: Path, name: str) -> Path:
    """A fresh folder `output/name`, or `output/name-PID` while another run has that one.

    The folders of runs that are over are removed on the way, so that what is in `output` is of
    the last run and of those that still run.
    """
    output.mkdir(parents=True, exist_ok=True)
    taken = False
    for folder in (output / name, *output.glob(f"{name}-[0-9]*")):
        if not folder.is_dir():
            continue
        if _in_use(folder):
            taken = taken or folder == output / name
        else:
            shutil.rmtree(folder, ignore_errors=True)
    folder = output / (f"{name}-{os.getpid()}" if taken else name)
    folder.mkdir(exist_ok=True)
    (folder / _OWNER).write_text(f"{os.getpid()} {start_time(os.getpid())}")
    return folder


def _in_use(folder: Path) -> bool:
    try:
        pid, _, started = (folder / _OWNER).read_text().partition(" ")
        return int(pid) != os.getpid() and is_alive(int(pid), started)
    except (OSError, ValueError):
        return False
