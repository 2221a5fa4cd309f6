"""The greeter, called."""

from pathlib import Path

from sandbox import Sandbox

GREETER = Path(__file__).with_name("greeter.py")


async def test_the_greeter_greets_by_number_and_tells_the_hours(sandbox: Sandbox) -> None:
    agent = await sandbox.agent(GREETER, fast=True)
    number = await sandbox.inbound(agent=agent.name)
    call = await sandbox.phone.dial(number, caller="+15550123")
    await call.hears_exactly("hello +15550123", within=10)
    await call.says_exactly("what are your hours")
    await call.hears_exactly("nine to five", within=8)
    await call.hang_up()
    await agent.event("session.closed", reason="participant_disconnected")
