"""The order desk, called about one order and another."""

from pathlib import Path

import pytest

from sandbox import Sandbox

DESK = Path(__file__).with_name("order_desk.py")


@pytest.mark.parametrize(
    ("order", "answer"),
    [("42", "order 42 ships tomorrow"), ("99", "I do not know your order")],
    ids=["known", "unknown"],
)
async def test_the_order_of_the_header_is_looked_up(
    sandbox: Sandbox, order: str, answer: str
) -> None:
    agent = await sandbox.agent(DESK, fast=True)
    number = await sandbox.inbound(
        agent=agent.name, headers_to_attributes={"X-Order-Id": "order.id"}
    )
    call = await sandbox.phone.dial(number, headers={"X-Order-Id": order})
    await call.hears_exactly("order desk", within=10)
    await call.says_exactly("where is my order")
    await call.hears_exactly(answer, within=8)
    assert await agent.called_tool("status_of_order") == answer


async def test_an_order_is_cancelled_with_a_reason(sandbox: Sandbox) -> None:
    agent = await sandbox.agent(DESK, fast=True)
    number = await sandbox.inbound(agent=agent.name, attributes={"order.id": "7"})
    call = await sandbox.phone.dial(number)
    await call.hears_exactly("order desk", within=10)
    await call.says_exactly("please cancel it")
    await call.hears_exactly("order 7 is cancelled", within=8)
    await agent.called_tool("cancel_order", reason="asked by phone")
