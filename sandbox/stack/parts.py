"""What the engines share that start a stack's parts themselves, as processes or containers."""

from __future__ import annotations

import asyncio
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import aiohttp

from sandbox.errors import StackError, UsageError
from sandbox.stack.endpoints import Endpoints
from sandbox.stack.options import StackOptions
from sandbox.stack.ports import PortBlock
from sandbox.stack.process import Reaper
from sandbox.stack.readiness import answers, bus_is_heard, until
from sandbox.stack.webhooks import WebhookServer
from sandbox.timeline import Timeline

__all__ = ["KINDS", "Part", "PartsEngine", "stop_signal"]

KINDS = ("redis", "livekit-server", "sip")
"""The parts of which a stack may have more than one."""


def stop_signal(kind: str) -> int:
    """What ends a part at once: livekit-sip waits for its calls to end on SIGTERM."""
    return signal.SIGINT if kind in ("livekit-server", "sip") else signal.SIGTERM


class Part(Protocol):
    """A part of a stack: a process (`Child`) or a container."""

    name: str
    log: Path
    #: `host:port` of what it is there for.
    address: str
    #: Whether its end was asked for.
    stopping: bool

    @property
    def exited(self) -> asyncio.Future[int]:
        """Its exit status, once it has ended."""

    @property
    def running(self) -> bool:
        """Whether it lives."""

    async def send_signal(self, number: int) -> None:
        """Send it a signal; its end is expected from now on."""

    def frozen(self) -> AbstractAsyncContextManager[None]:
        """Have it stand still for a while, as if it hung."""

    async def stop(self, *, number: int | None = None, grace: float = 2.0) -> None:
        """End it: by `number` (default: the one that is right for it), by force after `grace` s."""

    async def autopsy(self, what: str) -> StackError:
        """An error about it, with what is known of its state and the end of its log."""


P = TypeVar("P", bound=Part)


class PartsEngine(ABC, Generic[P]):
    """Parts that start, answer, die and end; a subclass says how one is started.

    Use `Stack`, which picks the engine.
    """

    name = ""
    #: Why nothing can be started beside its parts; "" as it can.
    why_fixed = ""

    def __init__(self, options: StackOptions, timeline: Timeline) -> None:
        self._options = options
        self._timeline = timeline
        self._parts: dict[str, P] = {}
        self._watchers: list[asyncio.Task[None]] = []
        self._reaper: Reaper | None = None
        self._blocks: list[PortBlock] = []
        self._webhooks: WebhookServer | None = None
        self._ready: dict[str, float] = {}
        self._started_at = 0.0
        #: Whether the whole stack ends: then the end of a part is no fault.
        self._goes_down = False
        self.endpoints: Endpoints | None = None

    @property
    def timings(self) -> dict[str, float]:
        """Seconds from the start of the stack until each part answered."""
        return dict(self._ready)

    # --- what a subclass does ---------------------------------------------------------------

    @abstractmethod
    async def _prepare(self) -> None:
        """Find programs or images; nothing is started."""

    @abstractmethod
    async def _bring_up(self) -> Endpoints:
        """Start the four parts and wait for each."""

    @abstractmethod
    async def _launch(
        self, kind: str, name: str, changes: Mapping[str, Any], ends: Endpoints
    ) -> tuple[P, Endpoints]:
        """Start one part; returns it and `ends` with its addresses in the place of its kind's."""

    @abstractmethod
    async def _relaunch(self, kind: str, ends: Endpoints) -> tuple[P, Endpoints]:
        """Start the stack's own part of that kind anew, where it was if that can be."""

    @abstractmethod
    async def _take_down(self) -> None:
        """End all parts, whatever there is of them."""

    # --- the life of a stack ----------------------------------------------------------------

    async def start(self) -> Endpoints:
        """Bring the four parts up, side by side where one does not need the other.

        Raises:
            SetupError: a program, Docker or an image is missing.
            StackError: a part did not become ready; everything started is down again.
        """
        await self._prepare()
        self._options.run_dir.mkdir(parents=True, exist_ok=True)
        self._started_at = time.monotonic()
        self._goes_down = False
        self._reaper = Reaper()
        try:
            self.endpoints = await self._bring_up()
            await self._await_bus(self.endpoints)
        except BaseExceptionGroup as failures:
            await self.stop()
            raise _first(failures) from None
        except BaseException:
            await self.stop()
            raise
        self._ready["total"] = time.monotonic() - self._started_at
        return self.endpoints

    async def start_part(
        self,
        kind: str,
        name: str,
        changes: Mapping[str, Any] | None = None,
        *,
        wait: bool = True,
    ) -> P:
        """Start one more redis, livekit-server or SIP service; see `Stack.start_part`."""
        if self.endpoints is None:
            raise StackError("the stack is down")
        if kind not in KINDS or (name != "sip" and name in (*KINDS, "phone")):
            raise UsageError(
                f"no {kind} can be started as {name!r}",
                remedy=f"a kind is one of {', '.join(KINDS)}; only the SIP service can be replaced",
            )
        if name in self._parts:
            await self._parts[name].stop(grace=1.0)
        part, ends = await self._launch(kind, name, changes or {}, self.endpoints)
        self._timeline.record("stack", "part.started", part=name, kind=kind)
        if name == "sip":
            self.endpoints = ends
        if wait:
            async with aiohttp.ClientSession() as session:
                await self._await_ready(part, session, ends, kind)
        return part

    async def restart(self, kind: str) -> P:
        """End the stack's `redis` or `livekit-server` and start it anew; see `Stack.restart`."""
        if self.endpoints is None:
            raise StackError("the stack is down")
        await self.part(kind).stop(grace=1.0)
        part, ends = await self._relaunch(kind, self.endpoints)
        if ends.livekit_url != self.endpoints.livekit_url:
            raise StackError(
                f"{kind} came back at another address",
                seen=[f"was {self.endpoints.livekit_url}, is {ends.livekit_url}"],
                cause="its address was free for a moment, and another container was free below it",
                remedy="restart it before other parts are ended",
            )
        self.endpoints = ends
        async with aiohttp.ClientSession() as session:
            await self._await_ready(part, session, ends, kind)
        await self._await_bus(ends)
        return part

    def part(self, name: str) -> P:
        """The part of that name (`redis`, `livekit-server`, `sip`, `phone`, or a further one's).

        Raises:
            StackError: there is no such part.
        """
        try:
            return self._parts[name]
        except KeyError:
            raise StackError(
                f"the stack has no part {name!r}", seen=[", ".join(self._parts)]
            ) from None

    async def _await_ready(
        self, part: P, session: aiohttp.ClientSession, ends: Endpoints, kind: str
    ) -> None:
        """Wait until it answers; any exit before that is a failure (both Go programs exit 0)."""
        within = self._options.start_timeout
        ready = asyncio.create_task(until(lambda: answers(kind, session, ends), within=within))
        try:
            either: set[asyncio.Future[Any]] = {ready, part.exited}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if part.exited.done():
                raise await part.autopsy(f"exited with {part.exited.result()} before it was ready")
            if not ready.result():
                raise await part.autopsy(f"did not answer within {within:g} s")
        finally:
            ready.cancel()
        self._is_ready(part)

    async def _await_bus(self, ends: Endpoints) -> None:
        """Wait until livekit-server and the SIP service hear each other in redis.

        A configuration may have them not do so, as may a release with other names: then a second is
        lost, and the scenario sees what comes of it.
        """
        host, _, port = ends.redis_address.rpartition(":")
        await until(lambda: bus_is_heard(host, int(port)), within=1)

    def _is_ready(self, part: P) -> None:
        self._ready[part.name] = time.monotonic() - self._started_at
        self._watchers.append(asyncio.create_task(self._watch(part)))

    async def _watch(self, part: P) -> None:
        """Put its end on the timeline: of itself, or a fault if a scenario asked for it."""
        code = await asyncio.shield(part.exited)
        if not part.stopping:
            self._timeline.record("stack", "process.died", part=part.name, code=code)
        elif not self._goes_down:
            how = "killed" if code in (-signal.SIGKILL, 128 + signal.SIGKILL) else "stopped"
            self._timeline.fault(f"{part.name} was {how}", part=part.name, code=code)

    def watch_path(self, path: Path) -> None:
        """Have a file or folder removed should this process be killed."""
        assert self._reaper is not None
        self._reaper.watch_path(path)

    async def stop(self) -> None:
        """Take everything down; safe to call twice, or on a half-started stack."""
        self._goes_down = True
        for part in self._parts.values():
            part.stopping = True
        try:
            await self._take_down()
        finally:
            self._parts.clear()
            for watcher in self._watchers:
                watcher.cancel()
            await asyncio.gather(*self._watchers, return_exceptions=True)
            self._watchers.clear()
            if self._webhooks is not None:
                await self._webhooks.stop()
                self._webhooks = None
            for block in self._blocks:
                block.release()
            self._blocks.clear()
            if self._reaper is not None:
                self._reaper.dismiss()
                self._reaper = None
            self.endpoints = None


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first plain exception of a group: the part that failed, not those cancelled for it."""
    failure: BaseException = failures
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure
