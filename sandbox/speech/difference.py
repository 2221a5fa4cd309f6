"""Two texts one below the other, with what differs marked."""

from __future__ import annotations

import difflib

__all__ = ["difference"]


def difference(wanted: str, heard: str) -> str:
    """Lines that show both texts aligned, with a `^` below each letter that differs."""
    above: list[str] = []
    below: list[str] = []
    marks: list[str] = []
    matcher = difflib.SequenceMatcher(None, wanted, heard, autojunk=False)
    for tag, a, b, c, d in matcher.get_opcodes():
        size = max(b - a, d - c)
        above.append(wanted[a:b].ljust(size))
        below.append(heard[c:d].ljust(size))
        marks.append((" " if tag == "equal" else "^") * size)
    return "".join(
        f"\n           {label:<6} {''.join(parts).rstrip()}"
        for label, parts in (("wanted", above), ("heard", below), ("", marks))
    )
