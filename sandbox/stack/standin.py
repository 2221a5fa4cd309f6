"""The stand-in's program: built from the Go sources of this package, kept by what they are."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

from sandbox import versions
from sandbox.errors import SetupError
from sandbox.stack.cache import cache_dir, made_once, platform_tag
from sandbox.stack.progress import Progress, SilentProgress, Step
from sandbox.stack.toolchain import BUILD_FLAGS, find_go, go_environ, run_logged

__all__ = ["SOURCES", "build_standin", "built_standin", "rebuilt_standin", "standin_key"]

SOURCES = Path(__file__).resolve().parents[1] / "standin"
"""The folder of its Go module."""

_KEEP = 5


def standin_key(sources: Path | None = None) -> str:
    """What the program is kept by: its sources, without tests and texts, and the Go pin."""
    root = SOURCES if sources is None else sources
    digest = hashlib.sha256(f"go {versions.GO} {platform_tag()}\n".encode())
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root)
        if (
            not path.is_file()
            or path.name.endswith(("_test.go", ".md"))
            or any(part == "testdata" or part.startswith(".") for part in inside.parts)
        ):
            continue
        content = path.read_bytes()
        digest.update(f"{inside.as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def built_standin() -> Path | None:
    """The program built from the sources as they are now, or None."""
    program = _folder() / "standin"
    return program if program.is_file() else None


def build_standin(go: Path, progress: Progress) -> Path:
    """The program built from the sources as they are now; built if it is not.

    Raises:
        SetupError: the sources are not there, or do not build.
    """
    program = built_standin()
    if program is not None:
        progress.ready("stand-in for livekit-sip", str(program))
        return program
    if not (SOURCES / "go.mod").is_file():
        raise SetupError(
            "the stand-in's Go sources are not there",
            seen=[f"no go.mod in {SOURCES}"],
            remedy="install the package again, or name a livekit-sip in SANDBOX_LIVEKIT_SIP",
        )
    folder = _folder()
    with progress.step("stand-in for livekit-sip", "(go build)") as step:
        made_once(
            folder,
            lambda making: _build(go, making, step),
            on_wait=lambda: progress.say("another process is building it; waiting"),
        )
    _prune(folder)
    return folder / "standin"


def rebuilt_standin() -> Path | None:
    """The program for the sources as they are now, built at once if an older one is in the cache.

    None where it was never built on this machine: that is set-up's to do. Says one line on
    standard error when it builds.

    Raises:
        SetupError: the sources do not build.
    """
    program = built_standin()
    if program is not None:
        return program
    folder = _folder()
    older = folder.parent.is_dir() and any(
        path.is_dir() and not path.name.startswith(".") for path in folder.parent.iterdir()
    )
    go = find_go() if older else None
    if go is None:
        return None
    sys.stderr.write("sandbox: the stand-in's sources changed, building it\n")
    return build_standin(go, SilentProgress())


def _folder() -> Path:
    return cache_dir() / "standin" / standin_key()


def _build(go: Path, folder: Path, step: Step) -> None:
    run_logged(
        [go, "build", "-v", *BUILD_FLAGS, "-o", folder / "standin", "."],
        what="the stand-in does not build",
        log_name="standin",
        step=step,
        environ=go_environ(),
        cwd=SOURCES,
        remedy="if a module cannot be fetched: see `go env GOPROXY`; run `make setup` again",
    )


def _prune(newest: Path) -> None:
    """Keep the few newest builds: one is in use, one is another checkout's."""
    builds = [path for path in newest.parent.iterdir() if not path.name.startswith(".")]
    builds.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for build in builds[_KEEP:]:
        shutil.rmtree(build, ignore_errors=True)
