"""The agent host: a process that runs livekit-agents workers for tests, many one after another.

`python -m sandbox.agents.host` reads commands as JSON lines on standard input (`start`, `stop`,
`job`) and writes what its workers and jobs do as JSON lines on standard output. Importing
livekit-agents takes over a second; one process for a whole run spends it once, and a worker costs
the few milliseconds of its registration.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

from livekit import api, rtc
from livekit.agents import AgentServer, AutoSubscribe, JobContext, JobExecutorType, JobRequest

from sandbox.agents.protocol import Behaviour, decode, encode
from sandbox.agents.publishing import published
from sandbox.audio import ToneDetector, sine
from sandbox.track_audio import samples_of

__all__ = ["main"]

# Telephone audio needs no more, and each frame crosses into the SDK's native half and back.
_RATE = 16000
_FRAME_MS = 40
_FRAME = _RATE * _FRAME_MS // 1000
_write_lock = threading.Lock()
# The real standard output is the event pipe; whatever else prints goes to the log.
_pipe = os.fdopen(os.dup(1), "wb", buffering=0)


def _emit(agent: str, name: str, /, **data: Any) -> None:
    """Write one event; called from the host's loop and from the threads of the jobs."""
    line = encode({"agent": agent, "event": name, "at": time.time(), **data})
    with _write_lock:
        _pipe.write(line)


class _Job:
    """One job of the sandbox's own agent, in the thread and loop that livekit-agents gave it."""

    def __init__(self, agent: str, behaviour: Behaviour, context: JobContext) -> None:
        self.agent = agent
        self.behaviour = behaviour
        self.context = context
        self.loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._commands: asyncio.Queue[tuple[str, list[Any]]] = asyncio.Queue()
        self._participant = ""
        self._playing = False
        self._player: asyncio.Task[None] | None = None

    def emit(self, name: str, /, **data: Any) -> None:
        job = self.context.job
        _emit(self.agent, name, job=job.id, room=job.room.name, **data)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def run(self) -> None:
        job = self.context.job
        self.emit(
            "job.entered",
            metadata=job.metadata,
            agent_name=job.agent_name,
            dispatch_id=job.dispatch_id,
            room_metadata=job.room.metadata,
            participants=job.room.num_participants,
        )
        self.context.add_shutdown_callback(self._shut_down)
        self._spawn(self._obey())
        if self.behaviour.raises:
            raise RuntimeError(self.behaviour.raises)
        room = self.context.room
        room.on("sip_dtmf_received", self._on_dtmf)
        room.on("track_subscribed", self._on_track)
        room.on("participant_connected", self._on_connected)
        room.on("participant_disconnected", self._on_disconnected)
        room.on("participant_attributes_changed", self._on_attributes)
        await self.context.connect(auto_subscribe=AutoSubscribe(self.behaviour.auto_subscribe))
        self.emit("job.connected", identity=room.local_participant.identity)
        if self.behaviour.waits_for_participant:
            participant = await self.context.wait_for_participant()
            self._participant = participant.identity
            self.emit(
                "job.participant",
                identity=participant.identity,
                name=participant.name,
                kind=rtc.ParticipantKind.Name(participant.kind),
                metadata=participant.metadata,
                attributes=dict(participant.attributes),
                room_metadata=room.metadata,
            )
        if self.behaviour.tone:
            await self._speak()

    async def _speak(self) -> None:
        source = rtc.AudioSource(_RATE, 1, queue_size_ms=100)
        track = rtc.LocalAudioTrack.create_audio_track("agent", source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=False)
        if not await published(self.context.room, track, options):
            return
        self.emit("job.published", hz=self.behaviour.tone)
        second = sine(self.behaviour.tone, 1.0, rate=_RATE)
        frames = [
            rtc.AudioFrame(second[i : i + _FRAME].tobytes(), _RATE, 1, _FRAME)
            for i in range(0, _RATE, _FRAME)
        ]

        async def play() -> None:
            # Not cancelled in mid-capture: see Peer._play.
            position = 0
            while self._playing:
                await source.capture_frame(frames[position])
                position = (position + 1) % len(frames)

        self._playing = True
        self._player = asyncio.create_task(play())

    def _on_track(self, track: rtc.Track, _: Any, who: rtc.RemoteParticipant) -> None:
        kind = "audio" if track.kind == rtc.TrackKind.KIND_AUDIO else "video"
        self.emit("job.track", identity=who.identity, kind=kind)
        if kind == "audio":
            self._spawn(self._listen(track, who.identity))

    async def _listen(self, track: rtc.Track, identity: str) -> None:
        detector = ToneDetector(_RATE)
        async for samples in samples_of(track, rate=_RATE, frame_ms=_FRAME_MS):
            for edge in detector.feed(samples):
                self.emit("job.tone", identity=identity, hz=edge.hz, on=edge.on)

    def _on_dtmf(self, press: rtc.SipDTMF) -> None:
        identity = press.participant.identity if press.participant else ""
        self.emit("job.dtmf", identity=identity, digit=press.digit, code=press.code)
        if press.digit == self.behaviour.hangs_up_on:
            self._spawn(self.delete_room())

    def _on_connected(self, participant: rtc.RemoteParticipant) -> None:
        self.emit("job.participant_connected", identity=participant.identity)

    def _on_attributes(self, changed: dict[str, str], participant: rtc.Participant) -> None:
        self.emit("job.attributes", identity=participant.identity, changed=dict(changed))

    def _on_disconnected(self, participant: rtc.RemoteParticipant) -> None:
        reason = participant.disconnect_reason
        name = rtc.DisconnectReason.Name(reason) if reason is not None else ""
        self.emit("job.participant_disconnected", identity=participant.identity, reason=name)
        if participant.identity == self._participant and not self.behaviour.stays:
            self.context.shutdown(name)

    async def _shut_down(self, reason: str) -> None:
        self._playing = False
        if self._player is not None:
            await asyncio.wait({self._player}, timeout=1.0)
        for task in tuple(self._tasks):
            task.cancel()
        self.emit("job.ended", reason=reason)

    # --- what a test may ask of a running job ----------------------------------------------

    def ask(self, do: str, args: list[Any]) -> None:
        """Queue a command; called from the host's thread."""
        self.loop.call_soon_threadsafe(self._commands.put_nowait, (do, args))

    async def _obey(self) -> None:
        # A task of the entrypoint, because JobContext.api looks its session up in the context
        # variables that livekit-agents set for the entrypoint.
        methods: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
            "dtmf": self.dtmf,
            "delete_room": self.delete_room,
            "shutdown": self.shutdown,
        }
        while True:
            do, args = await self._commands.get()
            try:
                await methods[do](*args)
            except Exception as error:
                self.emit("job.command_failed", do=do, error=f"{type(error).__name__}: {error}")

    async def dtmf(self, digits: str) -> None:
        for digit in digits:
            code = "0123456789*#ABCD".index(digit.upper())
            await self.context.room.local_participant.publish_dtmf(code=code, digit=digit)

    async def delete_room(self) -> None:
        await self.context.api.room.delete_room(api.DeleteRoomRequest(room=self.context.room.name))

    async def shutdown(self, reason: str = "") -> None:
        self.context.shutdown(reason)


class _Worker:
    """A livekit-agents worker that runs the sandbox's own agent."""

    def __init__(self, command: dict[str, Any]) -> None:
        self.id: str = command["agent"]
        self.name: str = command["name"]
        self.behaviour = Behaviour(**command["behaviour"])
        self.jobs: dict[str, _Job] = {}
        self.server = AgentServer(
            job_executor_type=JobExecutorType.THREAD,
            ws_url=command["url"],
            api_key=command["key"],
            api_secret=command["secret"],
            host="127.0.0.1",
            port=0,
            num_idle_processes=0,
            load_threshold=float("inf"),
            load_fnc=lambda _: 0.0,
            drain_timeout=1,
            shutdown_process_timeout=2.0,
        )
        self.server.rtc_session(
            self._entrypoint, agent_name=command["name"], on_request=self._request
        )
        self.server.on("worker_registered", self._registered)
        self._run: asyncio.Task[None] | None = None

    def _registered(self, worker_id: str, _: Any) -> None:
        _emit(self.id, "worker.registered", worker=worker_id, name=self.name)

    async def _request(self, request: JobRequest) -> None:
        _emit(self.id, "job.offered", job=request.id, room=request.room.name)
        if not self.behaviour.accept:
            await request.reject()
            _emit(self.id, "job.rejected", job=request.id, room=request.room.name)
            return
        await request.accept(identity=f"agent-{request.id}")
        _emit(self.id, "job.accepted", job=request.id, room=request.room.name)

    async def _entrypoint(self, context: JobContext) -> None:
        job = _Job(self.id, self.behaviour, context)
        self.jobs[context.job.id] = job
        try:
            await job.run()
        except Exception as error:
            job.emit("job.failed", error=f"{type(error).__name__}: {error}")
            raise

    def start(self) -> None:
        self._run = asyncio.create_task(self.server.run(devmode=True))
        self._run.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        _emit(self.id, "worker.stopped", error=str(error or ""))

    async def stop(self) -> None:
        for job in self.jobs.values():
            with contextlib.suppress(RuntimeError):
                job.loop.call_soon_threadsafe(job.context.shutdown, "")
        await self.server.aclose()
        if self._run is not None:
            with contextlib.suppress(Exception):
                await self._run

    def ask(self, command: dict[str, Any]) -> None:
        self.jobs[command["job"]].ask(command["do"], command.get("args", []))


async def _serve() -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    workers: dict[str, _Worker] = {}
    stops: set[asyncio.Task[None]] = set()
    _emit("", "host.ready")
    while line := await reader.readline():
        command = decode(line)
        agent = command["agent"]
        try:
            if command["op"] == "start":
                workers[agent] = _Worker(command)
                workers[agent].start()
            elif command["op"] == "stop":
                task = asyncio.create_task(workers.pop(agent).stop())
                stops.add(task)
                task.add_done_callback(stops.discard)
            elif command["op"] == "job":
                workers[agent].ask(command)
        except Exception as error:
            _emit(agent, "host.error", error=f"{type(error).__name__}: {error}")
    await asyncio.gather(*(worker.stop() for worker in workers.values()), return_exceptions=True)


def main() -> None:
    """Run until standard input closes."""
    os.dup2(2, 1)
    # With its level on every line, so that WARN and ERROR can be told (docs/invariants.md).
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    asyncio.run(_serve())


if __name__ == "__main__":
    main()
