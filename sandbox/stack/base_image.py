"""The base of the local images: pulled where it can be, debootstrapped where it cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from sandbox.errors import SetupError
from sandbox.stack.cache import cache_dir, made_once, platform_tag
from sandbox.stack.docker_cli import Docker
from sandbox.stack.progress import Progress, Step
from sandbox.stack.toolchain import run_logged

__all__ = ["base_image", "ensure_base_image"]

_SUITE = "bookworm"
#: Plus minbase's own packages. The mirror is debootstrap's, or SANDBOX_DEBIAN_MIRROR.
_INCLUDE = "ca-certificates"


def base_image() -> str:
    """The base image's name: `SANDBOX_BASE_IMAGE`, or Debian's."""
    return os.environ.get("SANDBOX_BASE_IMAGE", "").strip() or f"debian:{_SUITE}-slim"


def ensure_base_image(docker: Docker, progress: Progress) -> str:
    """See that the base image is there; returns its name.

    Raises:
        SetupError: it can neither be pulled nor made.
    """
    name = base_image()
    if docker.try_ask("image", "inspect", "--format", "{{.Id}}", name) is not None:
        progress.ready(f"base image {name}")
        return name
    progress.say(f"pulling {name}")
    if docker.try_ask("pull", "--quiet", name, within=300) is not None:
        progress.ready(f"base image {name}", "(pulled)")
        return name
    if os.environ.get("SANDBOX_BASE_IMAGE"):
        raise SetupError(
            f"the base image {name} is not there and cannot be pulled",
            remedy="unset SANDBOX_BASE_IMAGE, or load the image: docker load -i FILE",
        )
    folder = cache_dir() / "base-image" / f"{_SUITE}-{platform_tag()}"
    with progress.step(
        f"base image {name}", "(no registry: debootstrap, one to three minutes)"
    ) as step:
        made_once(folder, lambda making: _bootstrap(making, step))
        run_logged(
            [
                docker.program, "import",
                "--change", 'CMD ["bash"]',
                "--change", "LABEL dev.sandbox.image=base",
                folder / "rootfs.tar", name,
            ],
            what=f"{name} cannot be imported",
            log_name="base-image-import",
            step=step,
        )  # fmt: skip
    return name


def _bootstrap(folder: Path, step: Step) -> None:
    root = _as_root()
    if shutil.which("debootstrap", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
        raise SetupError(
            "there is no registry to pull from, and no debootstrap to make a base image with",
            remedy="sudo apt-get install -y debootstrap, or load an image: docker load -i FILE",
        )
    target = folder / "rootfs"
    mirror = os.environ.get("SANDBOX_DEBIAN_MIRROR", "").strip()
    run_logged(
        [
            *root, "debootstrap", "--variant=minbase", f"--include={_INCLUDE}",
            _SUITE, target, *([mirror] if mirror else []),
        ],
        what="debootstrap failed",
        log_name="debootstrap",
        step=step,
        environ={**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"},
        remedy="it needs a Debian mirror: SANDBOX_DEBIAN_MIRROR=http://…/debian",
    )  # fmt: skip
    # What no image needs: package files and lists, logs, and this machine's resolver.
    leave_out = ["./var/cache/apt/*.bin", "./var/cache/apt/archives/*.deb", "./var/lib/apt/lists/*",
                 "./var/log/*", "./etc/resolv.conf", "./etc/hostname", "./usr/share/doc/*",
                 "./usr/share/man/*", "./usr/share/locale/*"]  # fmt: skip
    run_logged(
        [
            *root, "tar", "-C", target, "--numeric-owner", "--one-file-system",
            *(f"--exclude={path}" for path in leave_out), "-cf", folder / "rootfs.tar", ".",
        ],
        what="the base image cannot be packed",
        log_name="debootstrap-tar",
        step=step,
    )  # fmt: skip
    subprocess.run([*root, "rm", "-rf", "--one-file-system", str(target)], check=True)


def _as_root() -> list[str]:
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if (
        sudo
        and subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode == 0
    ):
        return [sudo, "-n"]
    raise SetupError(
        "debootstrap needs root, and sudo asks for a password or is not there",
        remedy="run `sudo -v` first, or load a Debian image: docker load -i FILE",
    )
