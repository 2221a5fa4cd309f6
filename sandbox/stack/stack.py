"""The stack: one engine, picked and brought up, behind one interface."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from sandbox.errors import UsageError
from sandbox.stack.attach import AttachEngine
from sandbox.stack.endpoints import Endpoints
from sandbox.stack.native import NativeEngine
from sandbox.stack.options import ENGINES, StackOptions
from sandbox.stack.parts import Part, PartsEngine
from sandbox.timeline import Timeline

__all__ = ["Engine", "Stack"]


class Engine(Protocol):
    """What an engine does; those that start parts are a `PartsEngine`."""

    name: str
    #: Why nothing can be started beside its parts, or "".
    why_fixed: str
    endpoints: Endpoints | None

    @property
    def timings(self) -> dict[str, float]:
        """Seconds until each part answered."""

    async def start(self) -> Endpoints:
        """Bring everything up, or nothing."""

    async def restart_phone(self) -> Endpoints:
        """A new phone in place of a crashed one."""

    def watch_path(self, path: Path) -> None:
        """Have a file or folder removed should this process be killed."""

    async def stop(self) -> None:
        """Take everything down; safe to call twice."""


_ENGINES: dict[str, type[NativeEngine] | type[AttachEngine]] = {
    "native": NativeEngine,
    "attach": AttachEngine,
}


class Stack:
    """A running stack; an async context manager.

    Example:
        async with Stack(StackOptions(run_dir=folder), Timeline()) as stack:
            print(stack.endpoints.livekit_url)
    """

    def __init__(self, options: StackOptions, timeline: Timeline) -> None:
        """Pick the engine; nothing is started yet.

        Raises:
            UsageError: there is no engine of that name.
        """
        self.options = options
        self.timeline = timeline
        name, self.why = choose_engine(options.engine)
        self.engine: Engine = _make_engine(name, options, timeline)
        #: By direction, the calls that tests have left behind at the SIP service.
        self.calls_left: dict[str, float] = {}
        #: The rooms that tests have left behind: the test that left one is told so.
        self.rooms_left: set[str] = set()

    @property
    def endpoints(self) -> Endpoints:
        """Where the stack listens.

        Raises:
            UsageError: it is not up.
        """
        if self.engine.endpoints is None:
            raise UsageError("the stack is not up", remedy="await stack.start() first")
        return self.engine.endpoints

    async def start(self) -> Endpoints:
        """Bring the stack up.

        Raises:
            SetupError: a program is missing.
            StackError: a part did not become ready; nothing is left running.
        """
        self.options.run_dir.mkdir(parents=True, exist_ok=True)
        self.timeline.evidence = str(self.options.run_dir)
        return await self.engine.start()

    async def stop(self) -> None:
        """Take it down; safe to call twice."""
        await self.engine.stop()

    def watch_path(self, path: Path) -> None:
        """Have a file or folder removed should this process be killed."""
        self.engine.watch_path(path)

    @property
    def why_fixed(self) -> str:
        """Why `start_part` and a stack beside this one cannot be had here; "" if they can."""
        return self.engine.why_fixed

    async def start_part(
        self,
        kind: str,
        name: str,
        changes: Mapping[str, Any] | None = None,
        *,
        wait: bool = True,
    ) -> Part:
        """Start one more part beside the stack's own, with a configuration of its own.

        It is a process or a container, as the stack's parts are; it ends with the stack, its log is
        `NAME.log` and its configuration `NAME.yaml` in the run folder. Started as `sip`, a SIP
        service takes the place of the stack's own, and `endpoints` may be others from then on.

        Args:
            kind: `redis`, `livekit-server` or `sip`.
            name: of the part; one of that name that runs is ended first.
            changes: keys laid over the configuration of its kind (None removes a key).
            wait: until it answers; else it is up to the caller.

        Raises:
            UsageError: this engine cannot, or there is no such kind.
            StackError: it did not become ready.
        """
        part: Part = await self._parts_engine().start_part(kind, name, changes, wait=wait)
        return part

    async def restart(self, kind: str) -> Part:
        """End the stack's own `redis` or `livekit-server` and start it anew, as it was.

        redis has what it saved (`SAVE`), and may have another address.

        Raises:
            UsageError: this engine cannot.
            StackError: it did not come up.
        """
        part: Part = await self._parts_engine().restart(kind)
        return part

    def part(self, name: str) -> Part:
        """A part that runs, by its name.

        Raises:
            UsageError: the engine has none of its own.
            StackError: there is no such part.
        """
        part: Part = self._parts_engine().part(name)
        return part

    def _parts_engine(self) -> PartsEngine[Any]:
        if not isinstance(self.engine, PartsEngine):
            raise UsageError(self.why_fixed, remedy="use ENGINE=native, or ENGINE=compose on Linux")
        return self.engine

    async def __aenter__(self) -> Stack:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


def choose_engine(wanted: str) -> tuple[str, str]:
    """The engine for `wanted` and, for `auto`, one line that says why.

    Raises:
        UsageError: there is no engine of that name.
    """
    if wanted not in ENGINES:
        raise UsageError(f"no engine {wanted!r}", remedy=f"choose one of {', '.join(ENGINES)}")
    if wanted == "auto":
        return _best_engine()
    return wanted, ""


def _best_engine() -> tuple[str, str]:
    """Compose where a daemon answers and the images are there or can be had, else native."""
    from sandbox.stack.compose_choice import compose_unfit
    from sandbox.stack.compose_files import inside

    if inside():
        return "compose", "compose: inside its network"
    unfit = compose_unfit()
    if unfit:
        return "native", f"native: plain processes on this machine, as {unfit}"
    return "compose", "compose: a Docker daemon answers, and the images are to be had"


def _make_engine(name: str, options: StackOptions, timeline: Timeline) -> Engine:
    if name != "compose":
        return _ENGINES[name](options, timeline)
    # Imported when used: testcontainers is slow to import.
    from sandbox.stack.compose import ComposeEngine
    from sandbox.stack.compose_files import inside
    from sandbox.stack.compose_inside import InsideEngine

    return InsideEngine(options, timeline) if inside() else ComposeEngine(options, timeline)
