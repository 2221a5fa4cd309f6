"""What is kept of a call's media for its trace: every packet on the wire, and both directions."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.phone.client import Phone
from sandbox.timeline import Event
from sandbox.trace.packets import read_packets


async def _captured(phone: Phone, call: str) -> Event:
    return await phone.wait(
        lambda e: e.name == "media.captured" and e.call == call,
        within=2,
        expected="the capture of a call",
    )


@pytest.mark.parametrize("srtp", ["off", "mandatory"])
async def test_every_packet_of_both_directions_is_kept(phone: Phone, srtp: str) -> None:
    phone.capture = True
    callee = await phone.line(srtp=srtp)  # type: ignore[arg-type]
    caller = await phone.line(srtp=srtp)  # type: ignore[arg-type]
    phone.capture = False
    await callee.answers(tone=700)
    call = await caller.dial(callee.uri, tone=440)
    await call.answered()
    await call.hears_tone(700, at_least=0.2)
    started = call.phone.timeline.find(lambda e: e.name == "media.started" and e.call == call.id)
    await call.hang_up()
    ended = await call.ended()
    event = await _captured(phone, call.id)
    other = await _captured(phone, callee.calls[0].id)
    packets = [p for p in read_packets(Path(event.data["packets"])) if not p.rtcp]
    theirs = [p for p in read_packets(Path(other.data["packets"])) if not p.rtcp]
    sent = [p.data for p in packets if p.sent]
    received = [p.data for p in packets if not p.sent]
    assert len(sent) == ended.stats.packets_sent > 0
    assert len(received) >= ended.stats.packets_received > 0
    # What one side sent is what the other got, to the bit.
    assert sent[:5] == [p.data for p in theirs if not p.sent][:5]
    assert started is not None
    assert {f"{p.address}:{p.port}" for p in packets} == {started.data["remote"]}


async def test_the_audio_of_both_directions_is_kept(phone: Phone) -> None:
    from sandbox.trace.sound import read_mono

    phone.capture = True
    callee, caller = await phone.line(), await phone.line(codecs=["G722"])
    phone.capture = False
    await callee.answers(tone=700)
    call = await caller.dial(callee.uri, tone=440)
    await call.hears_tone(700, at_least=0.3)
    await call.hang_up()
    event = await _captured(phone, call.id)
    for name, hz in (("received", 700), ("sent", 440)):
        samples, rate = read_mono(Path(event.data[name]))
        assert rate == 16000
        import numpy as np

        tail = samples[-rate // 5 :].astype(float)
        peak = np.argmax(np.abs(np.fft.rfft(tail))) * rate / tail.size
        assert abs(peak - hz) < 10


async def test_a_line_that_does_not_capture_keeps_nothing(phone: Phone) -> None:
    callee, caller = await phone.line(), await phone.line()
    await callee.answers(tone=700)
    call = await caller.dial(callee.uri)
    await call.answered()
    await call.hang_up()
    await call.ended()
    await phone.reset()
    assert phone.timeline.find(lambda e: e.name == "media.captured" and e.call == call.id) is None
