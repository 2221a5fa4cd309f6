"""An order desk: an AgentSession that hears and speaks in the tone alphabet, by a script."""

from __future__ import annotations

from livekit.agents import Agent, AgentSession, JobContext, RunContext, function_tool
from livekit.agents._exceptions import APIError

from sandbox.speech import ScriptedLLM, ToneSTT, ToneTTS, ToolCall, Turn

LONG = "We are open from Monday to Friday, from nine to five, and on Saturday from ten to two."


def script() -> ScriptedLLM:
    return ScriptedLLM(
        Turn(when="where is my order", calls=[ToolCall("status_of", {"what": "order"})]),
        Turn(when="42 ships", says=lambda output: f"It says: {output}"),
        Turn(when="opening hours", says=LONG),
        Turn(when="stop", says="Sorry. What else?"),
        Turn(
            when="try again",
            says="There you are.",
            fails=APIError("the model is busy", retryable=True),
        ),
        Turn(when="bye", says="Good bye!"),
        otherwise="I did not get that.",
    )


class Desk(Agent):
    def __init__(self, order: str) -> None:
        super().__init__(instructions="You are an order desk.")
        self._order = order

    async def on_enter(self) -> None:
        await self.session.say("Order desk, how can I help?")

    @function_tool
    async def status_of(self, context: RunContext[None], what: str) -> str:
        """The status of what the caller ordered."""
        return f"{what} {self._order} ships tomorrow"


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
            "endpointing": {"min_delay": 0.1, "max_delay": 0.5},
        },
    )
    await session.start(Desk(caller.attributes.get("order.id", "?")), room=ctx.room)
