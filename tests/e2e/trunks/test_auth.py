"""Digest authentication of callers (RFC 3261 section 22)."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

from sandbox import Sandbox
from tests.e2e.conftest import Connect, assert_rings_in


async def test_a_trunk_with_a_password_challenges_the_caller(sandbox: Sandbox) -> None:
    """Without credentials the call gets 407 with a Digest challenge of the realm LiveKit.

    (S-AUTH-01)
    """
    right = sandbox.credentials()
    number = await sandbox.inbound(auth_username=right.user, auth_password=right.password)
    call = await sandbox.phone.dial(number)
    final = await call.rejected(407, within=2)
    assert final.reason == "Unauthorized"
    challenge = final.header("Proxy-Authenticate")
    assert challenge is not None
    assert challenge.startswith('Digest realm="LiveKit", nonce="')
    assert challenge.endswith("algorithm=MD5")
    assert "qop" not in challenge


async def test_the_right_password_gets_through(sandbox: Sandbox, connect: Connect) -> None:
    """With the right credentials the second INVITE rings, and the call is answered. (S-AUTH-01)"""
    right = sandbox.credentials()
    number = await sandbox.inbound(auth_username=right.user, auth_password=right.password)
    talk = await connect(number, credentials=right)
    statuses = [m.status for m in talk.call.messages if m.status and m.direction == "received"]
    # On a slow machine it rings for a second, and there is a second 180.
    assert [status for status, _ in groupby(statuses)] == [100, 407, 100, 180, 200]


async def test_a_wrong_password_gets_401(sandbox: Sandbox) -> None:
    """A wrong password is answered 401, without a new challenge. (S-AUTH-02)"""
    right = sandbox.credentials()
    number = await sandbox.inbound(auth_username=right.user, auth_password=right.password)
    call = await sandbox.phone.dial(number, credentials=replace(right, password="wrong"))
    final = await call.rejected(401, within=2)
    assert final.reason == "Unauthorized"
    assert final.header("WWW-Authenticate") is None


async def test_a_wrong_username_gets_401(sandbox: Sandbox) -> None:
    """A wrong user name is answered 401. (S-AUTH-03)"""
    right = sandbox.credentials()
    number = await sandbox.inbound(auth_username=right.user, auth_password=right.password)
    call = await sandbox.phone.dial(number, credentials=replace(right, user="nobody"))
    await call.rejected(401, within=2)


async def test_a_trunk_with_a_username_alone_asks_for_nothing(sandbox: Sandbox) -> None:
    """auth_username without auth_password is no authentication at all. (S-API-04)"""
    number = await sandbox.inbound(auth_username="pbx")
    call = await sandbox.phone.dial(number)
    await assert_rings_in(sandbox, call)
