"""What a dispatch rule says of the room and of the call's media, and what becomes of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from livekit import api
from livekit.protocol import sip

from sandbox import Sandbox
from tests.e2e.conftest import PEER_TONE, assert_rings_in


async def test_room_config_is_for_the_room_that_the_call_makes(sandbox: Sandbox) -> None:
    """room_config: metadata, max_participants and timeouts of the room. (S-DSP-10, Q20)"""
    number = await sandbox.inbound(
        room_config=api.RoomConfiguration(
            metadata='{"room": 3}', max_participants=5, empty_timeout=33, departure_timeout=44
        )
    )
    call = await sandbox.phone.dial(number)
    room, participant = await assert_rings_in(sandbox, call)
    info = await room.info()
    assert info is not None
    assert info.metadata == '{"room": 3}'
    assert info.max_participants == 5
    assert (info.empty_timeout, info.departure_timeout) == (33, 44)
    assert participant.metadata == ""


async def test_room_config_does_nothing_to_a_room_that_is_there(sandbox: Sandbox) -> None:
    """A room that exists keeps its own configuration, whatever the rule says. (S-DSP-10)"""
    number = await sandbox.inbound(
        room_config=api.RoomConfiguration(metadata="of the rule", max_participants=5)
    )
    assert number.room is not None
    await number.room.create(metadata="of its own", max_participants=9)
    call = await sandbox.phone.dial(number)
    await assert_rings_in(sandbox, call)
    info = await number.room.info()
    assert info is not None
    assert (info.metadata, info.max_participants) == ("of its own", 9)


@pytest.mark.sandbox_allow(
    "log-line",
    match="max participants|closed by media|bad handshake|could not (establish|join)",
    reason="the room is full: the join fails, and both services log it",
)
async def test_a_full_room_refuses_the_caller(sandbox: Sandbox) -> None:
    """A room with max_participants 1 and somebody in it: 100, 180 and then 486. (S-DSP-15)"""
    number = await sandbox.inbound()
    assert number.room is not None
    await number.room.create(max_participants=1)
    await number.room.join()
    call = await sandbox.phone.dial(number)
    await call.ringing(within=2)
    assert (await call.rejected(486, within=2)).reason == "Rejected"


@pytest.mark.sandbox_allow(
    "log-line",
    match="unknown room configuration|closed by media|bad handshake|could not (establish|join)",
    reason="there is no such preset: the join fails, and both services log it",
)
async def test_an_unknown_room_preset_refuses_the_caller(sandbox: Sandbox) -> None:
    """room_preset that livekit-server's configuration does not know: 180 and then 486.

    (S-DSP-14)
    """
    number = await sandbox.inbound(rule={"room_preset": "no-such-preset"})
    call = await sandbox.phone.dial(number)
    await call.ringing(within=2)
    assert (await call.rejected(486, within=3)).reason == "Rejected"


def only(*names: str) -> Any:
    """A media config with these codecs alone."""
    return sip.SIPMediaConfig(
        only_listed_codecs=True, codecs=[sip.SIPCodec(name=name, rate=8000) for name in names]
    )


@pytest.mark.parametrize(
    ("trunk", "rule", "codec"),
    [
        (None, None, 9),
        (only("PCMA"), None, 8),
        (None, only("PCMA"), 8),
        (only("PCMU"), only("PCMA"), 8),
    ],
    ids=["neither", "trunk", "rule", "both"],
)
async def test_the_codecs_of_the_rule_come_before_the_trunks(
    sandbox: Sandbox, trunk: Any, rule: Any, codec: int
) -> None:
    """media.codecs: the rule's list takes the place of the trunk's. (S-DSP-09)"""
    number = await sandbox.inbound(media=trunk, rule={"media": rule} if rule else {})
    assert number.room is not None
    await number.room.join(tone=PEER_TONE)
    call = await sandbox.phone.dial(number)
    await call.answered(within=5)
    body = (await call.response(200)).body
    media = next(line for line in body.splitlines() if line.startswith("m="))
    assert media.split()[3] == str(codec)


@pytest.mark.parametrize("field", ["media", "media_encryption"])
@pytest.mark.parametrize(
    ("trunk", "rule", "refused"),
    [
        ("REQUIRE", "DISABLE", True),
        ("DISABLE", "REQUIRE", True),
        ("REQUIRE", "ALLOW", False),
        ("ALLOW", "DISABLE", False),
    ],
)
async def test_a_rule_cannot_take_back_the_trunks_encryption(
    sandbox: Sandbox, field: str, trunk: str, rule: str, refused: bool
) -> None:
    """Encryption: the rule's value holds, but for DISABLE, which stands for "not said".

    A trunk that requires SRTP refuses a plain call (400) whatever DISABLE a rule says. (S-DSP-09)
    """

    def config(value: str) -> dict[str, Any]:
        name = f"SIP_MEDIA_ENCRYPT_{value}"
        found = {"encryption": name} if field == "media" else name
        info = ParseDict({field: found}, api.SIPInboundTrunkInfo())
        return {field: getattr(info, field)}

    number = await sandbox.inbound(**config(trunk), rule=config(rule))
    call = await sandbox.phone.dial(number)
    if refused:
        final = await call.rejected(400, within=3)
        assert final.reason == ""
    else:
        await assert_rings_in(sandbox, call)


@pytest.mark.sandbox_allow(
    "log-line",
    match="Multiple (default )?SIP Trunks matched|Dispatch rule for the same trunk",
    reason="the conflict is what the test is about, and the SIP service logs it",
)
async def test_rules_written_past_the_api_are_an_error(sandbox: Sandbox) -> None:
    """Two rules for the same calls, written straight into redis: 503 Try again later.

    (S-DSP-13)
    """
    number = await sandbox.inbound()
    assert number.rule is not None
    twin = api.SIPDispatchRuleInfo()
    twin.CopyFrom(number.rule)
    twin.sip_dispatch_rule_id = f"{number.rule_id}x"
    await redis(sandbox, "HSET", "sip_dispatch_rule", twin.sip_dispatch_rule_id,
                twin.SerializeToString())  # fmt: skip
    try:
        call = await sandbox.phone.dial(number)
        final = await call.rejected(503, within=5)
        assert final.reason == "Try again later"
    finally:
        await redis(sandbox, "HDEL", "sip_dispatch_rule", twin.sip_dispatch_rule_id)


@pytest.mark.sandbox_allow(
    "log-line",
    match="Multiple (default )?SIP Trunks matched|Dispatch rule for the same trunk",
    reason="the conflict is what the test is about, and the SIP service logs it",
)
async def test_two_trunks_for_any_number_written_past_the_api_are_an_error(
    sandbox: Sandbox,
) -> None:
    """Two trunks for any number that both let the caller in: 503 Try again later.

    The API refuses the second, so it is written straight into redis. (S-TRK-05)
    """
    source = sandbox.endpoints.phone_host
    number = await sandbox.inbound(numbers=[], allowed_addresses=[source])
    assert number.trunk is not None
    twin = api.SIPInboundTrunkInfo()
    twin.CopyFrom(number.trunk)
    twin.sip_trunk_id = f"{number.trunk_id}x"
    await redis(sandbox, "HSET", "sip_inbound_trunk", twin.sip_trunk_id, twin.SerializeToString())
    try:
        call = await sandbox.phone.dial(number)
        final = await call.rejected(503, within=5)
        assert final.reason == "Try again later"
    finally:
        await redis(sandbox, "HDEL", "sip_inbound_trunk", twin.sip_trunk_id)


async def redis(sandbox: Sandbox, *command: str | bytes) -> bytes:
    """One command to the stack's redis, in its protocol; the first line of its answer."""
    host, _, port = sandbox.endpoints.redis_address.rpartition(":")
    if not host:
        pytest.skip("the sandbox did not start this deployment's redis")
    reader, writer = await asyncio.open_connection(host, int(port))
    parts = [part.encode() if isinstance(part, str) else part for part in command]
    writer.write(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(p), p) for p in parts))
    await writer.drain()
    answer = await reader.readline()
    writer.close()
    await writer.wait_closed()
    assert not answer.startswith(b"-"), answer
    return answer
