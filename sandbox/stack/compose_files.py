"""Where the Compose files lie (in a checkout, in an installed package), and build contexts."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from sandbox.errors import SetupError

__all__ = ["INSIDE", "PACKAGE", "compose_folder", "content_key", "inside", "stage"]

PACKAGE = Path(__file__).resolve().parents[1]
"""The folder of the package `sandbox`."""

INSIDE = "SANDBOX_INSIDE"
"""Set in the `runner` container to the folder of the stack's logs."""

#: What the phone's image holds of the package: the least that `python -m sandbox.phone` imports.
_PHONE_CODE = ("__init__.py", "errors.py", "audio.py", "phone")
_IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", ".env")


def inside() -> bool:
    """Whether this process runs in the `runner` container."""
    return bool(os.environ.get(INSIDE))


def compose_folder() -> Path:
    """The folder with compose.yaml: beside the package in a checkout, inside it when installed.

    Raises:
        SetupError: it is not there.
    """
    for folder in (PACKAGE.parent / "compose", PACKAGE / "_compose"):
        if (folder / "compose.yaml").is_file():
            return folder
    raise SetupError(
        "the Compose files are not there",
        seen=[f"no compose.yaml in {PACKAGE.parent / 'compose'} or {PACKAGE / '_compose'}"],
        remedy="install the package again",
    )


def stage(service: str, target: Path) -> None:
    """Fill `target` with the build context of a service's image, but for its programs.

    It has the layout of the checkout, whose root is the context when the image is built by hand.

    Args:
        service: whose image.
        target: an empty folder.

    Raises:
        SetupError: the image needs a checkout, and this is an installed package.
    """
    shutil.copytree(compose_folder() / service, target / "compose" / service, ignore=_IGNORED)
    if service == "phone":
        code = target / "sandbox"
        code.mkdir()
        for name in _PHONE_CODE:
            source = PACKAGE / name
            if source.is_dir():
                shutil.copytree(source, code / name, ignore=_IGNORED)
            else:
                shutil.copy2(source, code / name)
    if service == "runner":
        lock = PACKAGE.parent / "requirements" / "dev.txt"
        if not lock.is_file():
            raise SetupError(
                "the runner's image is built from a checkout",
                seen=[f"there is no {lock}"],
                remedy="run `make test-e2e ENGINE=compose RUNNER=container` in a checkout",
            )
        (target / "requirements").mkdir()
        shutil.copy2(lock, target / "requirements" / "dev.txt")


def content_key(folder: Path, more: Iterable[str] = ()) -> str:
    """A short digest of all that `folder` holds (names, contents, whether executable)."""
    digest = hashlib.sha256("\n".join(more).encode())
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            mode = path.stat().st_mode & 0o100
            digest.update(f"{path.relative_to(folder).as_posix()} {mode} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()[:12]
