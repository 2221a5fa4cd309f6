"""Spoken text compared by words: folded, aligned, and how far apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

__all__ = ["TOLERANCE", "Match", "compare", "fold"]

#: The word error rate up to which speech counts as heard: one word in five.
TOLERANCE = 0.2


def _digits(text: str) -> str:
    """Number words as digits, where text2num is installed (the extra [speech])."""
    try:
        module: Any = import_module("text_to_num")
    except ImportError:
        return text
    return str(module.alpha2digit(text, "en"))


def _signs(text: str) -> str:
    """Dollars and percents as they are said; recognisers write $19 and 20%."""
    text = re.sub(r"\$(\d+(?:[.,]\d+)*)", lambda m: f"{m[1]} dollar{'s' * (m[1] != '1')}", text)
    return text.replace("%", " percent ")


def fold(text: str) -> list[str]:
    """The words of `text`: no case, no punctuation, number words as digits ("forty two" is 42)."""
    plain = _signs(text.casefold()).replace("’", "'").replace("-", " ")
    plain = re.sub(r"[^\w\s']", " ", plain)
    return re.sub(r"(?<!\w)'|'(?!\w)", " ", _digits(" ".join(plain.split()))).split()


@dataclass(frozen=True, slots=True)
class Match:
    """How well a text was heard.

    Attributes:
        rate: the word error rate: words wrong, missing or too many, by the words wanted.
        pairs: the words wanted and heard, aligned; "" where one lacks.
    """

    rate: float
    pairs: Sequence[tuple[str, str]]

    def __str__(self) -> str:
        lines: list[list[str]] = [[], [], []]
        for wanted, heard in self.pairs:
            size = max(len(wanted), len(heard))
            mark = " " if wanted == heard else "^"
            for line, word in zip(lines, (wanted, heard, mark * size), strict=True):
                line.append(word.ljust(size))
        return "".join(
            f"\n           {label:<6} {' '.join(words).rstrip()}"
            for label, words in zip(("wanted", "heard", ""), lines, strict=True)
        )


def compare(wanted: str, heard: str, *, within: bool = True) -> Match:
    """Align two texts word by word.

    Args:
        wanted: what should be heard.
        heard: what was.
        within: whether more may be heard before and after it, at no cost.
    """
    want, have = fold(wanted), fold(heard)
    rows, columns = len(want) + 1, len(have) + 1
    cost = [[0 if within else c for c in range(columns)]]
    for row in range(1, rows):
        line = [row]
        for column in range(1, columns):
            same = want[row - 1] == have[column - 1]
            line.append(
                min(
                    cost[row - 1][column - 1] + (not same),
                    cost[row - 1][column] + 1,
                    line[column - 1] + 1,
                )
            )
        cost.append(line)
    last = cost[-1]
    end = min(range(columns), key=lambda c: last[c]) if within else columns - 1
    pairs: list[tuple[str, str]] = []
    row, column = rows - 1, end
    while row or (column and not within):
        here = cost[row][column]
        if row and column:
            same = want[row - 1] == have[column - 1]
            if here == cost[row - 1][column - 1] + (not same):
                row, column = row - 1, column - 1
                pairs.append((want[row], have[column]))
                continue
        if row and here == cost[row - 1][column] + 1:
            row -= 1
            pairs.append((want[row], ""))
        else:
            column -= 1
            pairs.append(("", have[column]))
    return Match(last[end] / max(1, len(want)), tuple(reversed(pairs)))
