"""The folders of traces: the name that a test's has, and finding one again."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from sandbox.errors import UsageError

__all__ = ["find_trace", "trace_folder"]


def trace_folder(output: Path, nodeid: str) -> Path:
    """The folder of a test's trace: its name as a path, and a hash that tells namesakes apart."""
    name = re.sub(r"[^A-Za-z0-9_.]+", "-", nodeid.replace(".py::", "-")).strip("-.")[-90:]
    digest = hashlib.sha256(nodeid.encode()).hexdigest()[:6]
    return output / f"{name.lstrip('-.')}-{digest}"


def find_trace(output: Path, wanted: str | None) -> Path:
    """The folder of a trace.

    Args:
        output: where the folders of a run's traces are.
        wanted: the folder, a file in it, or a part of the test's name; the newest one if None.

    Raises:
        UsageError: there is none, or several match.
    """
    if wanted:
        path = Path(wanted)
        folder = path if path.is_dir() else path.parent
        if path.exists() and (folder / "trace.json").is_file():
            return folder
    found = sorted(
        (path.parent for path in output.glob("**/trace.json")),
        key=lambda folder: (folder / "trace.json").stat().st_mtime,
    )
    if not found:
        raise UsageError(
            f"no trace in {output}",
            cause="every test passed, or the tests ran with --sandbox-trace=off",
            remedy="run the test with --sandbox-trace=on, or name its folder",
        )
    if wanted is None:
        return found[-1]
    exact = trace_folder(output, wanted)
    if exact in found:
        return exact
    words = re.sub(r"[^A-Za-z0-9_.]+", "-", wanted.replace(".py::", "-")).strip("-")
    named = [folder for folder in found if words in folder.name]
    if len(named) != 1:
        raise UsageError(
            f"{'no trace is' if not named else 'several traces are'} named {wanted!r}",
            seen=[folder.name for folder in (named or found)[-12:]],
            remedy="name one of them",
        )
    return named[0]
