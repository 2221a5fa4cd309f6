"""What `sandbox.agent` takes, and what it makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.agents.order import order_for
from sandbox.errors import UsageError


async def entrypoint(ctx: object) -> None:
    """An entrypoint at the top of a module."""


def test_a_file_gets_a_fresh_interpreter_and_its_own_executor(tmp_path: Path) -> None:
    file = tmp_path / "desk.py"
    file.touch()
    order = order_for(file)
    assert (order.target, order.fast, order.executor) == (str(file), False, "")
    assert order.label == "desk"
    assert order.naming == {}


def test_a_fast_file_is_forked_with_jobs_in_threads(tmp_path: Path) -> None:
    file = tmp_path / "desk.py"
    file.touch()
    order = order_for(file, fast=True)
    assert (order.fast, order.executor) == (True, "thread")
    assert order_for(file, fast=True, executor="process").executor == "process"


def test_a_name_in_a_file_is_forked_and_named_after_itself(tmp_path: Path) -> None:
    file = tmp_path / "desk.py"
    file.touch()
    order = order_for(f"{file}:greeter")
    assert order.target == f"{file}:desk:greeter"
    assert (order.fast, order.label) == (True, "greeter")
    assert order.naming == {"LIVEKIT_AGENT_NAME": "greeter"}


def test_a_function_is_found_by_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    order = order_for(entrypoint)
    assert order.target == f"{Path(__file__).absolute()}:{__name__}:entrypoint"
    assert order.label == "entrypoint"


def test_a_given_name_overrides_the_files_own(tmp_path: Path) -> None:
    file = tmp_path / "desk.py"
    file.touch()
    assert order_for(file, name="x").naming == {"LIVEKIT_AGENT_NAME_OVERRIDE": "x"}
    assert order_for(f"{file}:greeter", name="").naming == {}


def test_equal_orders_are_equal_and_others_are_not(tmp_path: Path) -> None:
    file = tmp_path / "desk.py"
    file.touch()
    assert order_for(file, env={"A": "1", "B": "2"}) == order_for(file, env={"B": "2", "A": "1"})
    assert order_for(file) != order_for(file, env={"A": "1"})
    assert len({order_for(file), order_for(file)}) == 1


def test_a_missing_file_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no agent file") as shown:
        order_for(tmp_path / "none.py")
    assert str(tmp_path) in shown.value.what
    with pytest.raises(UsageError, match="no agent file"):
        order_for("order-desk")


def test_a_function_inside_a_function_is_refused() -> None:
    async def inner(ctx: object) -> None:
        """Nobody else can find this."""

    with pytest.raises(UsageError, match="cannot find") as shown:
        order_for(inner)
    assert "top level" in shown.value.remedy


def test_what_is_no_agent_is_refused() -> None:
    with pytest.raises(UsageError, match="not an agent: 42"):
        order_for(42)


def test_another_interpreter_cannot_be_forked(tmp_path: Path) -> None:
    file = tmp_path / "desk.py"
    file.touch()
    with pytest.raises(UsageError, match="fast=False"):
        order_for(file, fast=True, python="/usr/bin/python3")
