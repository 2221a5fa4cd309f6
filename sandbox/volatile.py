"""What differs from run to run in SIP and LiveKit texts, made the same: ids, tags, nonces."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

__all__ = ["abstract", "replace_all"]

_Replacement = str | Callable[[re.Match[str]], str]


def _version(match: re.Match[str]) -> str:
    """The version of a large random SDP id, as what it is ahead of the id."""
    ahead = int(match[3]) - int(match[2])
    return f"{match[1]}<id> <id{f'+{ahead}' if ahead else ''}>"


#: Applied in this order, after the names that the caller knows.
_VOLATILE: tuple[tuple[re.Pattern[str], _Replacement], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"z9hG4bK[\w.~-]+", "<branch>"),
        (r"\b(SCL|ST|SDR|PA|RM|TR|SRT|AJ)_[0-9A-Za-z]{6,}", r"<\1>"),
        (r"\brport=\d+", "rport=<port>"),
        (r'\btag=[^;>\s,"<]+', "tag=<tag>"),
        (r'\b(c?nonce|opaque)="?[^",\s]+"?', r'\1="<nonce>"'),
        (r"(?m)^m=audio [1-9]\d+", "m=audio <port>"),
        (r"(?m)^(o=\S+ )(\d{7,}) (\d{7,})", _version),
        (r"inline:[0-9A-Za-z+/=]+", "inline:<key>"),
        (r"(?m)^Call-ID: [0-9A-Za-z]{20,}$", "Call-ID: <call-id>"),
        (r"(<room>[^\s\"/]*)_[0-9A-Za-z]{12}(?![0-9A-Za-z])", r"\1_<random>"),
        (r"\bsip_[0-9a-f]{16}\b", "sip_<hash>"),
    )
)


def replace_all(text: str, table: Mapping[str, str]) -> str:
    """`text` with every key of `table` replaced, the longest key first."""
    if not table:
        return text
    keys = sorted(table, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, keys)), lambda match: table[match[0]], text)


def abstract(text: str, labels: Mapping[str, str]) -> str:
    """`text` without what differs from run to run.

    Args:
        text: a SIP message, an attribute's value, an error's text: anything.
        labels: literal texts of this run and the label of each. Where two texts are compared, the
            same label goes to what corresponds, so that an id which turns up in the wrong place
            still shows.
    """
    text = replace_all(text, labels)
    for pattern, replacement in _VOLATILE:
        text = pattern.sub(replacement, text)
    return text
