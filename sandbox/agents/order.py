"""What to run as an agent under test, and how: a file, a function, or an AgentServer."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.errors import UsageError

__all__ = ["Order", "order_for"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One way to run one agent; two orders that are equal may share a process.

    Attributes:
        target: `file.py`, or `file.py:module:name` for a name in an importable module.
        arguments: the file's command line, `("start",)`.
        name: the agent_name that it must register with; None takes the file's own.
        fast: fork it from a warm process, with jobs in threads, instead of a fresh interpreter.
        executor: `thread` or `process` instead of the file's job executor; "" takes the file's.
        load_limit: keep production's load limit and health port.
        env: laid over the environment, sorted.
        python: the interpreter.
        cwd: its working folder.
    """

    target: str
    arguments: tuple[str, ...]
    name: str | None
    fast: bool
    executor: str
    load_limit: bool
    env: tuple[tuple[str, str], ...]
    python: str
    cwd: str

    @property
    def label(self) -> str:
        """A short name for logs: that of the file or function."""
        file, _, name = self.target.partition(".py:")
        return name.rpartition(":")[2] if name else Path(file).stem

    @property
    def naming(self) -> dict[str, str]:
        """The environment that names it: livekit-agents' own variables."""
        if self.name:
            return {"LIVEKIT_AGENT_NAME_OVERRIDE": self.name}
        named = self.name is None and ".py:" in self.target
        return {"LIVEKIT_AGENT_NAME": self.label} if named else {}


def order_for(
    what: Any,
    *,
    name: str | None = None,
    fast: bool | None = None,
    executor: str = "",
    load_limit: bool = False,
    env: Mapping[str, str] | None = None,
    arguments: Sequence[str] = ("start",),
    python: str | Path | None = None,
    cwd: str | Path | None = None,
) -> Order:
    """The order for `what`; see `Sandbox.agent` for the arguments.

    Raises:
        UsageError: there is no such file, or the function cannot be found by another process.
    """
    if isinstance(what, str | os.PathLike):
        file, _, attribute = str(what).partition(".py:")
        path = Path(f"{file}.py" if attribute else file).expanduser().absolute()
        if path.suffix != ".py" or not path.is_file():
            raise UsageError(
                f"no agent file {path}",
                cause="a relative path is looked up from the folder that pytest was started in",
                remedy="give the path of a Python file; a name is given as agent(name=…)",
            )
        target = f"{path}:{path.stem}:{attribute}" if attribute else str(path)
        fork = bool(fast) or (bool(attribute) and fast is not False)
    else:
        target, fork = _by_name(what), fast is not False
    if fork and python is not None:
        raise UsageError("fast=True forks this interpreter; python= needs fast=False")
    return Order(
        target=target,
        arguments=tuple(arguments),
        name=name,
        fast=fork,
        executor=executor or ("thread" if fork else ""),
        load_limit=load_limit,
        env=tuple(sorted((env or {}).items())),
        python=str(python or sys.executable),
        cwd=str(Path(cwd or Path.cwd()).absolute()),
    )


def _by_name(what: Any) -> str:
    """`file.py:module:name` of a function or AgentServer."""
    function = getattr(what, "_entrypoint_fnc", what)
    if not inspect.isfunction(function):
        raise UsageError(
            f"not an agent: {what!r}",
            remedy="give the path of a file, an entrypoint function, or an AgentServer that has "
            "its rtc_session",
        )
    module = sys.modules[function.__module__]
    file = getattr(module, "__file__", None)
    name: str | None = function.__qualname__
    if function is not what:
        name = next((key for key, value in vars(module).items() if value is what), None)
    if file is None or name is None or "<" in name:
        raise UsageError(
            f"the agent's process cannot find {function.__qualname__} of {function.__module__}",
            cause="it imports the module by its file, so the name must be at the module's top",
            remedy="move it to the top level of the module",
        )
    return f"{Path(file).absolute()}:{function.__module__}:{name}"
