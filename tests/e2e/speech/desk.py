"""An order desk: an AgentSession that talks by a script, in the tone alphabet or in words."""

from __future__ import annotations

from livekit.agents import Agent, AgentSession, JobContext, RunContext, function_tool
from livekit.agents._exceptions import APIError

from sandbox.speech import LocalSTT, LocalTTS, ScriptedLLM, ToneSTT, ToneTTS, ToolCall, Turn

LONG = "We are open from Monday to Friday, from nine to five, and on Saturday from ten to two."


def script() -> ScriptedLLM:
    return ScriptedLLM(
        Turn(when="my order", calls=[ToolCall("status_of", {"what": "order"})]),
        Turn(when="is ready", says=lambda output: f"Yes, {output}."),
        Turn(when="hours", says=LONG),
        Turn(when="stop", says="Sorry."),
        Turn(
            when="again",
            says="Here.",
            fails=APIError("the model is busy", retryable=True),
        ),
        Turn(when="bye", says="Bye!"),
        otherwise="Pardon?",
    )


class Desk(Agent):
    def __init__(self, order: str) -> None:
        super().__init__(instructions="You are an order desk.")
        self._order = order

    async def on_enter(self) -> None:
        await self.session.say("Order desk.")

    @function_tool
    async def status_of(self, context: RunContext[None], what: str) -> str:
        """The status of what the caller ordered."""
        return f"{what} {self._order} is ready"


async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    caller = await ctx.wait_for_participant()
    session: AgentSession[None] = AgentSession(
        stt=ToneSTT(),
        llm=script(),
        tts=ToneTTS(),
        vad=None,
        turn_handling={
            "turn_detection": "stt",
            "endpointing": {"min_delay": 0.0, "max_delay": 0.3},
        },
        # There is no echo on this line: the agent may be interrupted from its first word.
        aec_warmup_duration=None,
        session_close_transcript_timeout=0.1,
    )
    await session.start(Desk(caller.attributes.get("order.id", "?")), room=ctx.room)


async def spoken(ctx: JobContext) -> None:
    """With spoken words; the VAD and the turn detector are livekit-agents' own defaults."""
    await ctx.connect()
    caller = await ctx.wait_for_participant()
    session: AgentSession[None] = AgentSession(
        stt=LocalSTT(),
        llm=script(),
        tts=LocalTTS(),
        aec_warmup_duration=None,
        session_close_transcript_timeout=0.1,
    )
    await session.start(Desk(caller.attributes.get("order.id", "?")), room=ctx.room)
