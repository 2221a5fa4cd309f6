"""What the native engine needs: found, or made by `setup`.

Run as a program it is `make setup` without the Python environment:

    python -m sandbox.stack.provision            # set everything up
    python -m sandbox.stack.provision go         # print the path of the Go toolchain
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox import versions
from sandbox.errors import SandboxError, SetupError
from sandbox.stack.cache import cache_dir, made_once, platform_tag
from sandbox.stack.progress import Progress, Step, terminal_progress
from sandbox.stack.sip_image import cached_livekit_sip, copy_livekit_sip
from sandbox.stack.standin import build_standin, rebuilt_standin
from sandbox.stack.syspackages import ensure_packages
from sandbox.stack.toolchain import (
    BUILD_FLAGS,
    ensure_go,
    find_go,
    go_environ,
    least_go,
    run_logged,
)

__all__ = [
    "STAND_IN",
    "SipService",
    "livekit_server",
    "phone_python",
    "redis_server",
    "setup",
    "sip_service",
]

STAND_IN = "stand-in (not livekit-sip)"
"""The name of the stand-in wherever a run says which SIP service it used."""

_SETUP = "run `make setup` (in a checkout) or `sandbox setup`"
_SERVER_MODULE = "github.com/livekit/livekit-server/cmd/server"


@dataclass(frozen=True, slots=True)
class SipService:
    """The program that speaks SIP.

    Attributes:
        path: the program.
        real: whether it is livekit-sip.
        label: `livekit-sip v1.11.0`, or `STAND_IN`.
    """

    path: Path
    real: bool
    label: str


def redis_server() -> Path:
    """redis-server: `SANDBOX_REDIS_SERVER`, PATH, or the same program as redis-tools names it.

    Raises:
        SetupError: there is none.
    """
    named = _named("SANDBOX_REDIS_SERVER")
    if named is not None:
        return named
    program = _which("redis-server")
    if program is not None:
        return program
    # Debian's redis-tools holds it as redis-check-rdb, and no service; it goes by the name it is
    # called by.
    twin = _which("redis-check-rdb")
    if twin is None:
        raise SetupError("redis-server is missing", remedy=_SETUP)
    link = cache_dir() / "redis" / "redis-server"
    if not link.exists() or link.resolve() != twin.resolve():
        link.parent.mkdir(exist_ok=True)
        fresh = link.with_name(f".redis-server-{os.getpid()}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(twin)
        fresh.replace(link)
    return link


def livekit_server() -> Path:
    """livekit-server of the pinned release: `SANDBOX_LIVEKIT_SERVER`, the cache, or PATH.

    Raises:
        SetupError: there is none; one of another release on PATH does not count.
    """
    named = _named("SANDBOX_LIVEKIT_SERVER")
    if named is not None:
        return named
    built = _server_folder() / "livekit-server"
    if built.is_file():
        return built
    seen = []
    on_path = _which("livekit-server")
    if on_path is not None:
        release = _release_of(on_path)
        if release == versions.LIVEKIT_SERVER:
            return on_path
        seen.append(f"{on_path} is {release or 'of an unknown release'}")
    raise SetupError(
        f"livekit-server {versions.LIVEKIT_SERVER} is missing", seen=seen, remedy=_SETUP
    )


def sip_service() -> SipService:
    """The SIP service that runs; the real one where there is one.

    In this order: the program `SANDBOX_LIVEKIT_SIP`, `livekit-sip` on PATH, the program copied out
    of the pinned image by set-up, the stand-in (built again if its sources changed).

    Raises:
        SetupError: `SANDBOX_LIVEKIT_SIP` names no program, or there is none of the others.
    """
    program = _named("SANDBOX_LIVEKIT_SIP") or _which("livekit-sip")
    if program is not None:
        return _identified(program)
    program = cached_livekit_sip()
    if program is not None:
        return SipService(program, real=True, label=f"livekit-sip {versions.LIVEKIT_SIP}")
    program = rebuilt_standin()
    if program is not None:
        return SipService(program, real=False, label=STAND_IN)
    raise SetupError(
        "there is no SIP service: neither a livekit-sip nor the stand-in",
        remedy=f"{_SETUP}, or name a livekit-sip in SANDBOX_LIVEKIT_SIP",
    )


def phone_python() -> Path:
    """The Python that runs the phone: ours if it can import pjsua2, else `SANDBOX_PHONE_PYTHON`.

    Raises:
        SetupError: neither can.
    """
    named = _named("SANDBOX_PHONE_PYTHON")
    if named is not None:
        if not _imports_pjsua2(named):
            raise SetupError(
                f"SANDBOX_PHONE_PYTHON={named} cannot import pjsua2",
                remedy=f"{named} -m pip install pjsua2-pybind11=={versions.PJSUA2}",
            )
        return named
    if importlib.util.find_spec("pjsua2") is not None:
        return Path(sys.executable)
    raise SetupError(
        "the phone needs PJSIP, and this Python has no pjsua2",
        seen=[f"{sys.executable} is Python {sys.version_info.major}.{sys.version_info.minor}"],
        cause="pjsua2-pybind11 has one wheel: CPython 3.11 on x86-64 Linux",
        remedy="use such a Python, or name one that can import pjsua2, aiohttp and numpy in"
        " SANDBOX_PHONE_PYTHON",
    )


def setup(report: Progress, *, again: bool = True) -> None:
    """Find or make all that the native engine needs; nothing is done twice.

    Args:
        report: where each step is shown.
        again: whether to try once more what is not needed and failed here before.

    Raises:
        SetupError: a step failed; those before it stay done.
    """
    # First what may be refused, so that nothing is left half-done.
    ensure_packages(report)
    redis = redis_server()
    report.ready("redis-server", str(redis))
    phone = phone_python()
    report.ready(f"phone (PJSIP {versions.PJSIP})", str(phone))
    go = ensure_go(report)
    # One after the other: each keeps all cores busy, and what the first compiles the second reuses.
    _make_livekit_server(go, report)
    build_standin(go, report)
    copy_livekit_sip(report, again=again)
    sip = sip_service()
    report.ready("SIP service", sip.label)


def _server_folder() -> Path:
    return cache_dir() / "livekit-server" / f"{versions.LIVEKIT_SERVER}-{platform_tag()}"


def _make_livekit_server(go: Path, report: Progress) -> None:
    title = f"livekit-server {versions.LIVEKIT_SERVER}"
    try:
        report.ready(title, str(livekit_server()))
        return
    except SetupError:
        if os.environ.get("SANDBOX_LIVEKIT_SERVER"):
            raise

    def make(folder: Path, step: Step) -> None:
        run_logged(
            [go, "install", "-v", *BUILD_FLAGS, f"{_SERVER_MODULE}@{versions.LIVEKIT_SERVER}"],
            what=f"{title} does not build",
            log_name=f"livekit-server-{versions.LIVEKIT_SERVER}",
            step=step,
            environ={**go_environ(), "GOBIN": str(folder)},
            remedy="if it cannot be fetched: see `go env GOPROXY`; then run set-up again",
        )
        (folder / "server").rename(folder / "livekit-server")

    with report.step(title, "(go install; two to three minutes on two cores)") as step:
        made_once(
            _server_folder(),
            lambda folder: make(folder, step),
            on_wait=lambda: report.say("another set-up is building it; waiting"),
        )


def _named(variable: str) -> Path | None:
    """The program that an environment variable names, or None if it is not set.

    Raises:
        SetupError: there is no such program.
    """
    value = os.environ.get(variable, "").strip()
    if not value:
        return None
    path = Path(value).expanduser().absolute()
    if not path.is_file() or not os.access(path, os.X_OK):
        raise SetupError(
            f"{variable} names no program",
            seen=[f"{path} {'is not executable' if path.is_file() else 'is not there'}"],
            remedy=f"unset {variable}, or give it the path of the program",
        )
    return path


def _which(program: str) -> Path | None:
    found = shutil.which(program)
    return Path(found) if found else None


@functools.lru_cache(maxsize=16)
def _version_output(program: Path, changed: int) -> str:
    """What `program --version` says, remembered until the file changes."""
    del changed
    try:
        answer = subprocess.run(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout


def _says(program: Path) -> str:
    return _version_output(program, program.stat().st_mtime_ns)


def _release_of(program: Path) -> str:
    """`v1.13.5`, or `""`."""
    found = re.search(r"\bv?(\d+\.\d+\.\d+(?:-[\w.]+)?)", _says(program))
    return f"v{found[1]}" if found else ""


def _identified(program: Path) -> SipService:
    """The service that `program` says it is: a stand-in is one wherever it lies."""
    if "stand-in" in _says(program):
        return SipService(program, real=False, label=STAND_IN)
    release = _release_of(program) or "(version unknown)"
    return SipService(program, real=True, label=f"livekit-sip {release}")


@functools.lru_cache(maxsize=4)
def _imports_pjsua2(python: Path) -> bool:
    answer = subprocess.run(
        [python, "-c", "import pjsua2, aiohttp, numpy"], capture_output=True, check=False
    )
    return answer.returncode == 0


def main(arguments: Sequence[str]) -> int:
    """The program: `setup` (the default) or `go`; `--quiet` leaves out what is in place.

    Returns:
        The exit status.
    """
    quiet = "--quiet" in arguments
    commands = [argument for argument in arguments if argument != "--quiet"] or ["setup"]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if commands == ["setup"]:
            setup(terminal_progress(quiet=quiet, stream=sys.stdout), again=not quiet)
        elif commands == ["go"]:
            go = find_go()
            if go is None:
                raise SetupError(f"there is no Go {least_go()} or newer", remedy=_SETUP)
            sys.stdout.write(f"{go}\n")
        else:
            sys.stderr.write("usage: python -m sandbox.stack.provision [setup|go] [--quiet]\n")
            return 2
    except SandboxError as failure:
        sys.stderr.write(f"\n{failure}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; what was being built is not kept\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
