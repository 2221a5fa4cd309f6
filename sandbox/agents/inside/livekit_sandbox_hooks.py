"""Tells the sandbox what a livekit-agents worker and its jobs do, from inside their processes.

Imports nothing but the standard library and livekit-agents, so that it works in the user's
interpreter, where the sandbox need not be installed; its folder is put last on `sys.path`, and its
name is one that nobody else has. It listens and reports; it answers for the agent nowhere. What
is laid over the worker (an executor, no load limit) is in `_lay_over` alone, and asked for.

A job runs in a process of its own by default. It gets the hooks by unpickling its entrypoint,
which `AgentServer.run` wrapped: so it works under fork server, spawn and threads alike.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import socket
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from livekit import rtc
from livekit.agents import AgentServer, AgentSession, JobContext, JobExecutorType, JobRequest
from livekit.agents import get_job_context as _context_of_this_job

__all__ = ["ADDRESS", "emit", "install"]

#: `host:port token agent`: where the reports go, as what; without it nothing is reported.
ADDRESS = "SANDBOX_AGENT_REPORTS"
#: `thread` or `process`: the job executor, whatever the file says.
EXECUTOR = "SANDBOX_AGENT_EXECUTOR"
#: `1` keeps production's load limit and health port.
LOAD_LIMIT = "SANDBOX_AGENT_LOAD_LIMIT"

_lock = threading.Lock()
_sink: socket.socket | None = None
_sink_pid = 0
_installed = False
#: The jobs that the agent's own request function was asked about, and those it rejected itself.
_asked: set[str] = set()
_rejected: set[str] = set()


def emit(name: str, /, **data: Any) -> None:
    """Report one event; never raises, and gives up for good when nobody listens any more."""
    global _sink, _sink_pid
    target = os.environ.get(ADDRESS)
    if not target:
        return
    address, token, agent = target.split(" ")
    line = {"agent": agent, "event": name, "at": time.time(), **data}
    with _lock:
        try:
            if _sink_pid != os.getpid():
                # A socket of the process that we were forked from is not ours to write to.
                host, _, port = address.rpartition(":")
                _sink_pid = os.getpid()
                _sink = socket.create_connection((host, int(port)), timeout=2)
                _sink.sendall(json.dumps({"token": token}).encode() + b"\n")
            if _sink is not None:
                _sink.sendall(json.dumps(line, default=str).encode() + b"\n")
        except OSError:
            _sink = None


# --- a job --------------------------------------------------------------------------------------


def _of_job(context: JobContext) -> dict[str, Any]:
    return {"job": context.job.id, "room": context.job.room.name}


def _error_of(error: BaseException) -> dict[str, Any]:
    lines = "".join(traceback.format_exception(error)).splitlines()
    return {"error": f"{type(error).__name__}: {error}", "traceback": lines[-12:]}


class _Entrypoint:
    """The user's entrypoint, reporting its job; pickled by what it wraps."""

    def __init__(self, function: Callable[[JobContext], Any]) -> None:
        self.function = function
        functools.update_wrapper(self, function, updated=())

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.function)

    async def __call__(self, context: JobContext) -> None:
        _follow(context)
        try:
            await self.function(context)
        except Exception as error:
            emit("job.failed", **_of_job(context), **_error_of(error))
            raise
        emit("job.returned", **_of_job(context))


class _Prewarm:
    """The user's prewarm function, reporting when it fails; pickled by what it wraps."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.function)

    def __call__(self, process: Any) -> Any:
        try:
            return self.function(process)
        except Exception as error:
            emit("worker.prewarm_failed", **_error_of(error))
            raise


def _restore(kind: Callable[[Any], Any], function: Any) -> Any:
    install()
    return kind(function)


def _follow(context: JobContext) -> None:
    """Report what a job sees of its room, and its end."""
    job, room = context.job, context.room
    of_job = _of_job(context)
    emit(
        "job.entered",
        **of_job,
        metadata=job.metadata,
        attributes=dict(job.attributes),
        agent_name=job.agent_name,
        dispatch_id=job.dispatch_id,
        room_metadata=job.room.metadata,
        participants=job.room.num_participants,
        pid=os.getpid(),
    )

    async def ended(reason: str) -> None:
        emit("job.ended", **of_job, reason=reason)

    def digit(press: rtc.SipDTMF) -> None:
        who = press.participant.identity if press.participant else ""
        emit("job.dtmf", **of_job, identity=who, digit=press.digit, code=press.code)

    def attributes(changed: dict[str, str], who: rtc.Participant) -> None:
        emit("job.attributes", **of_job, identity=who.identity, changed=dict(changed))

    def left(who: rtc.RemoteParticipant) -> None:
        reason = who.disconnect_reason
        name = rtc.DisconnectReason.Name(reason) if reason is not None else ""
        emit("job.participant_disconnected", **of_job, identity=who.identity, reason=name)

    def published(_: Any, track: Any) -> None:
        kind = "audio" if track and track.kind == rtc.TrackKind.KIND_AUDIO else "video"
        emit("job.published", **of_job, kind=kind)

    def subscribed(track: rtc.Track, _: Any, who: rtc.RemoteParticipant) -> None:
        kind = "audio" if track.kind == rtc.TrackKind.KIND_AUDIO else "video"
        emit("job.track", **of_job, identity=who.identity, kind=kind)

    context.add_shutdown_callback(ended)
    room.on("sip_dtmf_received", digit)
    room.on("participant_attributes_changed", attributes)
    room.on("participant_connected", functools.partial(_saw, context))
    room.on("participant_disconnected", left)
    room.on("local_track_published", published)
    room.on("track_subscribed", subscribed)


def _saw(context: JobContext, who: rtc.RemoteParticipant) -> None:
    """Report a participant the first time that the job sees it."""
    seen: set[str] = context.__dict__.setdefault("_sandbox_seen", set())
    if who.sid in seen:
        return
    seen.add(who.sid)
    emit(
        "job.participant",
        **_of_job(context),
        identity=who.identity,
        name=who.name,
        kind=rtc.ParticipantKind.Name(who.kind),
        metadata=who.metadata,
        attributes=dict(who.attributes),
        room_metadata=context.room.metadata,
    )


def _hook_context() -> None:
    connect = JobContext.connect

    @functools.wraps(connect)
    async def reporting(self: JobContext, *args: Any, **kwargs: Any) -> None:
        first = not getattr(self, "_connected", False)
        await connect(self, *args, **kwargs)
        if first:
            room = self.room
            identity = room.local_participant.identity
            emit("job.connected", **_of_job(self), identity=identity, metadata=room.metadata)
            for who in list(room.remote_participants.values()):
                _saw(self, who)

    JobContext.connect = reporting  # type: ignore[method-assign]


# --- a session ----------------------------------------------------------------------------------


def _hook_session() -> None:
    start = AgentSession.start

    @functools.wraps(start)
    async def reporting(self: AgentSession[Any], *args: Any, **kwargs: Any) -> Any:
        of_job: dict[str, Any] = {}
        with contextlib.suppress(Exception):
            of_job = _of_job(_context_of_this_job())
        _listen(self, of_job)
        result = await start(self, *args, **kwargs)
        emit("session.started", **of_job)
        return result

    AgentSession.start = reporting  # type: ignore[method-assign]


def _listen(session: AgentSession[Any], of_job: dict[str, Any]) -> None:
    """Report what the session says of itself, through its public events."""
    spoken = False

    def agent_state(event: Any) -> None:
        nonlocal spoken
        if event.new_state == "speaking" and not spoken:
            spoken = True
            emit("session.first_audio", **of_job)
        emit("session.agent_state", **of_job, state=event.new_state, before=event.old_state)

    def user_state(event: Any) -> None:
        emit("session.user_state", **of_job, state=event.new_state, before=event.old_state)

    def transcribed(event: Any) -> None:
        if event.is_final:
            emit("session.heard", **of_job, text=event.transcript)

    def item(event: Any) -> None:
        text = getattr(event.item, "text_content", None)
        role = getattr(event.item, "role", "")
        if text is not None and role in ("user", "assistant"):
            cut = bool(getattr(event.item, "interrupted", False))
            emit("session.message", **of_job, role=role, text=text, interrupted=cut)

    def tools(event: Any) -> None:
        for call, output in zip(event.function_calls, event.function_call_outputs, strict=False):
            emit(
                "session.tool",
                **of_job,
                tool=call.name,
                arguments=call.arguments,
                output=getattr(output, "output", None),
                is_error=bool(getattr(output, "is_error", False)),
            )

    def failed(event: Any) -> None:
        emit("session.error", **of_job, error=str(event.error), part=type(event.source).__name__)

    def closed(event: Any) -> None:
        reason = getattr(event.reason, "value", str(event.reason))
        emit("session.closed", **of_job, reason=reason, error=str(event.error or ""))

    for name, listener in (
        ("agent_state_changed", agent_state),
        ("user_state_changed", user_state),
        ("user_input_transcribed", transcribed),
        ("conversation_item_added", item),
        ("function_tools_executed", tools),
        ("error", failed),
        ("close", closed),
    ):
        session.on(name, listener)  # type: ignore[arg-type]


# --- the worker ---------------------------------------------------------------------------------


class _Warnings(logging.Handler):
    """Warnings and errors of the agent's loggers, its job processes' included."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += f" ({type(record.exc_info[1]).__name__}: {record.exc_info[1]})"
        emit("agent.log", level=record.levelname, logger=record.name, text=text[:500])


def _no_load() -> float:
    return 0.0


def _lay_over(server: Any) -> None:
    """What the sandbox sets on the worker: what LiveKit's own simulations set, and an executor."""
    if os.environ.get(LOAD_LIMIT) != "1":
        # No refusal because the machine that tests is busy, and no health port to collide on.
        # livekit-server takes the reported load too: it offers no job to a worker at 1.0.
        server._load_fnc = _no_load
        if hasattr(server, "_simulation"):
            server._simulation = True
        else:
            server._load_threshold, server._port = float("inf"), 0
    executor = os.environ.get(EXECUTOR)
    if executor:
        server._job_executor_type = JobExecutorType(executor)
    # One process in reserve: a test makes one call at a time, and each costs a second of CPU.
    idle = getattr(server, "_num_idle_processes", 0)
    if isinstance(idle, int):
        server._num_idle_processes = min(idle, 1)
    elif getattr(idle, "prod_default", 0) > 1:
        server._num_idle_processes = type(idle)(dev_default=idle.dev_default, prod_default=1)


def _hook_server() -> None:
    run, drain = AgentServer.run, AgentServer.drain
    queue, availability = AgentServer._queue_msg, AgentServer._handle_availability

    @functools.wraps(run)
    async def running(self: Any, *args: Any, **kwargs: Any) -> None:
        _lay_over(self)
        if self._entrypoint_fnc is not None and not isinstance(self._entrypoint_fnc, _Entrypoint):
            self._entrypoint_fnc = _Entrypoint(self._entrypoint_fnc)
        if self._setup_fnc is not None and not isinstance(self._setup_fnc, _Prewarm):
            self._setup_fnc = _Prewarm(self._setup_fnc)
        self._request_fnc = _asking(self._request_fnc)
        handler = _Warnings(level=logging.WARNING)
        logging.getLogger().addHandler(handler)

        def registered(worker: str, _: Any) -> None:
            emit("worker.registered", worker=worker, name=self._agent_name, pid=os.getpid())

        self.on("worker_registered", registered)
        try:
            await run(self, *args, **kwargs)
        except Exception as error:
            emit("worker.failed", **_error_of(error))
            raise
        finally:
            logging.getLogger().removeHandler(handler)

    @functools.wraps(drain)
    async def draining(self: Any, *args: Any, **kwargs: Any) -> None:
        emit("worker.draining", jobs=[info.job.id for info in self.active_jobs])
        await drain(self, *args, **kwargs)

    @functools.wraps(availability)
    def offered(self: Any, message: Any) -> None:
        job = message.job
        emit("job.offered", job=job.id, room=job.room.name, metadata=job.metadata)
        availability(self, message)

    @functools.wraps(queue)
    async def queueing(self: Any, message: Any) -> None:
        with contextlib.suppress(Exception):
            _told_server(self, message)
        await queue(self, message)

    AgentServer.run = running  # type: ignore[method-assign]
    AgentServer.drain = draining  # type: ignore[method-assign]
    AgentServer._queue_msg = queueing  # type: ignore[method-assign,assignment]
    AgentServer._handle_availability = offered  # type: ignore[method-assign,assignment]


def _asking(function: Callable[[JobRequest], Any] | None) -> Callable[[JobRequest], Any]:
    async def asking(request: JobRequest) -> None:
        _asked.add(request.id)
        try:
            await (function(request) if function is not None else request.accept())
        except Exception as error:
            emit("job.request_failed", job=request.id, **_error_of(error))
            raise

    return asking


def _told_server(server: Any, message: Any) -> None:
    """Report what the worker tells livekit-server."""
    which = message.WhichOneof("message")
    if which == "availability":
        answer = message.availability
        if answer.available:
            emit("job.accepted", job=answer.job_id, identity=answer.participant_identity)
            return
        if answer.job_id in _rejected:
            why = "rejected"
        elif answer.job_id in _asked:
            why = "ignored"
        else:
            why = "draining" if server.draining else "full"
        emit("job.rejected", job=answer.job_id, why=why, terminate=answer.terminate)
    elif which == "update_worker":
        full = message.update_worker.status != 0
        if full != server.__dict__.get("_sandbox_full", False):
            server.__dict__["_sandbox_full"] = full
            load, jobs = message.update_worker.load, message.update_worker.job_count
            emit("worker.full" if full else "worker.available", load=round(load, 2), jobs=jobs)
    elif which == "update_job":
        status = {0: "pending", 1: "running", 2: "success", 3: "failed"}
        value = message.update_job.status
        emit("job.status", job=message.update_job.job_id, status=status.get(value, str(value)))


def _hook_request() -> None:
    reject = JobRequest.reject

    @functools.wraps(reject)
    async def rejecting(self: Any, *args: Any, **kwargs: Any) -> None:
        _rejected.add(self.id)
        await reject(self, *args, **kwargs)

    JobRequest.reject = rejecting  # type: ignore[method-assign]


def install() -> None:
    """Hook into livekit-agents in this process; once, and only if somebody wants the reports.

    A hook whose place is gone in another release of livekit-agents is left out, and said.
    """
    global _installed
    if _installed or not os.environ.get(ADDRESS):
        return
    _installed = True
    for hook in (_hook_server, _hook_request, _hook_context, _hook_session):
        try:
            hook()
        except AttributeError as error:
            emit("agent.log", level="WARNING", logger="sandbox", text=f"{hook.__name__}: {error}")
