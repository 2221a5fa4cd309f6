"""hide_inbound_port: what a scanner that tries the port still learns."""

from __future__ import annotations

import pytest

from sandbox import DeadlineMissed
from tests.e2e.ops.conftest import Side


async def test_a_hidden_port_says_nothing_to_what_is_no_call(side: Side) -> None:
    """With hide_inbound_port a malformed INVITE gets no 400, and a good one no 100. (S-SEC-02)"""
    await side.start(hide_inbound_port=True)
    uri = f"sip:{side.sandbox.endpoints.sip_address}"
    with pytest.raises(DeadlineMissed):
        await side.wire.ask("INVITE", uri, without=["Call-ID"], within=0.5)
    number = await side.sandbox.inbound()
    call = await side.wire.invite(number)
    await call.provisional(180)
    assert call.responses(100) == []


async def test_a_hidden_port_rings_for_a_number_of_nobody(side: Side) -> None:
    """With hide_inbound_port a call to no trunk still gets 180: the port is not hidden from it.

    (S-SEC-02)
    """
    await side.start(hide_inbound_port=True)
    call = await side.wire.invite(side.sandbox.number())
    await call.provisional(180)
    with pytest.raises(DeadlineMissed):
        await call.final(within=0.4)
    call.over = True
