"""The local images: each is built from a staged context and tagged by what is in it.

Run as a program it is `make images`:

    python -m sandbox.stack.image_build             # those of a stack
    python -m sandbox.stack.image_build phone runner
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox import versions
from sandbox.errors import SandboxError, SetupError, StackError
from sandbox.stack import provision
from sandbox.stack.base_image import base_image, ensure_base_image
from sandbox.stack.cache import locked
from sandbox.stack.compose_files import compose_folder, content_key, stage
from sandbox.stack.docker_cli import Docker
from sandbox.stack.progress import Progress, Step, terminal_progress
from sandbox.stack.toolchain import run_logged

__all__ = ["LOCAL_SERVICES", "REPOSITORY", "build_image", "extra_ca", "local_tag"]

REPOSITORY = "livekit-sip-sandbox"
STACK_SERVICES = ("redis", "livekit-server", "sip", "phone")
LOCAL_SERVICES = (*STACK_SERVICES, "runner")
SERVICE_LABEL = "dev.sandbox.service"
IMAGE_LABEL = "dev.sandbox.image"


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What goes into an image, and what its labels say."""

    programs: dict[str, Path]
    version: str
    service: str


def extra_ca() -> Path | None:
    """The file of `SANDBOX_EXTRA_CA`: certificates (PEM) that builds and containers shall trust.

    Raises:
        SetupError: there is no such file, or it holds no certificate.
    """
    value = os.environ.get("SANDBOX_EXTRA_CA", "").strip()
    if not value:
        return None
    path = Path(value).expanduser().absolute()
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as failure:
        raise SetupError(
            "SANDBOX_EXTRA_CA cannot be read", seen=[str(failure)], remedy="name a PEM file in it"
        ) from failure
    if "BEGIN CERTIFICATE" not in text:
        raise SetupError(
            "SANDBOX_EXTRA_CA holds no certificate",
            seen=[str(path)],
            remedy="name a PEM file in it",
        )
    if "PRIVATE KEY" in text:
        raise SetupError(
            "SANDBOX_EXTRA_CA holds a private key",
            seen=[str(path)],
            remedy="name a file with certificates only: it is mounted into containers",
        )
    return path


def _recipe(service: str) -> _Recipe:
    """The recipe of a service's image.

    Raises:
        SetupError: a program is missing.
    """
    if service == "livekit-server":
        program = provision.livekit_server()
        return _Recipe(
            {"livekit-server": program},
            versions.LIVEKIT_SERVER,
            f"livekit-server {versions.LIVEKIT_SERVER}",
        )
    if service == "sip":
        sip = provision.sip_service()
        version = sip.label.rpartition(" ")[2] if sip.real else "stand-in"
        return _Recipe({"livekit-sip": sip.path}, version, sip.label)
    if service == "redis":
        return _Recipe({}, versions.REDIS, f"redis {versions.REDIS} (Debian's)")
    if service == "phone":
        return _Recipe({}, versions.PJSUA2, f"phone, PJSIP {versions.PJSIP}")
    return _Recipe({}, versions.LIVEKIT_AGENTS, "pytest in the network")


def local_tag(service: str) -> str:
    """The image that would be built now, `livekit-sip-sandbox/phone:0123456789ab`.

    Raises:
        SetupError: a program that goes into it is missing.
    """
    with tempfile.TemporaryDirectory(prefix="sandbox-image-") as folder:
        return _staged(service, Path(folder))[0]


def _staged(service: str, folder: Path) -> tuple[str, _Recipe]:
    recipe = _recipe(service)
    stage(service, folder)
    programs = (
        f"{name} {_digest(path, path.stat().st_mtime_ns)}" for name, path in recipe.programs.items()
    )
    key = content_key(folder, [service, recipe.version, base_image(), *programs])
    return f"{REPOSITORY}/{service}:{key}", recipe


@functools.lru_cache(maxsize=8)
def _digest(path: Path, changed: int) -> str:
    """The digest of a program, remembered until the file changes."""
    del changed
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def build_image(docker: Docker, service: str, progress: Progress) -> str:
    """See that the local image of `service` is there, as its sources are now; returns its tag.

    Raises:
        SetupError: it does not build.
        StackError: Docker does not answer.
    """
    with tempfile.TemporaryDirectory(prefix="sandbox-image-") as name:
        folder = Path(name)
        tag, recipe = _staged(service, folder)
        if _exists(docker, tag):
            progress.ready(f"image of {service}", tag)
            return tag
        with locked(f"image-{service}", lambda: progress.say("another process builds it; waiting")):
            if not _exists(docker, tag):
                ensure_base_image(docker, progress)
                with progress.step(f"image of {service}", f"({recipe.service})") as step:
                    _build(docker, service, folder, tag, recipe, step)
    return tag


def _exists(docker: Docker, tag: str) -> bool:
    return docker.try_ask("image", "inspect", "--format", "{{.Id}}", tag) is not None


def _build(
    docker: Docker, service: str, folder: Path, tag: str, recipe: _Recipe, step: Step
) -> None:
    (folder / "bin").mkdir()
    for name, program in recipe.programs.items():
        shutil.copy2(program, folder / "bin" / name)
    ca = extra_ca()
    environ: Mapping[str, str] = {
        **{key: value for key, value in os.environ.items() if not key.startswith("COMPOSE_")},
        "COMPOSE_PROJECT_NAME": "sandbox-images",
        # Bake would need the buildx plugin; Compose's own builder does not.
        "COMPOSE_BAKE": "false",
        "DOCKER_BUILDKIT": "1",
        "SANDBOX_BASE_IMAGE": base_image(),
        "SANDBOX_BUILD_CONTEXT": str(folder),
        "SANDBOX_BUILD_TAG": tag,
        "SANDBOX_BUILD_IMAGE": service,
        "SANDBOX_BUILD_VERSION": recipe.version,
        "SANDBOX_BUILD_SERVICE": recipe.service,
        **({"SANDBOX_EXTRA_CA": str(ca)} if ca else {}),
    }
    run_logged(
        [
            docker.program, "compose", "--progress", "plain",
            "--env-file", versions.PINS_FILE,
            "-f", compose_folder() / "compose.build.yaml", "build", service,
        ],
        what=f"the image of {service} does not build",
        log_name=f"image-{service}",
        step=step,
        environ=environ,
        remedy="behind a proxy or an inspecting firewall: set HTTPS_PROXY, NO_PROXY and"
        " SANDBOX_EXTRA_CA=/path/to/certificate.pem",
    )  # fmt: skip
    _try_out(docker, service, tag)
    docker.ask("tag", tag, f"{REPOSITORY}/{service}:latest")


def _try_out(docker: Docker, service: str, tag: str) -> None:
    """Run a program that came from this machine once: its C library may be too new for the base.

    Raises:
        SetupError: it does not run; the image is gone.
    """
    program = {"livekit-server": "/livekit-server", "sip": "/bin/livekit-sip"}.get(service)
    if program is None:
        return
    try:
        docker.ask(
            "run", "--rm", "--network", "none", "--label", f"{IMAGE_LABEL}=try",
            "--entrypoint", program, tag, "--version", within=60,
        )  # fmt: skip
    except StackError as failure:
        docker.try_ask("image", "rm", tag)
        raise SetupError(
            f"{service} does not run in its image",
            seen=failure.seen,
            cause="it was built on this machine, whose C library is newer than the base image's",
            remedy="name a base as new as this machine's system: SANDBOX_BASE_IMAGE=…",
        ) from failure


def _prepare(service: str, progress: Progress) -> None:
    """Have the program made that goes into the image, where `make setup` has not been run.

    Raises:
        SetupError: it cannot be made.
    """
    find = {"livekit-server": provision.livekit_server, "sip": provision.sip_service}.get(service)
    if find is None:
        return
    try:
        find()
    except SetupError:
        provision.setup(progress)


def main(arguments: Sequence[str]) -> int:
    """Build the named images, or all; returns the exit status."""
    services = [argument for argument in arguments if not argument.startswith("-")]
    unknown = sorted(set(services) - set(LOCAL_SERVICES))
    if unknown:
        sys.stderr.write(f"no image {', '.join(unknown)}; there are {', '.join(LOCAL_SERVICES)}\n")
        return 2
    progress = terminal_progress(quiet="--quiet" in arguments)
    try:
        docker = Docker()
        docker.server_version(within=10)
        docker.compose_version()
        for service in services or STACK_SERVICES:
            _prepare(service, progress)
            build_image(docker, service, progress)
    except SandboxError as failure:
        sys.stderr.write(f"\n{failure}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
