"""Forks agents: a process that has imported livekit-agents, so that a worker costs 0.1 s, not 2.

`python -m sandbox.agents.zygote` reads orders as JSON lines on standard input and answers with JSON
lines on standard output: `ready`, then `started` and `ended` for each. The forked process is the
agent's own in all else: its session, its environment, its log.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import json
import os
import select
import signal
import sys
import traceback
from typing import Any

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1


def _warm_up() -> None:
    """Import what every worker needs; nothing here may start a thread."""
    # Models of 250 MB that few agents use, and the pools of a BLAS: each child's own affair.
    os.environ.update(LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE="0", OPENBLAS_NUM_THREADS="1")
    import livekit.agents.cli
    import livekit.agents.voice
    from livekit.agents.utils import http_context
    from livekit.rtc._ffi_client import get_ffi_lib

    get_ffi_lib()
    with contextlib.suppress(AttributeError):
        # Reads every certificate of the machine: 0.1 s of a worker's start.
        http_context._create_ssl_context()
    # The process executor's forkserver warms up by the same module; it starts no thread either.
    import livekit.agents.ipc._preload  # noqa: F401

    # What is imported lives as long as we do: a child's collector must not touch (and so copy) it.
    gc.collect()
    gc.freeze()


def _child(order: dict[str, Any], parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.closerange(3, 64)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    faulthandler.enable()
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    sys.path[:] = order["sys_path"]
    from sandbox.agents.inside.livekit_sandbox_launch import run

    run(order["target"], order["arguments"])


def main() -> None:
    """Fork a process for every order until standard input closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    _warm_up()
    me = os.getpid()
    poll = select.poll()
    poll.register(0, select.POLLIN | select.POLLHUP)
    children: dict[int, tuple[int, str]] = {}

    def say(**data: Any) -> None:
        answers.write(json.dumps(data).encode() + b"\n")

    say(event="ready", pid=me)
    pending = b""
    while True:
        for descriptor, _ in poll.poll():
            if descriptor != 0:
                pid, agent = children.pop(descriptor)
                poll.unregister(descriptor)
                os.close(descriptor)
                _, status = os.waitpid(pid, 0)
                say(event="ended", pid=pid, agent=agent, code=os.waitstatus_to_exitcode(status))
                continue
            data = os.read(0, 1 << 20)
            if not data:
                for pid, _ in children.values():
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(pid, signal.SIGKILL)
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                order = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    code = 1
                    try:
                        _child(order, me)
                        code = 0
                    except SystemExit as ended:
                        code = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
                        if isinstance(ended.code, str):
                            os.write(2, ended.code.encode() + b"\n")
                    except BaseException:
                        traceback.print_exc()
                    finally:
                        with contextlib.suppress(Exception):
                            sys.stdout.flush()
                            sys.stderr.flush()
                        os._exit(code)
                child = os.pidfd_open(pid)
                children[child] = (pid, order["agent"])
                poll.register(child, select.POLLIN)
                say(event="started", pid=pid, agent=order["agent"])


if __name__ == "__main__":
    main()
