"""An order desk: it knows the order by a SIP header, looks it up and can cancel it."""

from livekit import rtc
from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli, function_tool
from voices import voices

from sandbox.speech import ToolCall, Turn

server = AgentServer()

ORDERS = {"42": "ships tomorrow", "7": "is lost"}
SCRIPT = (
    Turn(when="my order", calls=[ToolCall("status_of_order")]),
    Turn(when="cancel", calls=[ToolCall("cancel_order", {"reason": "asked by phone"})]),
    # What a tool returned is said as it is.
    Turn(when="order", says=str, again=True),
)


class Desk(Agent):
    """Answers about the one order that the caller calls for."""

    def __init__(self, caller: rtc.RemoteParticipant) -> None:
        super().__init__(instructions="You are an order desk. Use the tools.")
        self.order = caller.attributes.get("order.id", "")

    async def on_enter(self) -> None:
        await self.session.say("order desk")

    @function_tool
    async def status_of_order(self) -> str:
        """Where the caller's order is."""
        if self.order not in ORDERS:
            return "I do not know your order"
        return f"order {self.order} {ORDERS[self.order]}"

    @function_tool
    async def cancel_order(self, reason: str) -> str:
        """Cancel the caller's order."""
        return f"order {self.order} is cancelled"


@server.rtc_session(agent_name="order-desk")
async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    caller = await ctx.wait_for_participant()
    await AgentSession(**voices(*SCRIPT)).start(Desk(caller), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(server)
