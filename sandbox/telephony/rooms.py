"""Rooms: what is in one, as livekit-server tells it, and a peer that joins to look and listen."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from google.protobuf.json_format import ParseDict
from livekit import api

from sandbox.errors import UsageError
from sandbox.telephony.peer import Peer
from sandbox.timeline import Event, Timeline

__all__ = ["Room", "participant_of"]


class Room:
    """A handle on a room by name; the room need not exist.

    Nothing here joins the room but `join`. Waits look at livekit-server's webhooks, so they see a
    participant come and go without anybody being there to see it.
    """

    def __init__(
        self,
        name: str,
        *,
        client: api.LiveKitAPI,
        url: str,
        key: str,
        secret: str,
        timeline: Timeline,
    ) -> None:
        self.name = name
        self._api = client
        self._url = url
        self._key = key
        self._secret = secret
        self._timeline = timeline
        self._mark = timeline.mark()
        self._peers: list[Peer] = []

    def __repr__(self) -> str:
        return f"Room({self.name!r})"

    def token(
        self,
        identity: str,
        *,
        grants: api.VideoGrants | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> str:
        """A join token for `identity`; `grants` replaces the default of a plain member."""
        grants = grants or api.VideoGrants(room_join=True, room=self.name)
        token = api.AccessToken(self._key, self._secret).with_identity(identity).with_grants(grants)
        return token.with_attributes(dict(attributes or {})).to_jwt()

    async def join(
        self,
        identity: str | None = None,
        *,
        tone: float | None = None,
        hidden: bool = False,
        grants: api.VideoGrants | None = None,
        attributes: Mapping[str, str] | None = None,
        auto_subscribe: bool = True,
    ) -> Peer:
        """Join as a WebRTC participant.

        Whoever joins first creates the room, and the `room_config` of a dispatch rule is then
        not applied; a published track answers the calls that ring in it.

        Args:
            identity: the participant's identity; a fresh one by default.
            tone: publish a microphone track with a sine of this frequency, in Hz.
            hidden: join unseen: no one is told, nothing can be published.
            grants: replaces the grants of the join token.
            attributes: participant attributes.
            auto_subscribe: whether to subscribe to every track.
        """
        identity = identity or f"peer-{secrets.token_hex(3)}"
        if grants is None:
            grants = api.VideoGrants(room_join=True, room=self.name, hidden=hidden or None)
            if hidden:
                grants.can_publish = False
        token = self.token(identity, grants=grants, attributes=attributes)
        peer = Peer(identity, self.name, self._timeline)
        await peer.connect(self._url, token, auto_subscribe=auto_subscribe)
        self._peers.append(peer)
        if tone is not None:
            await peer.publish_tone(tone)
        return peer

    async def observe(self) -> Peer:
        """Join hidden, to see attributes and data without being seen."""
        return await self.join(f"observer-{secrets.token_hex(3)}", hidden=True)

    async def leave(self) -> None:
        """All peers that joined through this handle leave."""
        for peer in self._peers:
            await peer.leave()
        self._peers.clear()

    # --- what livekit-server says -----------------------------------------------------------

    def _about(self, event: Event) -> bool:
        room = event.data.get("room")
        return (room.get("name") if isinstance(room, Mapping) else room) == self.name

    async def _webhook(
        self, names: str | tuple[str, ...], identity: str | None, within: float, expected: str
    ) -> Event:
        names = (names,) if isinstance(names, str) else names

        def match(event: Event) -> bool:
            return (
                event.name.removeprefix("webhook.") in names
                and event.data.get("room", {}).get("name") == self.name
                and (
                    identity is None
                    or event.data.get("participant", {}).get("identity") == identity
                )
            )

        return await self._timeline.wait(
            match, within=within, expected=expected, since=self._mark, about=self._about
        )

    async def participant(self, identity: str, *, within: float = 5.0) -> api.ParticipantInfo:
        """Wait until `identity` has joined; the ParticipantInfo as it was then.

        Raises:
            DeadlineMissed: it did not join in time.
        """
        event = await self._webhook(
            "participant_joined", identity, within, f"{identity} to join {self.name}"
        )
        return participant_of(event)

    async def sip_participant(self, *, within: float = 5.0) -> api.ParticipantInfo:
        """Wait for a SIP participant, whoever it is.

        Raises:
            DeadlineMissed: none joined in time.
        """

        def match(event: Event) -> bool:
            return (
                event.name == "webhook.participant_joined"
                and event.data.get("room", {}).get("name") == self.name
                and event.data.get("participant", {}).get("kind") == "SIP"
            )

        event = await self._timeline.wait(
            match,
            within=within,
            expected=f"a SIP participant in {self.name}",
            since=self._mark,
            about=self._about,
        )
        return participant_of(event)

    async def left(self, identity: str, *, within: float = 5.0) -> api.ParticipantInfo:
        """Wait until `identity` has left; its `disconnect_reason` tells why.

        A participant that leaves before its connection was complete (a call out that is refused at
        once) counts too: livekit-server tells of it as `participant_connection_aborted`.

        Raises:
            DeadlineMissed: it is still there.
        """
        event = await self._webhook(
            ("participant_left", "participant_connection_aborted"),
            identity,
            within,
            f"{identity} to leave {self.name}",
        )
        return participant_of(event)

    async def started(self, *, within: float = 5.0) -> Event:
        """Wait for the room's `room_started` webhook."""
        return await self._webhook("room_started", None, within, f"room {self.name} to start")

    async def finished(self, *, within: float = 5.0) -> Event:
        """Wait for the room's `room_finished` webhook."""
        return await self._webhook("room_finished", None, within, f"room {self.name} to end")

    async def info(self) -> api.Room | None:
        """The room as RoomService.ListRooms has it, or None if it does not exist."""
        answer = await self._api.room.list_rooms(api.ListRoomsRequest(names=[self.name]))
        return answer.rooms[0] if answer.rooms else None

    async def participants(self) -> dict[str, api.ParticipantInfo]:
        """Who is in the room now, by identity; `{}` if the room does not exist."""
        if await self.info() is None:
            return {}
        answer = await self._api.room.list_participants(api.ListParticipantsRequest(room=self.name))
        return {p.identity: p for p in answer.participants}

    async def member(self, identity: str) -> api.ParticipantInfo:
        """The participant as it is now.

        Raises:
            UsageError: it is not in the room.
        """
        members = await self.participants()
        if identity not in members:
            raise UsageError(
                f"{identity} is not in {self.name}", seen=[", ".join(members) or "nobody is"]
            )
        return members[identity]

    async def create(self, **fields: Any) -> api.Room:
        """RoomService.CreateRoom, with fields of CreateRoomRequest by name."""
        return await self._api.room.create_room(api.CreateRoomRequest(name=self.name, **fields))

    async def delete(self) -> None:
        """RoomService.DeleteRoom."""
        await self._api.room.delete_room(api.DeleteRoomRequest(room=self.name))

    async def remove(self, identity: str) -> None:
        """RoomService.RemoveParticipant."""
        await self._api.room.remove_participant(
            api.RoomParticipantIdentity(room=self.name, identity=identity)
        )

    async def set_attributes(self, identity: str, attributes: Mapping[str, str]) -> None:
        """RoomService.UpdateParticipant with attributes; an empty value removes a key."""
        await self._api.room.update_participant(
            api.UpdateParticipantRequest(
                room=self.name, identity=identity, attributes=dict(attributes)
            )
        )


def participant_of(event: Event) -> api.ParticipantInfo:
    """The ParticipantInfo that a `webhook.participant_…` event carries."""
    return ParseDict(event.data["participant"], api.ParticipantInfo(), ignore_unknown_fields=True)
