"""In which livekit-server release the matching differs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sandbox.errors import UsageError

__all__ = ["CHECKED", "ServerVersion"]

#: The release that this model's predictions are checked against, call by call (tests/explain).
CHECKED = "1.13.5"


@dataclass(frozen=True, slots=True, order=True)
class ServerVersion:
    """A release of livekit-server: `ServerVersion.parse("v1.13.5")`."""

    major: int = 1
    minor: int = 13
    patch: int = 5

    @classmethod
    def parse(cls, text: str) -> ServerVersion:
        """Read `v1.13.5` or `1.13.5`; the empty string is the release that was checked.

        Raises:
            UsageError: it is no release.
        """
        if not text:
            return cls.parse(CHECKED)
        found = re.fullmatch(r"v?(\d+)\.(\d+)(?:\.(\d+))?(?:[-+].*)?", text.strip())
        if found is None:
            raise UsageError(
                f"{text!r} is no release of livekit-server", remedy="write it as v1.13.5"
            )
        return cls(int(found[1]), int(found[2]), int(found[3] or 0))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @property
    def refuses_with_404(self) -> bool:
        """Whether a call that no rule takes gets 404; earlier releases let it hear nothing."""
        return self >= ServerVersion(1, 13, 8)

    @property
    def underscore_before_caller(self) -> bool:
        """Whether an individual rule with an empty prefix still makes `_<caller>_<random>`."""
        return self < ServerVersion(1, 10, 0)
