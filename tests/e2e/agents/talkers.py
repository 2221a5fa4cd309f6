"""The agents of the conversations: AgentSessions over the tone alphabet, by a script."""

from __future__ import annotations

import json
import re
from typing import Any

from livekit import api, rtc
from livekit.agents import (
    Agent,
    AgentSession,
    JobContext,
    RunContext,
    function_tool,
    get_job_context,
)
from livekit.agents.beta.tools import EndCallTool
from livekit.agents.beta.workflows.dtmf_inputs import GetDtmfTask
from livekit.agents.voice.amd import AMD
from livekit.agents.voice.room_io import RoomOptions

from sandbox.speech import ScriptedLLM, ToolCall, Turn
from tests.e2e.agents.attention import Attention
from tests.e2e.voices import voices

# Longer than anybody lets it finish: ten seconds of the alphabet.
LONG = "the terms and conditions of this service are as follows " * 5

# Behind the last words before an agent ends the call, in seconds: as long as they may be on their
# way to the caller on a busy machine.
LAST_WORDS = 0.3


def the_caller() -> rtc.RemoteParticipant:
    sip = rtc.ParticipantKind.PARTICIPANT_KIND_SIP
    room = get_job_context().room
    return next(who for who in room.remote_participants.values() if who.kind == sip)


class Desk(Agent):
    """Knows the caller's order by the attribute that the trunk made of a SIP header."""

    def __init__(self) -> None:
        super().__init__(instructions="the script answers")

    @function_tool
    async def look_up(self, context: RunContext[None]) -> str:
        """Look the caller's order up."""
        return f"{the_caller().attributes['order.id']} ok"

    @function_tool
    async def change(self, context: RunContext[None], day: str) -> str:
        """Change the day of delivery."""
        return f"on {day}"


# Few letters: each takes 25 ms to say.
DESK = (
    Turn(when="mine", calls=[ToolCall("look_up")]),
    Turn(when="42 ok", says=str),
    Turn(when=re.compile("^fri"), calls=[ToolCall("change", {"day": "fri"})]),
    Turn(when="on fri", says=str),
    Turn(when="ta", says="ok"),
    Turn(when="bye", says="bye"),
)


async def desk(ctx: JobContext) -> None:
    session: AgentSession[None] = AgentSession(**voices(*DESK))
    await session.start(Desk(), room=ctx.room)
    await session.say("hi")


async def long_winded(ctx: JobContext) -> None:
    session: AgentSession[None] = AgentSession(**voices(Turn(when="stop", says="I stop")))
    await session.start(Agent(instructions="talks"), room=ctx.room)
    await session.say(LONG)


class Menu(Agent):
    """Asks for a number of two digits, by keys, and says it."""

    def __init__(self) -> None:
        super().__init__(instructions="a menu")

    async def on_enter(self) -> None:
        result = await GetDtmfTask(num_digits=2, dtmf_input_timeout=2.0)
        await self.session.say(f"it is {result.user_input.replace(' ', '')}")


async def menu(ctx: JobContext) -> None:
    session: AgentSession[None] = AgentSession(**voices(otherwise="two digits"))
    await session.start(Menu(), room=ctx.room)


async def parting(ctx: JobContext) -> None:
    """Ends the call, but only once its last sentence has been played to the end."""
    script = Turn(when="bye", says="good bye to you")
    session: AgentSession[None] = AgentSession(**voices(script, pause=LAST_WORDS))
    await session.start(
        Agent(instructions="parts"),
        room=ctx.room,
        room_options=RoomOptions(delete_room_on_close=True),
    )

    def said(event: Any) -> None:
        if getattr(event.item, "role", "") == "assistant":
            session.shutdown(drain=True)

    session.on("conversation_item_added", said)


async def hangs_up(ctx: JobContext) -> None:
    """Ends the call by the EndCallTool of livekit-agents, after its last sentence."""
    script = (
        Turn(when="bye", calls=[ToolCall("end_call")]),
        Turn(when="last words", says="good bye to you"),
    )
    session: AgentSession[None] = AgentSession(**voices(*script, pause=LAST_WORDS))
    tool = EndCallTool(end_instructions="last words")
    await session.start(Agent(instructions="hangs up", tools=[tool]), room=ctx.room)


async def presses_keys(ctx: JobContext) -> None:
    """Calls a menu and finds its way by send_dtmf_events, which IVR detection gives it."""
    await ctx.connect()
    script = (
        Turn(when="for sales 1", calls=[ToolCall("send_dtmf_events", {"events": ["1", "#"]})]),
        Turn(when=re.compile("^Successfully sent"), says="ok"),
        Turn(when="sales here", says="hi sales"),
    )
    session: AgentSession[None] = AgentSession(**voices(*script), ivr_detection=True)
    await session.start(
        Agent(instructions="presses keys"),
        room=ctx.room,
        room_options=RoomOptions(participant_identity="callee"),
    )
    await place_call(ctx)


async def place_call(ctx: JobContext) -> None:
    order = json.loads(ctx.job.metadata)
    await ctx.api.sip.create_sip_participant(
        api.CreateSIPParticipantRequest(
            sip_trunk_id=order["trunk"],
            sip_call_to=order["to"],
            room_name=ctx.room.name,
            participant_identity="callee",
            wait_until_answered=True,
        )
    )


async def first_word(ctx: JobContext) -> None:
    """Calls, waits for the answer, and speaks first."""
    await ctx.connect()
    await place_call(ctx)
    session: AgentSession[None] = AgentSession(**voices())
    await session.start(
        Agent(instructions="speaks"),
        room=ctx.room,
        room_options=RoomOptions(participant_identity="callee"),
    )
    await session.say("your reminder")


#: What answers a call, and what AMD's LLM makes of it.
ANSWERS = {
    "lisa here": "human",
    "leave a message": "machine-vm",
    "press one": "machine-ivr",
}


async def detects(ctx: JobContext) -> None:
    """Calls, and says by AMD's verdict: a greeting to a human, a message to a machine."""
    await ctx.connect()
    made = voices()
    made["vad"] = Attention()
    made["turn_handling"]["turn_detection"] = "vad"
    session: AgentSession[None] = AgentSession(**made)
    await session.start(
        Agent(instructions="detects"),
        room=ctx.room,
        room_options=RoomOptions(participant_identity="callee"),
    )
    judge = ScriptedLLM(
        *(
            Turn(when=said, calls=[ToolCall("save_prediction", {"label": kind})], again=True)
            for said, kind in ANSWERS.items()
        )
    )
    # AMD waits 1.5 s for a machine to go on; ours does not.
    async with AMD(
        session,
        llm=judge,
        stt=None,
        ivr_detection=False,
        detection_options={"machine_silence_threshold": 0.6, "max_endpointing_delay": 1.0},
    ) as detector:
        await place_call(ctx)
        verdict = await detector.execute()
    await session.say("hi lisa" if verdict.is_human else "call back")


async def listens_to_the_second(ctx: JobContext) -> None:
    """Hears the first caller, and after "next" the second (RoomIO.set_participant)."""
    made = voices(
        Turn(when="next", says="go on"),
        Turn(when="hi", says="hi you", again=True),
    )
    session: AgentSession[None] = AgentSession(**made)
    await session.start(Agent(instructions="listens"), room=ctx.room)

    def heard(event: Any) -> None:
        if event.is_final and event.transcript == "next":
            others = list(ctx.room.remote_participants.values())
            session.room_io.set_participant(others[-1].identity)

    session.on("user_input_transcribed", heard)
