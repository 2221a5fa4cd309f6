"""A participant of the room changes what it sends while the call goes on."""

from __future__ import annotations

from sandbox import Sandbox
from tests.e2e.conftest import PEER_TONE, Connect


async def test_the_phone_hears_a_track_that_changes_ends_and_begins_again(
    sandbox: Sandbox, connect: Connect
) -> None:
    """Another tone, no track and a new track: the phone hears each, and silence between.

    (S-MED-13)
    """
    talk = await connect(await sandbox.inbound())
    await talk.call.hears_tone(PEER_TONE, within=4)
    await talk.peer.publish_tone(1000)
    await talk.call.hears_tone(1000, within=4)
    await talk.peer.unpublish()
    await talk.call.hears_silence(for_=0.3, within=4)
    await talk.peer.publish_tone(500)
    await talk.call.hears_tone(500, within=4)
