"""The SIP service comes, goes, drains, is missed, and is misconfigured."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest
from livekit import api

from sandbox import Room, Sandbox
from sandbox.stack.readiness import until
from tests.e2e.conftest import PEER_TONE
from tests.e2e.ops.conftest import Side
from tests.e2e.wire import WireCall


async def up(side: Side) -> tuple[WireCall, Room]:
    """A call that is up, and its room."""
    number = await side.sandbox.inbound()
    assert number.room is not None
    peer = await number.room.join(tone=PEER_TONE)
    call = await (await side.wire.invite(number)).answered()
    await peer.attribute(call.identity, "sip.callStatus", "active")
    return call, number.room


async def unavailable(sandbox: Sandbox) -> None:
    """A call out is 503: nobody takes it."""
    trunk = await sandbox.outbound_trunk("127.0.0.1:9")
    with pytest.raises(api.ServerError) as caught:
        await sandbox.call_out(trunk, "callee")
    assert (caught.value.status, caught.value.code) == (503, "unavailable")
    assert caught.value.message == "twirp error unknown: no response from servers"


async def test_without_a_sip_service_a_call_out_is_unavailable(side: Side) -> None:
    """No SIP service runs: CreateSIPParticipant is 503 unavailable after a moment. (S-OPS-02)"""
    await side.stop()
    await unavailable(side.sandbox)


async def test_a_sip_service_at_another_redis_is_not_found(side: Side) -> None:
    """SIP service and livekit-server at different redis servers never meet: 503. (S-OPS-03)"""
    await side.start(redis={"address": await side.redis()})
    await unavailable(side.sandbox)


async def test_a_sip_service_with_a_cluster_id_is_not_found(side: Side) -> None:
    """cluster_id is for LiveKit Cloud: with it set, livekit-server finds no SIP service.

    (S-OPS-04)
    """
    await side.start(cluster_id="eu")
    await unavailable(side.sandbox)


async def test_sigterm_lets_calls_end_and_takes_no_calls_out(side: Side) -> None:
    """SIGTERM: the call that is up goes on, calls out are 503, calls in are still answered, and
    health is 503. When the last call has ended the service does, too.

    (S-OPS-07, S-SIP-01)
    """
    service = await side.start()
    call, _ = await up(side)
    await service.send_signal(signal.SIGTERM)

    async def draining() -> bool:
        return (await side.health())[0] == 503

    # Until the signal is handled livekit-server may still choose this service.
    assert await until(draining, within=5)
    await unavailable(side.sandbox)
    assert (await side.wire.ask("OPTIONS")).start == "SIP/2.0 200 OK"
    second, _ = await up(side)
    assert call.seen("BYE") == []
    await asyncio.gather(call.bye(), second.bye())
    assert await asyncio.wait_for(asyncio.shield(service.exited), 12) == 0


async def test_sigint_hangs_up_every_call(side: Side) -> None:
    """SIGINT: BYE to every phone, and the service ends. (S-OPS-07)"""
    service = await side.start()
    (first, _), (second, _) = await asyncio.gather(up(side), up(side))
    await service.send_signal(signal.SIGINT)
    await asyncio.gather(first.received("BYE"), second.received("BYE"))
    assert await asyncio.wait_for(asyncio.shield(service.exited), 5) == 0


async def test_of_two_sip_services_one_takes_a_call_out_and_keeps_it(side: Side) -> None:
    """Two SIP services at one redis: a call out is one call, its transfer reaches the one that has
    it, and when one is gone the other serves.

    (S-OPS-08)
    """
    first = await side.start()
    await side.second()
    line = await side.sandbox.phone.line()
    await line.answers()
    await line.refer_policy(603)
    trunk = await side.sandbox.outbound_trunk(line.address)
    out = await side.sandbox.call_out(trunk, line.number, wait=True)
    call = await line.incoming()
    with pytest.raises(api.SipCallError) as caught:
        await side.sandbox.api.sip.transfer_sip_participant(
            api.TransferSIPParticipantRequest(
                room_name=out.room.name, participant_identity=out.identity, transfer_to="tel:+1"
            )
        )
    assert caught.value.sip_status_code == 603
    assert len(line.calls) == 1
    await call.hang_up()
    await first.stop(number=signal.SIGKILL)
    await side.sandbox.call_out(trunk, line.number, wait=True)
    assert (await line.incoming()).id != call.id


async def test_a_wrong_secret_rejects_calls_in(side: Side) -> None:
    """With a wrong api_secret the SIP service cannot join a room: a call in is 486 Rejected.

    (S-OPS-10)
    """
    await side.start(api_secret="wrong-secret-wrong-secret-wrong-secret")
    call = await side.wire.invite(await side.sandbox.inbound())
    assert (await call.final(within=8)).start == "SIP/2.0 486 Rejected"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"redis": None}, "redis configuration is required"),
        (
            {"use_external_ip": True, "nat_1_to_1_ip": "192.0.2.7"},
            "use_external_ip and nat_1_to_1_ip can not both be set",
        ),
        ({"rtp_port": "junk"}, "could not parse config"),
    ],
    ids=["no-redis", "two-addresses", "ports"],
)
async def test_a_configuration_that_cannot_be_is_refused(
    side: Side, changes: dict[str, Any], text: str
) -> None:
    """A service with such a configuration says what is wrong with it, and ends. (S-OPS-12)"""
    service = await side.run("bad", **changes)
    await asyncio.wait_for(asyncio.shield(service.exited), 5)
    assert text in side.log("bad")
