"""A user's agent as it is: a file with its AgentServer, that knows nothing of any sandbox."""

from __future__ import annotations

import os

from livekit import rtc
from livekit.agents import AgentServer, AutoSubscribe, JobContext, cli

server = AgentServer()


@server.rtc_session(agent_name="own-file")
async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect(auto_subscribe=AutoSubscribe.AUDIO_ONLY)
    caller = await ctx.wait_for_participant()
    if caller.attributes.get("crash") == "yes":
        os._exit(3)
    source = rtc.AudioSource(16000, 1)
    track = rtc.LocalAudioTrack.create_audio_track("voice", source)
    await ctx.room.local_participant.publish_track(track)


if __name__ == "__main__":
    cli.run_app(server)
