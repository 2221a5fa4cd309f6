"""System packages: which are missing, and apt to bring them, or the command to run by hand."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from sandbox.errors import SetupError
from sandbox.stack.progress import Progress
from sandbox.stack.toolchain import run_logged

__all__ = ["SystemPackage", "ensure_packages", "missing_packages"]

_LIST = Path(__file__).with_name("system-packages.txt")


@dataclass(frozen=True, slots=True)
class SystemPackage:
    """A Debian package and the shell test that succeeds where what it brings is there."""

    name: str
    probe: str

    def present(self) -> bool:
        """Whether what it brings is there, from a package or otherwise."""
        shell = subprocess.run(
            ["sh", "-c", self.probe],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        return shell.returncode == 0


def missing_packages(path: Path = _LIST) -> list[str]:
    """The names of the packages of `path` that are not there."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    packages = (SystemPackage(*line.split(None, 1)) for line in lines if line and line[0] != "#")
    return [package.name for package in packages if not package.present()]


def ensure_packages(progress: Progress) -> None:
    """See that every system package is there, by apt where we may.

    Raises:
        SetupError: some are missing and we may not install them, or apt failed. Nothing was done
            in the first case.
    """
    missing = missing_packages()
    if not missing:
        progress.ready("system packages")
        return
    names = " ".join(missing)
    apt = shutil.which("apt-get")
    if apt is None:
        raise SetupError(
            f"missing from the system: {names} (Debian's names)",
            remedy="install the like with your system's package manager, then run set-up again",
        )
    root = _as_root()
    if root is None:
        raise SetupError(
            f"missing from the system: {names}",
            seen=["not root, and sudo asks for a password or is not there: nothing was changed"],
            remedy=f"sudo apt-get update && sudo apt-get install -y --no-install-recommends {names}"
            ", then run set-up again",
        )
    install = [
        *root,
        "env",
        "DEBIAN_FRONTEND=noninteractive",
        apt,
        "install",
        "-y",
        "--no-install-recommends",
        *missing,
    ]
    remedy = f"see why `{shlex.join(install)}` fails, then run set-up again"
    with progress.step(f"system packages: {names}") as step:
        try:
            run_logged(install, what="apt failed", log_name="apt", step=step)
        except SetupError:
            # The lists are missing or too old.
            run_logged(
                [*root, apt, "update"],
                what="apt-get update failed",
                log_name="apt-update",
                step=step,
                remedy=remedy,
            )
            run_logged(install, what="apt failed", log_name="apt", step=step, remedy=remedy)
    still = missing_packages()
    if still:
        raise SetupError(
            f"installed, but still not to be found: {' '.join(still)}",
            cause="another compiler or pkg-config (CC, PKG_CONFIG, PATH) hides the system's",
            remedy=f"see the tests in {_LIST}",
        )


def _as_root() -> list[str] | None:
    """The command that runs the next one as root: none for root, `sudo -n`, or None."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo is None:
        return None
    allowed = subprocess.run([sudo, "-n", "true"], capture_output=True, check=False)
    return [sudo, "-n"] if allowed.returncode == 0 else None
