"""Starts the phone service as a process of its own (it imports a GPL library; we must not)."""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from sandbox.errors import StackError
from sandbox.stack.process import Child, Reaper

__all__ = ["PhoneProcess", "start_phone"]

_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class PhoneProcess:
    """A running phone service: its process, its URL and the token it asks for."""

    child: Child
    url: str
    token: str


async def start_phone(
    python: Path, *, sip_host: str, run_dir: Path, reaper: Reaper, timeout: float
) -> PhoneProcess:
    """Start the phone and wait until it takes requests.

    Args:
        python: the CPython 3.11 that has pjsua2-pybind11.
        sip_host: the address for its lines; its HTTP port is on 127.0.0.1 whatever that is.
        run_dir: the folder of this run; recordings go to `phone/` in it.
        reaper: kills it should we die.
        timeout: in seconds.

    Raises:
        StackError: it did not become ready; it is down again.
    """
    recordings = run_dir / "phone"
    recordings.mkdir(exist_ok=True)
    token = secrets.token_urlsafe(24)
    command: list[str | Path] = [
        python, "-m", "sandbox.phone",
        "--host", _HOST, "--port", "0", "--sip-host", sip_host, "--log-dir", recordings,
    ]  # fmt: skip
    child = await Child.start(
        "phone",
        command,
        log=run_dir / "phone.log",
        reaper=reaper,
        env={"SANDBOX_PHONE_TOKEN": token},
        pipe_stdin=True,
        pipe_stdout=True,
        carries_audio=True,
    )
    try:
        assert child.process.stdout is not None
        line = await asyncio.wait_for(child.process.stdout.readline(), timeout)
        port = json.loads(line)["port"] if line else None
    except TimeoutError:
        await child.stop(grace=0)
        raise child.failure(f"did not answer within {timeout:g} s") from None
    except BaseException:
        await child.stop(grace=0)
        raise
    if port is None:
        await child.stop(grace=0)
        raise child.failure(f"exited with {child.process.returncode} before it was ready")
    return PhoneProcess(child, f"http://{_HOST}:{port}", token)


def phone_died(child: Child) -> StackError:
    """The error for a phone that ended although nobody asked it to."""
    return child.failure(f"the phone service ended with {child.process.returncode}")
