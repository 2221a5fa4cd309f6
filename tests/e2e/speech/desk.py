"""An order desk: an AgentSession that talks by a script, in the tone alphabet or in words."""

from __future__ import annotations

from typing import Any

from livekit.agents import Agent, AgentSession, JobContext, RunContext, function_tool
from livekit.agents._exceptions import APIError

from sandbox.speech import LocalSTT, LocalTTS, ScriptedLLM, ToolCall, Turn
from tests.e2e.voices import voices

LONG = "We are open from Monday to Friday, from nine to five, and on Saturday from ten to two."


SCRIPT = (
    Turn(when="my order", calls=[ToolCall("status_of", {"what": "order"})]),
    Turn(when="is ready", says=str),
    Turn(when="hours", says=LONG),
    Turn(when="stop", says="Sorry."),
    Turn(when="again", says="Here.", fails=APIError("the model is busy", retryable=True)),
)


# A recogniser is sure of sentences rather than of single words.
SPOKEN = (
    Turn(when="my order", calls=[ToolCall("status_of", {"what": "order"})]),
    Turn(when="is ready", says=lambda output: f"Your {output}."),
    Turn(when="open", says=LONG),
)


class Desk(Agent):
    def __init__(self, order: str, greeting: str) -> None:
        super().__init__(instructions="You are an order desk.")
        self._order = order
        self._greeting = greeting

    async def on_enter(self) -> None:
        await self.session.say(self._greeting)

    @function_tool
    async def status_of(self, context: RunContext[None], what: str) -> str:
        """The status of what the caller ordered."""
        return f"{what} {self._order} is ready"


async def talk(ctx: JobContext, greeting: str, arguments: dict[str, Any]) -> None:
    await ctx.connect()
    caller = await ctx.wait_for_participant()
    session: AgentSession[None] = AgentSession(**arguments)
    await session.start(Desk(caller.attributes.get("order.id", "?"), greeting), room=ctx.room)


async def entrypoint(ctx: JobContext) -> None:
    await talk(ctx, "Desk.", voices(*SCRIPT))


async def spoken(ctx: JobContext) -> None:
    """With spoken words; the VAD and the turn detector are livekit-agents' own defaults."""
    tts = LocalTTS()
    # While the call is set up; the greeting needs the voice before anything needs the model.
    tts.prewarm()
    arguments = {
        "stt": LocalSTT(),
        "llm": ScriptedLLM(*SPOKEN, otherwise="What else can I do?"),
        "tts": tts,
        "aec_warmup_duration": None,
        "session_close_transcript_timeout": 0.1,
        "turn_handling": {"endpointing": {"min_delay": 0.1, "max_delay": 0.5}},
    }
    await talk(ctx, "How can I help you?", arguments)
