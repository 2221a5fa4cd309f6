"""Who hears whom, from when on, and what becomes of a stream that is muted or odd."""

from __future__ import annotations

import asyncio
import socket
import struct

import numpy as np
from livekit import rtc

from sandbox import Sandbox
from sandbox.audio import sine
from tests.e2e.conftest import CALLER_TONE, PEER_TONE, Connect, tones_heard
from tests.e2e.wire import Wire


async def test_two_callers_and_two_peers_hear_all_but_themselves(sandbox: Sandbox) -> None:
    """In a room of two phones and two peers everybody hears the others, and never itself.

    (S-MED-10)
    """
    number = await sandbox.inbound()
    assert number.room is not None
    left, right = await asyncio.gather(number.room.join(tone=500), number.room.join(tone=1100))
    first, second = await asyncio.gather(
        sandbox.phone.dial(number, tone=1700), sandbox.phone.dial(number, tone=2300)
    )
    await asyncio.gather(first.answered(within=5), second.answered(within=5))
    (_, one), (_, two) = await asyncio.gather(sandbox.joined(first), sandbox.joined(second))
    await asyncio.gather(
        left.hears_tone(1700, of=one.identity, within=6),
        left.hears_tone(2300, of=two.identity, within=6),
        right.hears_tone(1700, of=one.identity, within=6),
        right.hears_tone(2300, of=two.identity, within=6),
        left.hears_tone(1100, within=6),
        right.hears_tone(500, within=6),
    )
    assert 500 not in left.heard()
    assert 1700 not in left.heard(of=two.identity)
    assert 1700 not in tones_heard(sandbox, first)
    assert 2300 not in tones_heard(sandbox, second)


async def test_a_peer_that_stops_and_speaks_again_is_heard_again(
    sandbox: Sandbox, connect: Connect
) -> None:
    """A track taken back is silence for the phone, and a new track is heard. (S-MED-13)"""
    talk = await connect(await sandbox.inbound())
    await talk.call.hears_tone(PEER_TONE, within=4)
    await talk.peer.unpublish()
    await talk.call.hears_silence(within=4)
    await talk.peer.publish_tone(900)
    await talk.call.hears_tone(900, within=4)


async def test_a_muted_track_is_silence_until_it_is_unmuted(
    sandbox: Sandbox, connect: Connect
) -> None:
    """mute() is silence for the phone, and unmute() brings the voice back. (S-MED-13)"""
    talk = await connect(await sandbox.inbound())
    await talk.call.hears_tone(PEER_TONE, within=4)
    (publication,) = talk.peer.rtc.local_participant.track_publications.values()
    assert publication.track is not None
    publication.track.mute()
    await talk.call.hears_silence(within=4)
    # Another tone into the muted track: that the first one ends and begins again could be told of
    # a stream that stalled, too.
    await talk.peer.publish_tone(900)
    await talk.call.hears_no_tone(for_=0.3)
    assert 900 not in tones_heard(sandbox, talk.call)
    publication.track.unmute()
    await talk.call.hears_tone(900, within=4)


async def test_a_stereo_track_is_heard_as_well(sandbox: Sandbox) -> None:
    """A peer that publishes in stereo answers the call and is heard, mixed down. (S-MED-12)"""
    number = await sandbox.inbound()
    assert number.room is not None
    peer = await number.room.join()
    source = rtc.AudioSource(48000, 2, queue_size_ms=100)
    track = rtc.LocalAudioTrack.create_audio_track("stereo", source)
    await peer.rtc.local_participant.publish_track(
        track, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=False)
    )
    second = np.repeat(sine(PEER_TONE, 1.0, rate=48000, level_dbov=-12.0), 2)

    async def play() -> None:
        while True:
            for start in range(0, len(second), 1920):
                frame = second[start : start + 1920].tobytes()
                await source.capture_frame(rtc.AudioFrame(frame, 48000, 2, 960))

    playing = asyncio.create_task(play())
    try:
        call = await sandbox.phone.dial(number)
        await call.answered(within=3)
        await call.hears_tone(PEER_TONE, within=4)
    finally:
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
        await source.aclose()


async def test_a_caller_who_speaks_at_once_is_heard(sandbox: Sandbox, connect: Connect) -> None:
    """A caller who speaks from the first packet on is heard in the room. (S-MED-15)"""
    talk = await connect(await sandbox.inbound(), tone=CALLER_TONE)
    await talk.peer.hears_tone(CALLER_TONE, of=talk.identity, within=3)


async def test_a_callee_hears_the_room_from_the_answer_on(sandbox: Sandbox) -> None:
    """Who speaks in the room before the callee answers is heard as soon as it has. (S-MED-14)"""
    line = await sandbox.phone.line()
    await line.answers()
    room = sandbox.room()
    await room.join(tone=PEER_TONE)
    await sandbox.call_out(await sandbox.outbound_trunk(line.address), line.number, room=room)
    call = await line.incoming()
    await call.answered(within=3)
    await call.hears_tone(PEER_TONE, within=2)


async def test_packets_that_are_no_audio_are_ignored(sandbox: Sandbox, wire: Wire) -> None:
    """RTCP, junk, an unknown payload type and comfort noise on the RTP port disturb nothing.

    (S-MED-21)
    """
    number = await sandbox.inbound()
    assert number.room is not None
    peer = await number.room.join(tone=PEER_TONE)
    call = await (await wire.invite(number)).answered(tone=False)
    assert call.answer is not None
    port = int(call.answer.body.partition("m=audio ")[2].split()[0])
    packets = [
        b"junk",
        b"",
        b"\x80\xc9\x00\x01" + b"\x00\x00\x00\x01",  # RTCP receiver report
        struct.pack("!BBHII", 0x80, 77, 1, 0, 7) + b"\x00" * 40,  # unknown payload type
        struct.pack("!BBHII", 0x80, 13, 2, 160, 7) + b"\x40",  # comfort noise (RFC 3389)
        struct.pack("!BBHII", 0x8F, 0, 3, 320, 7),  # fifteen CSRCs and nothing behind them
    ]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for packet in packets:
            sender.sendto(packet, (sandbox.endpoints.sip_host, port))
    call.speak(call.answer)
    await asyncio.gather(
        peer.hears_tone(440, of=call.identity), wire.event("wire.tone", hz=PEER_TONE)
    )


async def test_a_second_source_takes_over(sandbox: Sandbox, wire: Wire) -> None:
    """A phone that changes SSRC, sequence and timestamp in a call is heard on. (S-MED-21)"""
    number = await sandbox.inbound()
    assert number.room is not None
    peer = await number.room.join(tone=PEER_TONE)
    call = await (await wire.invite(number)).answered()
    await peer.hears_tone(440, of=call.identity)
    call.media.stop()
    mark = sandbox.timeline.mark()
    second = await wire.media()
    try:
        assert call.answer is not None
        port = int(call.answer.body.partition("m=audio ")[2].split()[0])
        second.start((sandbox.endpoints.sip_host, port), 0)
        second.press("5")
        await peer.dtmf("5", of=call.identity)
    finally:
        second.close()
    assert mark < sandbox.timeline.mark()
