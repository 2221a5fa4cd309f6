"""A menu by keys: one for the hours, two for a person, whom the caller is transferred to."""

import asyncio
import os

from livekit import api, rtc
from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli
from voices import voices

server = AgentServer()

#: Whom a 2 reaches; in production the number of your desk.
DESK = os.environ.get("DESK_URI", "tel:+15550123")


@server.rtc_session(agent_name="ivr")
async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    caller = await ctx.wait_for_participant()
    session = AgentSession(**voices())
    await session.start(Agent(instructions="Read the menu."), room=ctx.room)

    tasks: list[asyncio.Task[None]] = []

    async def to_the_desk() -> None:
        await session.say("one moment")
        await ctx.api.sip.transfer_sip_participant(
            api.TransferSIPParticipantRequest(
                room_name=ctx.room.name, participant_identity=caller.identity, transfer_to=DESK
            )
        )

    def pressed(key: rtc.SipDTMF) -> None:
        session.interrupt()
        if key.digit == "1":
            session.say("nine to five")
        elif key.digit == "2":
            tasks.append(asyncio.create_task(to_the_desk()))
        else:
            session.say("press one or two")

    ctx.room.on("sip_dtmf_received", pressed)
    await session.say("one for hours two for a person")


if __name__ == "__main__":
    cli.run_app(server)
