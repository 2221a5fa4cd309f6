"""Piper and Whisper as plugins of livekit-agents, without a session, and as a process."""

from __future__ import annotations

import asyncio
import base64

import numpy as np
import pytest
from livekit.agents import stt, tts
from livekit.agents.types import APIConnectOptions

from sandbox.errors import SetupError
from sandbox.speech import LocalSTT, LocalTTS, engine, local
from sandbox.speech.words import compare

ONCE = APIConnectOptions(max_retry=0)
SPEECH = pytest.mark.skipif(bool(local.missing()), reason=local.missing() or "it is installed")


@SPEECH
async def test_what_the_tts_says_the_stt_hears() -> None:
    spoken = await LocalTTS().synthesize("Your order forty two is ready.").collect()
    event = await LocalSTT().recognize([spoken], conn_options=ONCE)
    assert event.type == stt.SpeechEventType.FINAL_TRANSCRIPT
    assert compare("your order 42 is ready", event.alternatives[0].text).rate == 0


@SPEECH
async def test_a_reply_is_made_sentence_by_sentence() -> None:
    """What an AgentSession does with a TTS that does not stream."""
    pieces: list[str] = []

    class Noting(LocalTTS):
        def synthesize(
            self, text: str, *, conn_options: APIConnectOptions = ONCE
        ) -> tts.ChunkedStream:
            pieces.append(text.strip())
            return super().synthesize(text, conn_options=conn_options)

    async with tts.StreamAdapter(tts=Noting()).stream() as out:
        out.push_text("There are two sentences here. This is the second of them.")
        out.end_input()
        seconds = sum([audio.frame.duration async for audio in out])
    assert pieces == ["There are two sentences here.", "This is the second of them."]
    assert 2 < seconds < 6


@SPEECH
async def test_a_long_utterance_is_heard_to_its_end() -> None:
    """It is longer than the half of Whisper's 30 s that short ones are read in."""
    text = (
        "Thank you for calling the order desk. Your package left our house on Monday morning, "
        "and the driver will ring your bell tomorrow at ten. Please have the invoice and your "
        "passport ready. If nobody is at home, your neighbour may sign for it. Is there anything "
        "else that I can do for you today?"
    )
    speech = local.LocalSpeech()
    samples = await speech.say(text)
    assert samples.size > 13 * local.SPEECH_RATE
    heard = await speech.recognise(samples, local.SPEECH_RATE)
    speech.close()
    assert compare(text, heard).rate < 0.1


@SPEECH
async def test_words_that_whisper_repeats_are_read_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It does so with too little silence behind them; then it is given all of its 30 s."""
    text = "How can I help you?"
    speech = local.LocalSpeech()
    samples = await speech.say(text)
    speech.close()
    short = (samples / 32768).astype(np.float32)
    assert engine._read_short(short) == text
    monkeypatch.setattr(engine, "_WINDOW", 500)
    assert engine._read_short(short) is None
    assert engine._read(base64.b64encode(samples.tobytes()).decode()) == {"text": text}


@SPEECH
def test_event_loops_share_one_process() -> None:
    speech = local.LocalSpeech()

    async def use() -> int:
        await speech.say("hello")
        assert speech._process is not None
        return speech._process.pid

    assert asyncio.run(use()) == asyncio.run(use())
    speech.close()


@SPEECH
async def test_a_process_that_dies_is_told_and_another_started() -> None:
    speech = local.LocalSpeech()
    await speech.say("hello")
    assert speech._process is not None
    asked = asyncio.create_task(speech.say("hello again, " * 40))
    await asyncio.sleep(0)
    speech._process.kill()
    with pytest.raises(SetupError, match="its process has ended, code -9"):
        await asked
    assert (await speech.say("hello")).size
    speech.close()


@pytest.mark.parametrize("plugin", [LocalSTT, LocalTTS])
def test_without_the_extra_the_plugin_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, plugin: type[LocalSTT] | type[LocalTTS]
) -> None:
    monkeypatch.setattr(local, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match=r"\[speech\] is not installed") as error:
        plugin()
    assert "pip install 'livekit-sip-sandbox[speech]'" in error.value.remedy
