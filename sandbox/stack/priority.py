"""More CPU for what carries audio: a busy machine must not become a gap in a call."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["NICENESS", "prefer"]

# What PipeWire and other audio daemons take for themselves.
NICENESS = -11


def prefer(pid: int) -> bool:
    """Prefer process group `pid` to what else runs on the machine, where that is allowed.

    It is for root and for who has CAP_SYS_NICE (Linux); elsewhere nothing is changed. A kernel with
    autogroups (sched(7)) weighs sessions, not processes: there the session's own weight is raised.

    Returns:
        Whether the priority was raised.
    """
    try:
        os.setpriority(os.PRIO_PGRP, pid, NICENESS)
    except (OSError, AttributeError):
        return False
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(f"{NICENESS}\n")
    return True
