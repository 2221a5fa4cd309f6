"""The menu, by its keys."""

from pathlib import Path

from sandbox import Sandbox

IVR = Path(__file__).with_name("ivr.py")


async def test_one_tells_the_hours(sandbox: Sandbox) -> None:
    agent = await sandbox.agent(IVR, fast=True)
    number = await sandbox.inbound(agent=agent.name)
    call = await sandbox.phone.dial(number)
    await call.answered(within=8)
    await agent.event("session.first_audio")
    await call.send_dtmf("1")
    await call.hears_exactly("nine to five", within=8)


async def test_two_is_transferred_to_the_desk(sandbox: Sandbox) -> None:
    desk = await sandbox.phone.line()
    await desk.answers(tone=700)
    agent = await sandbox.agent(IVR, fast=True, env={"DESK_URI": desk.uri}, reuse=False)
    number = await sandbox.inbound(agent=agent.name)
    call = await sandbox.phone.dial(number)
    await call.hears_exactly("one for hours two for a person", within=12)
    sandbox.step("the caller asks for a person")
    await call.send_dtmf("2")
    await call.hears_exactly("one moment", within=8)
    sandbox.step("the desk takes over")
    person = await call.transferred(within=5)
    await person.hears_tone(700)
