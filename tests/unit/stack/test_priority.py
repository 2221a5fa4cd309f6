"""A higher priority where that is allowed, and no error where it is not."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.stack.priority import NICENESS, prefer


@pytest.fixture
def child() -> Iterator[int]:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        yield process.pid
        process.kill()


def test_the_group_is_preferred_where_that_is_allowed(child: int) -> None:
    before = os.getpriority(os.PRIO_PROCESS, child)
    raised = prefer(child)
    assert os.getpriority(os.PRIO_PROCESS, child) == (NICENESS if raised else before)
    if os.geteuid() == 0:
        assert raised


def test_so_is_its_session_where_the_kernel_weighs_those(child: int) -> None:
    autogroup = Path(f"/proc/{child}/autogroup")
    if not autogroup.exists() or not prefer(child):
        pytest.skip("no autogroups here, or not allowed")
    assert autogroup.read_text().split()[-1] == str(NICENESS)


def test_who_may_not_is_told_so(child: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)
    assert prefer(child) is False
