"""The verdict on calls of the phone that LiveKit did not want, from the timeline alone."""

from __future__ import annotations

from sandbox import Credentials, Sandbox
from sandbox.explain import explain_failed_call


def _verdict(sandbox: Sandbox) -> list[str]:
    return explain_failed_call(
        sandbox.timeline.since(sandbox.mark), version=sandbox.endpoints.server_version
    )


async def test_silence_is_explained(sandbox: Sandbox) -> None:
    """The called number in inbound_numbers: the verdict names the rule, the field and the mend."""
    number = sandbox.number()
    inbound = await sandbox.inbound(number=number, rule={"inbound_numbers": [number]})
    call = await sandbox.phone.dial(inbound)
    await call.ringing(within=2)
    lines = _verdict(sandbox)
    assert lines[0].endswith("100, 180, then no final response")
    assert lines[1].startswith(f"trunk  {inbound.trunk_id}")
    assert f"inbound_numbers=['{number}'] filters the CALLER" in lines[2]
    assert lines[-1].startswith(f"fix    put the called number {number} in `numbers`")
    assert len(lines) <= 6


async def test_a_wrong_password_is_explained(sandbox: Sandbox) -> None:
    """401: the verdict says that it is the password and of which trunk."""
    inbound = await sandbox.inbound(auth_username="pbx", auth_password="right")
    call = await sandbox.phone.dial(inbound, credentials=Credentials("pbx", "wrong"))
    await call.rejected(401, within=2)
    lines = _verdict(sandbox)
    assert f"why    the password is not that of trunk {inbound.trunk_id}" in "\n".join(lines)


async def test_ringing_with_nobody_is_explained(sandbox: Sandbox) -> None:
    """The caller is in the room and it rings: nobody there publishes audio, and who should."""
    inbound = await sandbox.inbound(agent="nobody-of-that-name")
    call = await sandbox.phone.dial(inbound)
    room, _ = await sandbox.joined(call)
    text = "\n".join(_verdict(sandbox))
    assert f"nobody in room {room.name} published an audio track" in text
    assert "agents nobody-of-that-name" in text


async def test_a_good_call_needs_no_explanation(sandbox: Sandbox) -> None:
    """An answered call says nothing."""
    inbound = await sandbox.inbound()
    assert inbound.room is not None
    await inbound.room.join(tone=700)
    call = await sandbox.phone.dial(inbound)
    await call.answered(within=5)
    assert _verdict(sandbox) == []
