"""A part of a stack that is a container: its end, its log, and its removal."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from sandbox.errors import StackError
from sandbox.stack.compose_project import ComposeProject
from sandbox.stack.process import Child

__all__ = ["ContainerPart"]


class ContainerPart:
    """A `Part` (see `sandbox.stack.parts`) of the Compose engine."""

    def __init__(
        self,
        name: str,
        container: str,
        project: ComposeProject,
        *,
        log: Path,
        address: str,
        follower: Child,
        died: asyncio.Future[int],
        stop_signal: int,
    ) -> None:
        """It runs already.

        Args:
            name: of the part.
            container: its id.
            project: it belongs to.
            log: the file that its log is followed into.
            address: `host:port` of what it is there for.
            follower: the process that follows its log.
            died: gets its exit status, from Docker's events.
            stop_signal: what ends it at once.
        """
        self.name = name
        self.container = container
        self.log = log
        self.address = address
        self.stopping = False
        self._project = project
        self._follower = follower
        self._died = died
        self._stop_signal = stop_signal
        self.exited: asyncio.Task[int] = asyncio.create_task(self._ended(), name=f"{name} exit")

    async def _ended(self) -> int:
        """Its exit status, once its log is whole: the follower ends just after the container."""
        code = await self._died
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._follower.exited), 1)
        return code

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return not self._died.done()

    async def send_signal(self, number: int) -> None:
        """Send it a signal; its end is expected from now on."""
        self.stopping = True
        # It may have ended meanwhile: then there is nothing to be told.
        await asyncio.to_thread(
            self._project.docker.try_ask, "kill", "--signal", str(int(number)), self.container
        )

    @contextlib.asynccontextmanager
    async def frozen(self) -> AsyncIterator[None]:
        """Have it stand still for a while, as if it hung."""
        docker = self._project.docker
        await asyncio.to_thread(docker.ask, "pause", self.container)
        try:
            yield
        finally:
            await asyncio.to_thread(docker.ask, "unpause", self.container)

    async def stop(self, *, number: int | None = None, grace: float = 2.0) -> None:
        """Signal it, wait `grace` seconds for its end, and remove the container."""
        if self.running:
            await self.send_signal(self._stop_signal if number is None else number)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.shield(self.exited), grace)
        self.stopping = True
        docker = self._project.docker
        await asyncio.to_thread(docker.try_ask, "rm", "--force", "--volumes", self.container)
        await self.unfollow()

    async def unfollow(self) -> None:
        """It is gone: stop following its log, which has ended by itself if it could."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(self.exited), 0.5)
        self.exited.cancel()
        await self._follower.stop(grace=0.2)

    async def autopsy(self, what: str) -> StackError:
        """An error about it: its state, its health log and the end of its log."""
        return await asyncio.to_thread(
            self._project.failure, self.name, what, self.log, self.container
        )
