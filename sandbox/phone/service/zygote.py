"""Forks the workers: a process that has imported everything, so a line costs 10 ms and no memory.

The switchboard cannot fork itself: it runs an event loop with threads below it.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import json
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Zygote", "die_with_parent", "launch", "main"]

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies (prctl(2), Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Zygote:
    """A started zygote: its process, and the switchboard's end of its control socket."""

    process: subprocess.Popen[bytes]
    control: socket.socket


def launch() -> Zygote:
    """Start the zygote; it says `ready` on its control socket when it has imported everything."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox.phone.service.zygote", str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        # Threads of a BLAS do not survive a fork, and nothing here is large enough for one.
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )
    theirs.close()
    return Zygote(process, ours)


def _child(order: dict[str, Any], commands: int, events: int, parent: int) -> None:
    die_with_parent()
    if os.getppid() != parent:
        os._exit(1)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    faulthandler.enable()
    from sandbox.phone.service.worker import main as work

    work(
        commands,
        events,
        host=order["host"],
        log=Path(order["log"]),
        directory=Path(order["directory"]),
    )


def main(control: socket.socket) -> None:
    """Fork a worker for every order on `control` (a SOCK_SEQPACKET pair), report their ends.

    An order is JSON with two descriptors: the worker's command socket and its event pipe.
    """
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import sandbox.phone.service.line  # noqa: F401 - imported once, for all workers

    control.send(json.dumps({"ready": os.getpid()}).encode())
    me = os.getpid()
    poll = select.poll()
    poll.register(control, select.POLLIN)
    children: dict[int, int] = {}
    while True:
        for descriptor, _ in poll.poll():
            if descriptor != control.fileno():
                pid = children.pop(descriptor)
                poll.unregister(descriptor)
                os.close(descriptor)
                _, status = os.waitpid(pid, 0)
                code = os.waitstatus_to_exitcode(status)
                control.send(json.dumps({"ended": pid, "code": code}).encode())
                continue
            data, descriptors, _, _ = socket.recv_fds(control, 65536, 2)
            if not data:
                for pid in children.values():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                return
            pid = os.fork()
            if pid == 0:
                try:
                    control.close()
                    for other in children:
                        os.close(other)
                    _child(json.loads(data), descriptors[0], descriptors[1], me)
                except BaseException:
                    # Into the phone's log: nobody else tells why a line did not come up.
                    traceback.print_exc()
                finally:
                    os._exit(1)
            for each in descriptors:
                os.close(each)
            child = os.pidfd_open(pid)
            children[child] = pid
            poll.register(child, select.POLLIN)
            control.send(json.dumps({"started": pid}).encode())


if __name__ == "__main__":
    # The switchboard may be gone before it was told anything: a mistake on its command line.
    with contextlib.suppress(ConnectionError):
        main(socket.socket(fileno=int(sys.argv[1])))
