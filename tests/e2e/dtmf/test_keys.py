"""The finer points of DTMF: codes, lost packets, equal timestamps, what is sent on the wire."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable

import pytest
from livekit import api

from sandbox import DeadlineMissed, Event, Peer, Sandbox
from tests.e2e.conftest import PEER_TONE, Connect, Talk
from tests.e2e.wire import Wire, WireCall, media_line

KEYS = "0123456789*#ABCD"


def presses(sandbox: Sandbox, peer: Peer) -> list[tuple[str, int]]:
    """The digit and the code of each sip_dtmf_received of `peer`."""
    return [
        (e.data["digit"], e.data["code"])
        for e in sandbox.timeline.since(sandbox.mark)
        if e.name == "room.dtmf" and e.data["peer"] == peer.identity
    ]


def press(call: WireCall, packets: Iterable[tuple[int, int, int, bool, bool]]) -> None:
    """Send telephone-events as given: sequence, timestamp, key, marker, end."""
    assert call.answer is not None
    port = int(call.answer.body.partition("m=audio ")[2].split()[0])
    host = call.wire.endpoints.sip_host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for sequence, stamp, key, marker, end in packets:
            head = struct.pack("!BBHII", 0x80, 101 | (marker << 7), sequence, stamp, 0xABCD)
            sender.sendto(head + struct.pack("!BBH", key, 10 | (end << 7), 800), (host, port))


async def answered(sandbox: Sandbox, wire: Wire, **offer: object) -> tuple[WireCall, Peer]:
    """A call that is up, and a peer that has seen it."""
    number = await sandbox.inbound()
    assert number.room is not None
    peer = await number.room.join(tone=PEER_TONE)
    call = await (await wire.invite(number, **offer)).answered(tone=False)  # type: ignore[arg-type]
    await peer.sees(call.identity)
    return call, peer


async def test_every_key_has_its_code(sandbox: Sandbox, wire: Wire) -> None:
    """0 to 9 are codes 0 to 9, * is 10, # is 11 and A to D are 12 to 15, in lower case.

    (S-DTM-01)
    """
    call, peer = await answered(sandbox, wire)
    for key in range(16):  # one by one: of 32 packets at once livekit-sip takes the first ten
        stamp = 1000 * (key + 1)
        press(call, [(100 + 2 * key + end, stamp, key, not end, bool(end)) for end in (0, 1)])
        await peer.dtmf(KEYS.lower()[: key + 1], of=call.identity)
    assert presses(sandbox, peer) == [(digit, code) for code, digit in enumerate(KEYS.lower())]


async def test_lost_and_repeated_packets_are_one_press(sandbox: Sandbox, wire: Wire) -> None:
    """A press whose first packet is lost, or whose end is sent three times, is one event.

    (S-DTM-03)
    """
    call, peer = await answered(sandbox, wire)
    press(call, [(10, 800, 5, False, False), (11, 800, 5, False, False), (12, 800, 5, False, True)])
    press(call, [(n, 4000, 6, n == 20, n > 21) for n in range(20, 25)])
    await peer.dtmf("56", of=call.identity)


async def test_of_two_keys_with_one_timestamp_the_second_is_lost(
    sandbox: Sandbox, wire: Wire
) -> None:
    """Two keys whose packets have the same RTP timestamp are taken for one: the second is lost.

    (S-DTM-04, livekit/sip#796)
    """
    call, peer = await answered(sandbox, wire)
    press(call, [(10, 800, 5, True, False), (11, 800, 5, False, True)])
    press(call, [(12, 800, 6, True, False), (13, 800, 6, False, True)])
    press(call, [(14, 4000, 7, True, False), (15, 4000, 7, False, True)])
    await peer.dtmf("57", of=call.identity)


async def test_a_key_is_told_when_it_goes_down(sandbox: Sandbox, wire: Wire) -> None:
    """sip_dtmf_received comes with the first packet of a press, before the key is let go.

    (S-DTM-02)
    """
    call, peer = await answered(sandbox, wire)
    press(call, [(10, 800, 5, True, False)])
    await peer.dtmf("5", of=call.identity)


async def test_keys_of_an_agent_on_the_wire(sandbox: Sandbox, wire: Wire) -> None:
    """A digit from the room is 15 packets of volume 10, 2080 samples long in the end.

    (S-DTM-06)
    """
    call, peer = await answered(sandbox, wire)
    await peer.publish_dtmf("15")
    await wire.event("wire.dtmf", digit="1")
    await wire.event("wire.dtmf", digit="5")
    first, second = call.keys
    assert (first.key, second.key) == ("1", "5")
    assert (first.volume, first.duration) == (10, 2080)
    assert second.at - first.at > 0.4


async def test_an_empty_digit_is_nothing(sandbox: Sandbox, connect: Connect) -> None:
    """publish_dtmf with an empty digit sends nothing, whatever its code. (S-DTM-06)"""
    talk = await connect(await sandbox.inbound())
    await talk.peer.sees(talk.identity)
    await talk.peer.rtc.local_participant.publish_dtmf(code=7, digit="")
    await talk.peer.publish_dtmf("3")
    await talk.call.dtmf("3", within=4)


async def test_letters_from_the_room_are_dropped(sandbox: Sandbox, connect: Connect) -> None:
    """publish_dtmf with A is not sent: only the digits, * and # are. (S-DTM-06)"""
    talk = await connect(await sandbox.inbound())
    await talk.peer.sees(talk.identity)
    await talk.peer.rtc.local_participant.publish_dtmf(code=12, digit="A")
    await talk.peer.publish_dtmf("3")
    await talk.call.dtmf("3", within=4)


async def test_a_string_of_digits_is_dialled_with_its_pauses(
    sandbox: Sandbox, connect: Connect
) -> None:
    """One publish_dtmf with `12w3` presses 1 and 2, waits half a second, and presses 3.

    (S-DTM-06)
    """
    talk = await connect(await sandbox.inbound())
    await talk.peer.sees(talk.identity)
    await talk.peer.rtc.local_participant.publish_dtmf(code=0, digit="12w3")
    await talk.call.dtmf("123", within=5)


async def test_without_telephone_event_no_digit_is_sent(sandbox: Sandbox, wire: Wire) -> None:
    """Where the phone offered no telephone-event, publish_dtmf has no effect and harms nothing.

    (S-DTM-10)
    """
    call, peer = await answered(sandbox, wire, lines=["0", "a=rtpmap:0 PCMU/8000"])
    await peer.publish_dtmf("1")
    await wire.event("wire.tone", hz=PEER_TONE)
    with pytest.raises(DeadlineMissed):
        await wire.event("wire.dtmf", digit="1", within=0.5)
    assert set(call.media.payload_types) == {0}


async def test_telephone_event_at_48_khz_is_not_answered(sandbox: Sandbox, wire: Wire) -> None:
    """An offer whose only telephone-event is at 48 kHz is answered without any, and keys that are
    pressed all the same are not told.

    (S-DTM-12)
    """
    lines = ["0 101", "a=rtpmap:0 PCMU/8000", "a=rtpmap:101 telephone-event/48000"]
    call, peer = await answered(sandbox, wire, lines=lines)
    assert call.answer is not None
    assert media_line(call.answer) == "m=audio * RTP/AVP 0"
    assert "telephone-event" not in call.answer.body
    press(call, [(10, 800, 5, True, False), (11, 800, 5, False, True)])
    call.speak(call.answer)
    await peer.hears_tone(440, of=call.identity)
    assert presses(sandbox, peer) == []


async def test_who_may_not_publish_data_sends_no_digits(sandbox: Sandbox, connect: Connect) -> None:
    """can_publish_data=False: publish_dtmf of that participant does not reach the phone.

    (S-DTM-08, S-ASK-09, Q15)
    """
    talk = await connect(await sandbox.inbound())
    grants = api.VideoGrants(room_join=True, room=talk.room.name, can_publish_data=False)
    silent = await talk.room.join(grants=grants)
    await silent.sees(talk.identity)
    await silent.publish_dtmf("9")
    await talk.peer.sees(talk.identity)
    await talk.peer.publish_dtmf("3")
    await talk.call.dtmf("3", within=4)


async def test_a_call_out_presses_keys_once_it_is_answered(sandbox: Sandbox) -> None:
    """`dtmf` is pressed after the answer, under the status automation, and then it is active.

    (S-DTM-09)
    """
    line = await sandbox.phone.line()
    await line.answers()
    room = sandbox.room()
    peer = await room.join(tone=PEER_TONE)
    out = await sandbox.call_out(
        await sandbox.outbound_trunk(line.address), line.number, room=room, dtmf="1w2#"
    )
    call = await line.incoming()
    await call.dtmf("12#", within=6)
    await peer.attribute(out.identity, "sip.callStatus", "active")
    assert peer.values(out.identity, "sip.callStatus")[-2:] == ["automation", "active"]


async def test_letters_in_the_digits_of_a_call_out_are_dropped(sandbox: Sandbox) -> None:
    """`dtmf` with letters in it presses the digits alone, and is not refused. (S-DTM-09)"""
    line = await sandbox.phone.line()
    await line.answers()
    room = sandbox.room()
    await room.join(tone=PEER_TONE)
    trunk = await sandbox.outbound_trunk(line.address)
    await sandbox.call_out(trunk, line.number, room=room, dtmf="12x!", wait=True)
    call = await line.incoming()
    await call.dtmf("12", within=4)


async def test_keys_of_the_callee_reach_the_room(sandbox: Sandbox) -> None:
    """On a call out, keys go both ways as on a call in. (S-DTM-07)"""
    line = await sandbox.phone.line()
    await line.answers()
    room = sandbox.room()
    peer = await room.join(tone=PEER_TONE)
    out = await sandbox.call_out(
        await sandbox.outbound_trunk(line.address), line.number, room=room, wait=True
    )
    call = await line.incoming()
    await peer.sees(out.identity)
    await call.send_dtmf("77#")
    await peer.dtmf("77#", of=out.identity, within=5)
    await peer.publish_dtmf("3")
    await call.dtmf("3", within=4)


async def test_a_tone_pair_in_the_audio_is_no_key(sandbox: Sandbox, connect: Connect) -> None:
    """In-band tones are audio and nothing else: 697 Hz is heard and no key comes of it.

    (S-DTM-05)
    """
    talk: Talk = await connect(await sandbox.inbound(), tone=697)
    await talk.peer.hears_tone(697, of=talk.identity)
    await talk.call.send_dtmf("6")
    await talk.peer.dtmf("6", of=talk.identity, within=4)
    seen: list[Event] = [e for e in sandbox.timeline.since(sandbox.mark) if e.name == "room.dtmf"]
    assert len(seen) == 1
