"""The names of a recording and of a live run side by side, each under one label."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from sandbox.volatile import abstract, replace_all

__all__ = ["Names", "abstract", "replace_all"]


class Names:
    """The recorded names of things and the live ones, side by side.

    Each pair has a label, which stands for both in a comparison.
    """

    def __init__(self) -> None:
        self._live: dict[str, str] = {}
        self._recorded: dict[str, str] = {}
        self._recorded_labels: dict[str, str] = {}
        self._live_labels: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def learn(self, kind: str, recorded: str, live: str, *, numbered: bool = True) -> None:
        """`recorded` is called `live` in this run; the first word on it holds."""
        if not recorded or not live or recorded in self._live:
            return
        label = f"<{kind}>"
        if numbered:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            label = f"<{kind} {self._counts[kind]}>"
        self._live[recorded] = live
        self._recorded.setdefault(live, recorded)
        self._recorded_labels[recorded] = label
        self._live_labels.setdefault(live, label)

    def learn_also(self, recorded: str, live: str) -> None:
        """`live` is another name of what is known as `recorded`."""
        self._live_labels.setdefault(live, self._recorded_labels[recorded])

    def alike(self, text: str) -> None:
        """`text` is one of several that stand for each other, on both sides."""
        self._recorded_labels[text] = self._live_labels[text] = "<any>"

    def knows(self, recorded: str) -> bool:
        """Whether `recorded` has a live name."""
        return recorded in self._live

    def recorded(self, live: str) -> str:
        """The recorded name of what is called `live` in this run, or `live` itself."""
        return self._recorded.get(live, live)

    def live(self, text: str) -> str:
        """A recorded text in the words of this run."""
        return replace_all(text, self._live)

    def recorded_view(self, text: str) -> str:
        """A recorded text, abstracted."""
        return abstract(text, self._recorded_labels)

    def live_view(self, text: str) -> str:
        """A text of this run, abstracted."""
        return abstract(text, self._live_labels)

    def learn_ids(self, recorded: object, live: object) -> None:
        """Pair the LiveKit ids that stand in the same places of two JSON values."""
        for ours, theirs in _strings(recorded, live):
            kind = re.fullmatch(r"(SCL|ST|SDR|PA|RM)_[0-9A-Za-z]+", ours)
            if kind and theirs.startswith(f"{kind[1]}_"):
                self.learn(kind[1], ours, theirs)


def _strings(recorded: object, live: object) -> Iterable[tuple[str, str]]:
    if isinstance(recorded, str) and isinstance(live, str):
        yield recorded, live
    elif isinstance(recorded, Mapping) and isinstance(live, Mapping):
        for key, value in recorded.items():
            if key in live:
                yield from _strings(value, live[key])
    elif isinstance(recorded, list) and isinstance(live, list):
        for ours, theirs in zip(recorded, live, strict=False):
            yield from _strings(ours, theirs)
