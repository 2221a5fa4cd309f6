"""Which worker of xdist runs which tests."""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadGroupScheduling

__all__ = ["pytest_xdist_make_scheduler"]


#: What one worker runs, one after the other and in this order, by the beginning of the test's id.
#: Spoken text suffers on a machine that is busy, so one conversation is held at a time; and
#: importing livekit-agents takes seconds a worker. The first that fits counts.
_GROUPS = {
    "last": (
        "tests/e2e/speech/test_words.py",
        "tests/e2e/agents/test_by_hand.py::test_a_call_by_hand_in_spoken_words",
        "tests/e2e/agents/test_conversations.py::test_five_turns",
        "tests/e2e/speech/test_spoken.py",
    ),
    "conversations": ("tests/e2e/agents/test_conversations.py", "tests/e2e/speech/"),
    "agents": ("tests/e2e/agents/", "examples/"),
    # Their services are stopped and started: on Compose one container at a time, in a stack more.
    "outages": ("tests/e2e/ops/test_outages.py", "tests/e2e/ops/test_hidden_port.py"),
    "ops": ("tests/e2e/ops/",),
    "seeded": ("tests/seeded/",),
}


def _group(test: str) -> tuple[str, int]:
    """A test's group and its place there; one that is in none is its own."""
    for group, places in _GROUPS.items():
        for place, beginning in enumerate(places):
            if test.startswith(beginning):
                return group, place
    return test, 0


class Groups(LoadGroupScheduling):  # type: ignore[misc] # xdist has no types
    """`--dist loadgroup`, by folder, of which a dead worker does not make a run without an end.

    The mark xdist_group of xdist 3.8.0 does nothing with pytest 9.2, silently (pytest-xdist issue
    1386). And when a worker has died, xdist hands out again what it had finished, waits for ever
    for a worker that was given only such, and has the test that killed it kill the next one too. It
    starts the replacement with one test, which a worker does not begin before it has a second.
    (pytest-xdist issues 1323, 1327 and 1371: mended upstream, in no release yet.)
    """

    #: The worker that runs the last group, once it is alone.
    _waits: Any = None

    def _split_scope(self, nodeid: str) -> str:
        return _group(nodeid)[0]

    def _assign_work_unit(self, node: Any) -> None:
        if next(iter(self.workqueue)) == "last":
            self.workqueue.move_to_end("last")
        if self._too_early(node):
            return
        scope, unit = next(iter(self.workqueue.items()))
        self.workqueue[scope] = {test: unit[test] for test in sorted(unit, key=_group)}
        super()._assign_work_unit(node)

    def _too_early(self, node: Any) -> bool:
        """Whether only the last group is left, and other workers are still busy.

        What takes its time by the clock has the machine to itself. One worker waits for the others,
        which end with what they have.
        """
        if list(self.workqueue) != ["last"] or len(self.assigned_work) == 1:
            return False
        if self._waits not in self.assigned_work and not node.shutting_down:
            self._waits = node
        return True

    def remove_node(self, node: Any) -> str | None:
        """Take the tests of a dead worker back; the one that it died of is returned."""
        left = {
            scope: [test for test, done in unit.items() if not done]
            for scope, unit in self.assigned_work.pop(node).items()
        }
        crashed = next((test for tests in left.values() for test in tests), None)
        for scope, tests in left.items():
            rest = {test: False for test in tests if test != crashed}
            if rest:
                self.workqueue[scope] = rest
        if crashed is not None or list(self.workqueue) == ["last"]:
            for other in self.assigned_work:
                self._reschedule(other)
        return crashed

    def _reschedule(self, node: Any) -> None:
        if node not in self.registered_collections:
            return  # it has not collected yet
        while not node.shutting_down:
            if self._too_early(node):
                if node is not self._waits:
                    node.shutdown()
                return
            super()._reschedule(node)
            if self._pending_of(self.assigned_work[node]) >= 2:
                return


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups | None:
    """Ours for `--dist loadgroup`."""
    return Groups(config, log) if config.getoption("dist") == "loadgroup" else None
