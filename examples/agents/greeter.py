"""An agent that greets its caller by the number it calls from."""

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli
from voices import voices

from sandbox.speech import Turn

server = AgentServer()

SCRIPT = (
    Turn(when="hours", says="nine to five"),
    Turn(when="thank you", says="have a nice day"),
)


@server.rtc_session(agent_name="greeter")
async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    caller = await ctx.wait_for_participant()
    session = AgentSession(**voices(*SCRIPT))
    await session.start(Agent(instructions="Greet the caller and tell the hours."), room=ctx.room)
    await session.say(f"hello {caller.attributes['sip.phoneNumber']}")


if __name__ == "__main__":
    cli.run_app(server)
