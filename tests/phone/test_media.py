"""Audio, DTMF and statistics between two lines."""

from __future__ import annotations

import asyncio
import wave
from pathlib import Path

import numpy as np
import pytest

from sandbox.audio import level_dbov, sine
from sandbox.errors import DeadlineMissed, PhoneError
from sandbox.phone.call import Call
from sandbox.phone.client import Line, Phone

Talk = tuple[Call, Call]


@pytest.mark.parametrize("codec", ["PCMU", "PCMA", "G722"])
async def test_tones_both_ways_in_each_codec(alice: Line, bob: Line, codec: str) -> None:
    await bob.answers(tone=700)
    call = await alice.dial(bob.uri, codecs=[codec], tone=440)
    other = await bob.incoming()
    heard, other_heard = await asyncio.gather(
        call.hears_tone(700, at_least=0.3), other.hears_tone(440, at_least=0.3)
    )
    assert heard.data["hz"] == pytest.approx(700, abs=3)
    # On a busy machine the first frames have gaps; later ones have not.
    assert other_heard.data["level_dbov"] == pytest.approx(-12, abs=5)
    assert await other.level_in() == pytest.approx(
        -12, abs=3
    )  # of 20 ms: a frame that came late counts
    assert (await call.stats()).codec == codec
    assert codec in call.invite.body
    assert not any(c in call.invite.body for c in {"PCMU", "PCMA", "G722"} - {codec})


async def test_the_codecs_of_an_offer_are_in_order(phone: Phone, bob: Line) -> None:
    await bob.answers()
    line = await phone.line(codecs=["G722", "PCMA"])
    call = await line.dial(bob.uri)
    event = await call.answered()
    media = next(x for x in call.invite.body.splitlines() if x.startswith("m=audio"))
    assert media.split(" ", 3)[3].startswith("9 8 ")
    assert event.data["codec"] == "G722"


async def test_wideband_audio_survives_g722(alice: Line, bob: Line) -> None:
    await bob.answers()
    call = await alice.dial(bob.uri, codecs=["G722"], tone=5500)
    await (await bob.incoming()).hears_tone(5500)
    await call.hang_up()


async def test_a_tone_stops_and_another_begins(talk: Talk) -> None:
    call, other = talk
    await other.hears_silence()
    await call.play_tone(1000, level_dbov=-20)
    await other.hears_tone(1000, at_least=0.2)
    assert await other.level_in() == pytest.approx(-20, abs=3)
    with pytest.raises(DeadlineMissed, match="to hear 700 Hz"):
        await other.hears_tone(700, within=0.3)
    with pytest.raises(DeadlineMissed):
        await other.hears_no_tone(1000, for_=0.1, within=0.1)
    await call.play_tone(1500)
    await other.hears_tone(1500)
    await other.hears_no_tone(1000, for_=0.3)
    assert len(other.tones()) == 1
    assert await other.level_in() == pytest.approx(-12, abs=3)
    assert await call.level_out() == pytest.approx(-12, abs=0.5)
    await call.silence()
    await other.hears_silence(for_=0.4)
    await other.hears_no_tone(for_=0.2)


@pytest.mark.parametrize("method", ["rfc4733", "info"])
async def test_digits_both_ways(talk: Talk, method: str) -> None:
    call, other = talk
    await call.send_dtmf("12#", method=method, duration_ms=100, gap_ms=80)  # type: ignore[arg-type]
    await other.dtmf("12#")
    await other.send_dtmf("*0D", method=method, duration_ms=100, gap_ms=80)  # type: ignore[arg-type]
    await call.dtmf("*0D")
    await call.send_dtmf("9", method=method)  # type: ignore[arg-type]
    await other.dtmf("9")
    assert (call.digits, other.digits) == ("*0D", "12#9")
    received = [
        e
        for e in other.phone.timeline
        if e.name == "dtmf.received" and e.call == other.id and e.data["digit"] == "1"
    ]
    assert [e.data["method"] for e in received] == [method]
    assert received[0].data["duration_ms"] == pytest.approx(100, abs=25)


async def test_wrong_digits_are_an_error_at_once(talk: Talk) -> None:
    call, other = talk
    await call.send_dtmf("15")
    with pytest.raises(DeadlineMissed, match="before it came") as caught:
        await other.dtmf("12", within=30)
    assert caught.value.cause == "received '15'"
    with pytest.raises(PhoneError, match="no DTMF digit"):
        await call.send_dtmf("1x")


async def test_early_media_is_heard_before_the_answer(alice: Line, bob: Line) -> None:
    await bob.early_media(tone=425, after=1.0, answer_tone=800)
    call = await alice.dial(bob.uri)
    early = await call.early()
    assert early.data["status"] == 183
    await call.hears_tone(425, within=2)
    assert not call.is_answered
    await call.answered()
    await call.hears_tone(800)


async def test_statistics_and_first_packets(talk: Talk) -> None:
    call, other = talk
    await call.play_tone(440)
    await other.hears_tone(440, at_least=0.5)
    await other.hang_up()
    ended = await call.ended()
    stats = ended.stats
    assert stats.codec == "PCMU"
    assert stats.clock_rate == 8000
    assert stats.packets_sent > 20
    assert stats.packets_received > 20
    assert stats.bytes_sent >= 160 * (stats.packets_sent - 2)
    answered = next(m for m in call.messages if m.status == 200)
    assert 0 <= stats.first_sent_at - answered.at < 0.5
    assert stats.first_received_at > 0
    assert await call.stats() == stats
    names = [e.name for e in call.phone.timeline if e.call == call.id]
    assert names.count("rtp.first_sent") == names.count("rtp.first_received") == 1


async def test_a_file_is_played_and_recorded(talk: Talk, tmp_path: Path) -> None:
    call, other = talk
    path = tmp_path / "tone.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(sine(600, 0.6, rate=8000).tobytes())
    recording = await other.record()
    await call.play_wav(path)
    await other.hears_tone(600)
    await call.wait(
        lambda e: call.mine(e) and e.name == "media.played", within=2, expected="its end"
    )
    await other.hears_no_tone(600, for_=0.2)
    await other.stop_recording()
    with wave.open(str(recording.received)) as file:
        assert (file.getframerate(), file.getnchannels()) == (8000, 1)  # PCMU
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)
    assert level_dbov(samples) > -30
    assert recording.sent.stat().st_size == pytest.approx(
        recording.received.stat().st_size, abs=2000
    )
    with pytest.raises(PhoneError, match="cannot play"):
        await call.play_wav(tmp_path / "missing.wav")


async def test_srtp_with_keys_in_the_sdp(phone: Phone) -> None:
    callee = await phone.line(srtp="mandatory")
    await callee.answers(tone=700)
    caller = await phone.line(srtp="mandatory")
    call = await caller.dial(callee.uri)
    await call.hears_tone(700)
    assert "RTP/SAVP" in call.invite.body
    assert "a=crypto:" in call.invite.body
