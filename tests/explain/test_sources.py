"""`sandbox explain` on a running deployment, through its API."""

from __future__ import annotations

import asyncio
import json

from click.testing import CliRunner

from sandbox import Sandbox
from sandbox.explain.command import explain_command


async def test_a_running_deployment_is_read_through_its_api(sandbox: Sandbox) -> None:
    """LIVEKIT_URL and its keys are enough; rooms that exist are seen as well."""
    number = await sandbox.inbound(agent="receptionist")
    room = number.room
    assert room is not None
    caller = sandbox.number()
    arguments = ["--from", caller, "--to", number.number, "-o", "json"]

    async def ask() -> dict[str, object]:
        result = await asyncio.to_thread(
            CliRunner().invoke, explain_command, arguments, env=sandbox.endpoints.env()
        )
        assert result.exit_code == 0, result.output
        answer: dict[str, object] = json.loads(result.output)["gets"]
        return answer

    gets = await ask()
    assert (gets["room"], gets["room_exists"]) == (room.name, False)
    assert gets["agents"] == [{"agent_name": "receptionist", "metadata": ""}]
    call = await sandbox.phone.dial(number, caller=caller)
    _, participant = await sandbox.joined(call)
    assert participant.identity == gets["identity"]
    gets = await ask()
    assert (gets["room_exists"], gets["agents"]) == (True, [])
