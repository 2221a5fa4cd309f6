"""The cache folder: things built once per machine, never half-done, by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from sandbox.errors import SetupError

__all__ = ["cache_dir", "locked", "made_once", "platform_tag"]


def cache_dir() -> Path:
    """The folder for what is built once per machine; made when it is missing.

    `$SANDBOX_CACHE`, else `$XDG_CACHE_HOME/livekit-sip-sandbox`, else the same under `~/.cache`.

    Raises:
        SetupError: it cannot be made.
    """
    named = os.environ.get("SANDBOX_CACHE", "")
    if named:
        folder = Path(named).expanduser().absolute()
    else:
        base = os.environ.get("XDG_CACHE_HOME", "") or Path.home() / ".cache"
        folder = Path(base) / "livekit-sip-sandbox"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        raise SetupError(
            f"the cache folder {folder} cannot be made",
            seen=[str(failure)],
            remedy="name a folder you may write to in SANDBOX_CACHE",
        ) from failure
    return folder


def platform_tag() -> str:
    """What tells one machine's binaries from another's that share the folder: `linux-x86_64`."""
    return f"{sys.platform}-{platform.machine()}"


@contextlib.contextmanager
def locked(name: str, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock `name` of the cache folder; the kernel frees it should we die.

    Args:
        name: what is locked.
        on_wait: called once if another process holds it.
    """
    locks = cache_dir() / "locks"
    locks.mkdir(exist_ok=True)
    with (locks / f"{name}.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if on_wait is not None:
                on_wait()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def made_once(
    target: Path,
    make: Callable[[Path], None],
    *,
    on_wait: Callable[[], None] | None = None,
) -> bool:
    """See that the folder `target` is there, whole, made by `make` if need be.

    `make` fills a folder beside `target`, which gets its name only when `make` has returned: what
    was interrupted is never taken for done. Its leftovers are swept by the next one who makes it.

    Args:
        target: the folder that shall exist.
        make: fills the folder it is given.
        on_wait: called once if another process is making it.

    Returns:
        Whether it was made now, by us.
    """
    if target.is_dir():
        return False
    with locked(f"{target.parent.name}-{target.name}", on_wait):
        if target.is_dir():
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".making-{target.name}-"
        for leftover in target.parent.glob(f"{prefix}*"):
            _remove(leftover)
        making = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
        try:
            making.chmod(0o755)
            make(making)
            for path in making.iterdir():
                if path.is_file():
                    with path.open("rb") as handle:
                        os.fsync(handle.fileno())
            making.rename(target)
        except BaseException:
            _remove(making)
            raise
    return True


def _remove(folder: Path) -> None:
    """Remove `folder`, folders without write permission (Go's module cache) included."""

    def retry(function: Callable[[str], object], path: str, _: object) -> None:
        with contextlib.suppress(OSError):
            Path(path).parent.chmod(0o755)
            function(path)

    shutil.rmtree(folder, onerror=retry)
