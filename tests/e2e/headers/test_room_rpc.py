"""The room RPCs of a SIP participant, and the headers of the requests that end a call."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from livekit import rtc

from sandbox import Peer, Sandbox
from tests.e2e.conftest import Connect, assert_rings_in

HEADERS = {"X-A": "1", "X-B": "2", "Subject": "s"}
#: Headers that are never told, whatever is asked for.
HIDDEN = {"Via", "Allow", "Supported", "Content-Type", "Content-Length", "CSeq", "Max-Forwards"}


async def rpc(peer: Peer, identity: str, method: str, **payload: Any) -> dict[str, Any]:
    """Call a method of the SIP participant `identity`."""
    answer = await peer.rtc.local_participant.perform_rpc(
        destination_identity=identity, method=method, payload=json.dumps(payload)
    )
    found: dict[str, Any] = json.loads(answer or "{}")
    return found


async def test_a_peer_can_ask_for_the_callers_headers(sandbox: Sandbox) -> None:
    """lk.sip.GetRemoteHeaders: the INVITE's headers, while it rings already. (S-HDR-13)"""
    number = await sandbox.inbound()
    call = await sandbox.phone.dial(number, headers=HEADERS)
    room, caller = await assert_rings_in(sandbox, call)
    peer = await room.join()
    await peer.sees(caller.identity)
    headers = (await rpc(peer, caller.identity, "lk.sip.GetRemoteHeaders"))["headers"]
    assert headers.items() >= HEADERS.items()
    assert {"From", "To", "Call-ID", "Contact"} <= set(headers)
    assert not HIDDEN & set(headers)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"include": ["x-a", "subject"]}, {"X-A", "Subject"}),
        ({"include": ["X-A", "Via"]}, {"X-A"}),
        ({"include": ["X-A", "X-B"], "exclude": ["x-b"]}, {"X-A"}),
        ({"include": ["X-None"]}, set()),
    ],
)
async def test_the_headers_can_be_chosen(
    sandbox: Sandbox, asked: dict[str, list[str]], told: set[str]
) -> None:
    """include and exclude choose, whatever the case; exclude wins, and Via stays hidden.

    (S-HDR-13)
    """
    number = await sandbox.inbound()
    call = await sandbox.phone.dial(number, headers=HEADERS)
    room, caller = await assert_rings_in(sandbox, call)
    peer = await room.join()
    await peer.sees(caller.identity)
    answer = await rpc(peer, caller.identity, "lk.sip.GetRemoteHeaders", **asked)
    assert set(answer.get("headers") or {}) == told


async def test_of_a_callee_the_headers_of_the_200_are_told(sandbox: Sandbox) -> None:
    """GetRemoteHeaders of a call out: those of the 200. (S-HDR-13)"""
    line = await sandbox.phone.line()
    await line.answers(headers={"X-Agent": "smith"})
    room = sandbox.room()
    peer = await room.join()
    trunk = await sandbox.outbound_trunk(line.address)
    out = await sandbox.call_out(trunk, line.number, room=room, wait=True)
    await peer.attribute(out.identity, "sip.callStatus", "active")
    answer = await rpc(peer, out.identity, "lk.sip.GetRemoteHeaders", include=["X-Agent"])
    assert answer["headers"] == {"X-Agent": "smith"}


async def test_end_call_hangs_up_with_headers(sandbox: Sandbox, connect: Connect) -> None:
    """lk.sip.EndCall{headers}: BYE with them and the mapped attributes; hangup in the room.

    (S-HDR-11, S-BYE-05)
    """
    number = await sandbox.inbound(
        attributes={"tier": "gold"}, attributes_to_headers={"tier": "X-Tier"}
    )
    talk = await connect(number)
    await talk.peer.sees(talk.identity)
    # Who hangs up may be gone before its own answer is out.
    with contextlib.suppress(rtc.RpcError):
        await rpc(talk.peer, talk.identity, "lk.sip.EndCall", headers={"X-Why": "done"})
    bye = await talk.call.request("BYE", within=2)
    assert bye.header("X-Why") == "done"
    assert bye.header("X-Tier") == "gold"
    gone = await talk.room.left(talk.identity, within=2)
    assert gone.attributes["sip.callStatus"] == "hangup"


async def test_end_call_while_it_rings_refuses_with_headers(sandbox: Sandbox) -> None:
    """lk.sip.EndCall before the answer: 486 Rejected, with the headers. (S-HDR-14)"""
    number = await sandbox.inbound()
    call = await sandbox.phone.dial(number)
    room, caller = await assert_rings_in(sandbox, call)
    peer = await room.join()
    await peer.sees(caller.identity)
    with contextlib.suppress(rtc.RpcError):
        await rpc(peer, caller.identity, "lk.sip.EndCall", headers={"X-Why": "closed"})
    final = await call.rejected(486, within=2)
    assert final.reason == "Rejected"
    assert final.header("X-Why") == "closed"


async def test_another_method_is_not_there(sandbox: Sandbox, connect: Connect) -> None:
    """Any other RPC to a SIP participant fails with 1400. (S-HDR-13)"""
    talk = await connect(await sandbox.inbound())
    await talk.peer.sees(talk.identity)
    with pytest.raises(rtc.RpcError) as caught:
        await rpc(talk.peer, talk.identity, "lk.sip.Nonsense")
    assert caught.value.code == 1400
    assert caught.value.message == "Method not supported at destination"


async def test_deleting_the_room_keeps_the_mapped_headers(
    sandbox: Sandbox, connect: Connect
) -> None:
    """DeleteRoom: the BYE has the headers of attributes_to_headers all the same.

    livekit-sip before v1.3 lost them, the participant being gone (livekit/sip#404). (S-HDR-11)
    """
    number = await sandbox.inbound(
        attributes={"tier": "gold"}, attributes_to_headers={"tier": "X-Tier"}
    )
    talk = await connect(number)
    await talk.room.delete()
    bye = await talk.call.request("BYE", within=2)
    assert bye.header("X-Tier") == "gold"


async def test_a_refusal_has_neither_trunk_nor_mapped_headers(sandbox: Sandbox) -> None:
    """The 486 of a room that was deleted while it rang has none of our headers. (S-HDR-07)"""
    number = await sandbox.inbound(
        headers={"X-Static": "s"},
        attributes={"tier": "gold"},
        attributes_to_headers={"tier": "X-Tier"},
    )
    call = await sandbox.phone.dial(number)
    room, _ = await assert_rings_in(sandbox, call)
    await room.delete()
    final = await call.rejected(486, within=2)
    assert final.header("X-Static") is None
    assert final.header("X-Tier") is None
