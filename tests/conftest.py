"""Shared by all tests: pytester, for the tests of the plugin; how many run at a time."""

from __future__ import annotations

import os

import pytest

from tests.groups import pytest_xdist_make_scheduler  # noqa: F401 - it is a hook

pytest_plugins = ["pytester"]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """`-n auto`: two more than there are cores, because a scenario mostly waits for a phone."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None  # xdist reads it
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cores = os.cpu_count() or 1
    return cores + 2
