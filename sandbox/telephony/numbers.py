"""Telephone numbers for tests: fictitious, and never the same twice in a run."""

from __future__ import annotations

import secrets

__all__ = ["NumberBlock"]


class NumberBlock:
    """A block of 100 numbers for one test: `+1555` and seven digits.

    Numbers are E.164 with the leading `+`, as most carriers send them. The block's first five
    digits are drawn at random, so that two runs against one deployment do not meet.
    """

    def __init__(self) -> None:
        self._head = f"+1555{secrets.randbelow(90000) + 10000}"
        self._next = 0

    def take(self) -> str:
        """The next number.

        Raises:
            IndexError: the block's hundred numbers are used up.
        """
        if self._next >= 100:
            raise IndexError("a test has a hundred numbers; this one asked for more")
        number = f"{self._head}{self._next:02d}"
        self._next += 1
        return number
