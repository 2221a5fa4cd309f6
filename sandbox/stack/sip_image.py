"""livekit-sip out of its upstream image, for the native engine, where Docker can pull it."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from sandbox import versions
from sandbox.errors import SetupError
from sandbox.stack.cache import cache_dir, made_once, platform_tag
from sandbox.stack.progress import Progress, Step
from sandbox.stack.toolchain import run_logged

__all__ = ["cached_livekit_sip", "copy_livekit_sip", "docker_answers"]

_IMAGE = "livekit/sip"


def _folder() -> Path:
    return cache_dir() / "livekit-sip" / f"{versions.LIVEKIT_SIP}-{platform_tag()}"


def cached_livekit_sip() -> Path | None:
    """The program that was copied out of the pinned image, or None."""
    program = _folder() / "livekit-sip"
    return program if program.is_file() else None


def docker_answers(within: float = 2.0) -> bool:
    """Whether there is a Docker daemon that answers in `within` seconds."""
    docker = shutil.which("docker")
    if docker is None:
        return False
    try:
        answer = subprocess.run(
            [docker, "version", "--format", "{{.Server.Version}}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=within,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0


def copy_livekit_sip(progress: Progress, *, again: bool = True) -> Path | None:
    """Copy the program and its libraries out of the pinned image, once per machine.

    Args:
        progress: where it is shown.
        again: whether to try although it failed here before.

    Returns:
        The program, or None where Docker does not answer or the image cannot be had: never an
        error, since the stand-in is there for that.
    """
    title = f"livekit-sip {versions.LIVEKIT_SIP}"
    program = cached_livekit_sip()
    if program is not None:
        progress.ready(title, str(program))
        return program
    failed = _folder().with_name(f"{_folder().name}.failed")
    if (failed.exists() and not again) or not docker_answers():
        return None
    image = f"{_IMAGE}:{versions.LIVEKIT_SIP}"
    with progress.step(title, f"(out of the image {image})") as step:
        try:
            made_once(
                _folder(),
                lambda making: _copy(image, making, step),
                on_wait=lambda: progress.say("another set-up is copying it; waiting"),
            )
            failed.unlink(missing_ok=True)
        except SetupError as failure:
            why = failure.seen[-1] if failure.seen else failure.what
            failed.parent.mkdir(exist_ok=True)
            failed.write_text(f"{why}\n", encoding="utf-8")
            step.give_up(f"the image {image} is not to be had: {why}")
    return cached_livekit_sip()


def _copy(image: str, folder: Path, step: Step) -> None:
    log = f"livekit-sip-{versions.LIVEKIT_SIP}"
    run_logged(["docker", "pull", image], what=f"{image} cannot be pulled", log_name=log, step=step)
    program = folder / "livekit-sip"
    with _container(image) as container:

        def copy(source: str, target: Path) -> None:
            run_logged(
                ["docker", "cp", "--follow-link", f"{container}:{source}", target],
                what=f"{source} cannot be copied out of {image}",
                log_name=log,
                step=step,
            )

        copy("/usr/bin/livekit-sip", program)
        if _runs(program):
            return
        # Its libraries (and its C library) are newer than ours: bring them, and its loader.
        program.rename(folder / "livekit-sip.bin")
        copy("/usr/lib", folder / "lib")
    loader = next((folder / "lib").glob("*-linux-gnu/ld-linux-*.so.*"), None)
    if loader is None:
        raise SetupError(f"{image} holds no dynamic loader")
    final = _folder()
    libraries = final / loader.parent.relative_to(folder)
    program.write_text(
        "#!/bin/sh\n"
        f"exec {shlex.quote(str(libraries / loader.name))}"
        f" --library-path {shlex.quote(str(libraries))}"
        f" {shlex.quote(str(final / 'livekit-sip.bin'))}"
        ' "$@"\n',
        encoding="utf-8",
    )
    program.chmod(0o755)


@contextlib.contextmanager
def _container(image: str) -> Iterator[str]:
    """A container of `image` that is never started, gone afterwards."""
    made = subprocess.run(["docker", "create", image], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise SetupError(f"no container of {image}", seen=made.stderr.splitlines()[-3:])
    name = made.stdout.strip()
    try:
        yield name
    finally:
        subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False)


def _runs(program: Path) -> bool:
    try:
        answer = subprocess.run(
            [program, "--version"], capture_output=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0
