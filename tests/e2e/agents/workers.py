"""The agents of the scenarios: plain livekit-agents, each started as `workers.py:name`."""

from __future__ import annotations

import asyncio
import json
import math
import os
import struct

from livekit import api, rtc
from livekit.agents import AgentServer, JobContext, JobRequest

from sandbox.agents.publishing import published

RATE = 16000
FRAME = RATE // 50


async def speak(ctx: JobContext, hz: float = 600.0) -> None:
    """Publish an endless tone, as a voice that needs no model."""
    source = rtc.AudioSource(RATE, 1, queue_size_ms=200)
    track = rtc.LocalAudioTrack.create_audio_track("voice", source)
    options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=False)
    if not await published(ctx.room, track, options):
        return
    samples = [int(8000 * math.sin(2 * math.pi * hz * n / RATE)) for n in range(RATE)]
    frames = [
        rtc.AudioFrame(struct.pack(f"<{FRAME}h", *samples[n : n + FRAME]), RATE, 1, FRAME)
        for n in range(0, RATE, FRAME)
    ]
    over = asyncio.Event()

    async def play() -> None:
        number = 0
        while not over.is_set():
            await source.capture_frame(frames[number % len(frames)])
            number += 1

    playing = asyncio.create_task(play())

    async def stop() -> None:
        over.set()
        await asyncio.wait({playing}, timeout=1)

    ctx.add_shutdown_callback(stop)


async def tone(ctx: JobContext) -> None:
    """Waits for the caller and speaks; leaves when the caller has left."""
    await ctx.connect()
    caller = await ctx.wait_for_participant()

    def left(who: rtc.RemoteParticipant) -> None:
        if who.identity == caller.identity:
            ctx.shutdown("the caller left")

    ctx.room.on("participant_disconnected", left)
    await speak(ctx)


async def raises(ctx: JobContext) -> None:
    """Fails as a missing key would, before it has said anything."""
    await ctx.connect()
    raise RuntimeError("no API key for the speech service")


async def crashes(ctx: JobContext) -> None:
    """Its process is gone in the middle of the job."""
    await ctx.connect()
    os._exit(3)


async def waits(ctx: JobContext) -> None:
    """Asks for participants of each kind, and reports whom it got in its own attributes."""
    await ctx.connect()
    standard = rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD
    sip = rtc.ParticipantKind.PARTICIPANT_KIND_SIP
    person, caller = await asyncio.gather(
        ctx.wait_for_participant(kind=standard), ctx.wait_for_participant(kind=sip)
    )
    again = await ctx.wait_for_participant(identity=caller.identity)
    ctx.shutdown(json.dumps([person.identity, caller.identity, again.identity]))


async def each(ctx: JobContext) -> None:
    """Runs a coroutine for every caller, and tells the room of each."""

    async def greet(ctx: JobContext, caller: rtc.RemoteParticipant) -> None:
        await ctx.room.local_participant.set_attributes({caller.identity: "greeted"})

    ctx.add_participant_entrypoint(greet)
    await ctx.connect()
    await speak(ctx)


async def dials(ctx: JobContext) -> None:
    """Calls the number of its metadata, and says how that went as its reason to end."""
    await ctx.connect()
    order = json.loads(ctx.job.metadata)
    request = api.CreateSIPParticipantRequest(
        sip_trunk_id=order["trunk"],
        sip_call_to=order["to"],
        room_name=ctx.room.name,
        participant_identity="callee",
        wait_until_answered=True,
    )
    request.ringing_timeout.FromSeconds(1)
    try:
        await ctx.api.sip.create_sip_participant(request)
    except api.SipCallError as error:
        ctx.shutdown(f"{error.sip_status_code} {error.sip_status}")
        return
    callee = await ctx.wait_for_participant(identity="callee")
    await speak(ctx)
    await ctx.room.local_participant.set_attributes({"callee": callee.attributes["sip.callStatus"]})


async def transfers(ctx: JobContext) -> None:
    """Speaks, and on a 0 sends the caller on to the URI of its metadata (a cold transfer)."""
    await ctx.connect()
    caller = await ctx.wait_for_participant()
    zero = asyncio.Event()
    ctx.room.on("sip_dtmf_received", lambda press: zero.set() if press.digit == "0" else None)
    await speak(ctx)
    await zero.wait()
    await ctx.api.sip.transfer_sip_participant(
        api.TransferSIPParticipantRequest(
            participant_identity=caller.identity,
            room_name=ctx.room.name,
            transfer_to=ctx.job.metadata,
        )
    )
    ctx.shutdown("transferred")


async def closes(ctx: JobContext) -> None:
    """Ends the call itself once a digit has come, by deleting the room."""
    await ctx.connect()
    await ctx.wait_for_participant()
    digit = asyncio.Event()
    ctx.room.on("sip_dtmf_received", lambda _: digit.set())
    await speak(ctx)
    await digit.wait()
    await ctx.delete_room()


rejecting = AgentServer()


@rejecting.rtc_session(on_request=lambda request: request.reject(terminate=False))
async def _never(ctx: JobContext) -> None:
    raise AssertionError("rejected jobs are not run")


terminating = AgentServer()


@terminating.rtc_session(on_request=lambda request: request.reject())
async def _never_either(ctx: JobContext) -> None:
    raise AssertionError("rejected jobs are not run")


ignoring = AgentServer()


async def _look_away(request: JobRequest) -> None:
    """Neither accepts nor rejects."""


ignoring.rtc_session(tone, on_request=_look_away)


def _one_at_a_time(server: AgentServer) -> float:
    return 1.0 if server.active_jobs else 0.0


# Its load is its calls: one, and it is full. The port is free for others beside it.
single = AgentServer(load_fnc=_one_at_a_time, load_threshold=0.5, port=0)
single.rtc_session(tone)

full = AgentServer(load_fnc=lambda: 0.9, load_threshold=0.7, port=0)
full.rtc_session(tone)


def _prewarm(_: object) -> None:
    raise OSError("the model's file is not there")


unprepared = AgentServer(setup_fnc=_prewarm)
unprepared.rtc_session(tone)
