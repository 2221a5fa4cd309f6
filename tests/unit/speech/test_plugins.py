"""The plugins for livekit-agents, without a session: tones there and back, and the script."""

from __future__ import annotations

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import llm, stt
from livekit.agents._exceptions import APIConnectionError, APIError
from livekit.agents.types import APIConnectOptions

from sandbox.speech import ScriptedLLM, ToneSTT, ToneTTS, ToolCall, Turn

ONCE = APIConnectOptions(max_retry=0)
TWICE = APIConnectOptions(max_retry=1, retry_interval=0.0)


def asked(*items: str, tool: str | None = None) -> llm.ChatContext:
    """A context of user and assistant in turn, and the output of a tool behind them."""
    context = llm.ChatContext()
    for number, text in enumerate(items):
        context.add_message(role="assistant" if number % 2 else "user", content=text)
    if tool is not None:
        context.items.append(
            llm.FunctionCallOutput(name="tool", call_id="c1", output=tool, is_error=False)
        )
    return context


async def answer(
    script: ScriptedLLM, context: llm.ChatContext, options: APIConnectOptions = ONCE
) -> llm.CollectedResponse:
    return await script.chat(chat_ctx=context, conn_options=options).collect()


async def test_what_the_tts_says_the_stt_hears() -> None:
    spoken = await ToneTTS().synthesize("Two sentences. Or one message?").collect()
    event = await ToneSTT().recognize([spoken])
    assert event.alternatives[0].text == "Two sentences. Or one message?"


async def test_the_pause_of_a_tts_is_silence_behind_the_text() -> None:
    at_once = await ToneTTS().synthesize("bye").collect()
    with_a_pause = await ToneTTS(pause=0.3).synthesize("bye").collect()
    assert with_a_pause.duration - at_once.duration == pytest.approx(0.3, abs=0.01)
    behind = np.frombuffer(with_a_pause.data, dtype=np.int16)[-int(0.29 * 16000) :]
    assert not behind.any()


async def test_the_stream_tells_begin_interim_final_and_end() -> None:
    tts = ToneTTS()
    async with tts.stream() as out:
        out.push_text("Hello ")
        out.push_text("there")
        out.end_input()
        frames = [audio.frame async for audio in out]
    quiet = rtc.AudioFrame(np.zeros(8000, dtype=np.int16).tobytes(), 16000, 1, 8000)
    stream = ToneSTT().stream()
    for frame in [quiet, *frames, quiet]:
        stream.push_frame(frame)
    stream.end_input()
    events = [event async for event in stream]
    kinds = [event.type for event in events]
    assert kinds[0] == stt.SpeechEventType.START_OF_SPEECH
    assert kinds[-2:] == [
        stt.SpeechEventType.FINAL_TRANSCRIPT,
        stt.SpeechEventType.END_OF_SPEECH,
    ]
    assert set(kinds[1:-2]) == {stt.SpeechEventType.INTERIM_TRANSCRIPT}
    final = events[-2].alternatives[0]
    assert final.text == "Hello there"
    assert final.start_time == pytest.approx(0.5, abs=0.1)
    await stream.aclose()


async def test_turns_are_taken_in_order() -> None:
    script = ScriptedLLM("first", "second")
    assert (await answer(script, asked("a"))).text == "first"
    assert (await answer(script, asked("a", "first", "b"))).text == "second"
    assert script.left == ()


async def test_a_turn_waits_for_its_input() -> None:
    script = ScriptedLLM(Turn(when="hours", says="nine to five"), "what?")
    assert (await answer(script, asked("hello"))).text == "what?"
    assert (await answer(script, asked("hello", "what?", "your HOURS?"))).text == "nine to five"


@pytest.mark.parametrize(
    ("when", "said", "takes"),
    [
        ("order 42", "Order forty two, please.", True),
        ("where is my order", "Where is my order?", True),
        ("order #4", "my order #42", True),
        ("order 4", "order forty two", False),
        ("!", "hello", False),
    ],
)
def test_a_text_may_be_written_as_a_recogniser_writes_it(when: str, said: str, takes: bool) -> None:
    assert Turn(when=when).takes(said) is takes


async def test_the_same_request_gets_the_same_turn() -> None:
    script = ScriptedLLM("first", "second")
    for _ in range(2):
        assert (await answer(script, asked("a"))).text == "first"


async def test_a_tool_is_called_and_its_output_answered() -> None:
    script = ScriptedLLM(
        Turn(says="Let me see.", calls=[ToolCall("status_of", {"order": 42})]),
        Turn(says=lambda output: f"It {output}."),
    )
    first = await answer(script, asked("order?"))
    assert (first.text, first.tool_calls[0].name, first.tool_calls[0].arguments) == (
        "Let me see.",
        "status_of",
        '{"order": 42}',
    )
    assert (await answer(script, asked("order?", tool="ships"))).text == "It ships."
    assert [(r.of, r.text) for r in script.requests] == [("user", "order?"), ("tool", "ships")]


async def test_a_failure_comes_as_often_as_it_was_told_to() -> None:
    turn = Turn(says="at last", fails=APIError("busy", retryable=True), failures=2)
    with pytest.raises(APIConnectionError):
        await answer(ScriptedLLM(turn), asked("a"), TWICE)
    once = Turn(says="at last", fails=APIError("busy", retryable=True))
    assert (await answer(ScriptedLLM(once), asked("a"), TWICE)).text == "at last"


async def test_a_script_that_has_no_turn_says_so() -> None:
    script = ScriptedLLM(Turn(when="hours", says="nine to five"))
    with pytest.raises(APIError, match=r"no turn for 'hello'; left are 'hours'"):
        await answer(script, asked("hello"))
    assert (await answer(ScriptedLLM(otherwise="sorry?"), asked("hello"))).text == "sorry?"
