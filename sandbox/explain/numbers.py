"""How LiveKit compares numbers: normalised in trunks, letter by letter in rules."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["near", "normalize", "same_number", "why_not_equal"]

_TELEPHONE = re.compile(r"\+?[0-9 ()\-]+")
_PUNCTUATION = str.maketrans("", "", " ()-")


def normalize(number: str) -> str:
    """A number as trunks compare it.

    What is written with digits, spaces, dashes and parentheses alone, with or without a leading
    `+`, loses the punctuation and gets a `+`. Anything else (letters, dots, `*`, a `+` behind a
    space) stays as it is.
    """
    if not _TELEPHONE.fullmatch(number):
        return number
    bare = number.translate(_PUNCTUATION)
    return bare if bare.startswith("+") else f"+{bare}"


def same_number(one: str, other: str) -> bool:
    """Whether a trunk takes `one` for `other`."""
    return one == other or normalize(one) == normalize(other)


def _digits(number: str) -> str:
    plain = number.replace("%2B", "+").replace("%2b", "+").partition(";")[0]
    plain = re.sub(r"^(?:sips?|tel):", "", plain.strip(), flags=re.IGNORECASE).partition("@")[0]
    return re.sub(r"[^0-9a-z*#]", "", plain.lower())


def near(number: str, candidates: Iterable[str]) -> str | None:
    """The candidate that a person would call the same number, though LiveKit does not."""
    wanted = _digits(number)
    for candidate in candidates:
        if wanted and _digits(candidate) == wanted:
            return candidate
    for candidate in candidates:
        other = _digits(candidate)
        shorter, longer = sorted((wanted, other), key=len)
        # +15551234567 and 5551234567, 0015551234567: the same subscriber, another prefix.
        if len(shorter) >= 7 and longer.endswith(shorter.lstrip("0") or shorter):
            return candidate
    return None


def why_not_equal(sent: str, written: str) -> str:
    """In words: what tells two spellings of one number apart."""
    if sent.replace("%2B", "+").replace("%2b", "+") != sent:
        return "the + is sent escaped as %2B, and LiveKit does not unescape it"
    if ";" in sent and ";" not in written:
        return "the user part carries a parameter (;…), which belongs to the number for LiveKit"
    if sent.lower() == written.lower():
        return "upper and lower case differ"
    if sent.lstrip("+") == written.lstrip("+"):
        return "one has the +, the other has not"
    if _digits(sent) == _digits(written):
        return "the punctuation differs"
    return "the prefix differs"
