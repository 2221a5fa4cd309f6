"""Questions that people asked about LiveKit telephony, each with its answer and the proof.

docs/answers.md is made from this file (`make docs`): the name of a scenario is the question, its
docstring the answer, its code the proof.
"""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta

import pytest
from livekit import api, rtc

from sandbox import Agent, Credentials, Sandbox
from sandbox.stack.readiness import until
from sandbox.telephony.inbound import duration
from tests.e2e.conftest import CALLER_TONE, PEER_TONE
from tests.e2e.wire import Wire

Reason = api.DisconnectReason


async def test_q01_when_does_create_sip_participant_fail(sandbox: Sandbox) -> None:
    """Only with `wait_until_answered`. Without it the call returns as soon as the SIP participant
    is in the room, and a callee who refuses is seen as a participant who leaves again, with
    USER_REJECTED. With it a refusal is raised as a SipCallError that has the SIP status.

    (S-ASK-06)
    """
    line = await sandbox.phone.line()
    await line.rejects(486)
    trunk = await sandbox.outbound_trunk(line.address)
    out = await sandbox.call_out(trunk, line.number)
    gone = await out.room.left(out.identity)
    assert gone.disconnect_reason == Reason.USER_REJECTED
    with pytest.raises(api.SipCallError) as caught:
        await sandbox.call_out(trunk, line.number, wait=True)
    assert caught.value.sip_status_code == 486


async def test_q02_how_does_an_agent_get_the_id_of_sip_id_at_host(
    sandbox: Sandbox, agent: Agent
) -> None:
    """It is the user of the To header: the attribute `sip.trunkPhoneNumber` of the caller. With a
    callee rule the room is named after it, so `ctx.job.room.name` has it before the agent has
    joined. The trunk must have no `numbers` (or name the id), and then needs a user and password
    or `allowed_addresses`.

    (S-ASK-01)
    """
    await sandbox.inbound(
        number="order-42",
        numbers=[],
        kind="callee",
        room_prefix="call",
        agent=agent.name,
        auth_username="pbx",
        auth_password="secret",
    )
    await sandbox.phone.dial(sandbox.uri("order-42"), credentials=Credentials("pbx", "secret"))
    job = await agent.job()
    assert job.room == "call_order-42"
    assert job.participant is not None
    assert job.participant.attributes["sip.trunkPhoneNumber"] == "order-42"


async def test_q03_is_the_to_header_or_the_request_uri_used(sandbox: Sandbox) -> None:
    """The To header. The trunk is looked up by its user, and the Request-URI is not looked at."""
    number = await sandbox.inbound()
    call = await sandbox.phone.dial(
        sandbox.uri("somebody-else"), to=number.uri, request_uri=sandbox.uri("somebody-else")
    )
    _, caller = await sandbox.joined(call)
    assert caller.attributes["sip.trunkPhoneNumber"] == number.number


async def test_q04_how_does_an_x_header_reach_the_agent(sandbox: Sandbox, agent: Agent) -> None:
    """As an attribute of the caller: by `headers_to_attributes` under a name of your choice, and
    by `include_headers` as `sip.h.` and the header's name in lower case. Both are there before
    the agent speaks.

    (S-ASK-02)
    """
    number = await sandbox.inbound(
        agent=agent.name,
        headers_to_attributes={"X-Order-Id": "order.id"},
        include_headers=api.SIPHeaderOptions.SIP_X_HEADERS,
    )
    await sandbox.phone.dial(number, headers={"X-Order-Id": "42"})
    job = await agent.job()
    assert job.participant is not None
    assert job.participant.attributes["order.id"] == "42"
    assert job.participant.attributes["sip.h.x-order-id"] == "42"


async def test_q05_does_attributes_to_headers_make_attributes_of_headers(
    sandbox: Sandbox,
) -> None:
    """No, the other way round: it puts attributes of the participant into headers of the 200, and
    of the BYE or REFER that LiveKit sends. `sip.h.*` attributes come of `include_headers` alone.

    (S-ASK-03)
    """
    number = await sandbox.inbound(
        attributes={"tier": "gold"}, attributes_to_headers={"tier": "X-Tier"}
    )
    assert number.room is not None
    await number.room.join(tone=PEER_TONE)
    call = await sandbox.phone.dial(number, headers={"X-Order-Id": "42"})
    await call.answered()
    _, caller = await sandbox.joined(call)
    assert (await call.response(200)).header("X-Tier") == "gold"
    assert [key for key in caller.attributes if key.startswith("sip.h.")] == []
    await number.room.remove(caller.identity)
    assert (await call.request("BYE")).header("X-Tier") == "gold"


async def test_q06_what_does_include_headers_include(sandbox: Sandbox) -> None:
    """SIP_NO_HEADERS (0) nothing, SIP_X_HEADERS (1) headers whose name begins with X-, and
    SIP_ALL_HEADERS (2) every header, To and Via and CSeq among them.

    (S-ASK-03)
    """
    sandbox.phone.test = ""  # or X-Sandbox-Test would be one more
    keys: list[set[str]] = []
    for option in (0, 1, 2):
        number = await sandbox.inbound(include_headers=option)
        call = await sandbox.phone.dial(number, headers={"X-One": "1", "Subject": "s"})
        _, caller = await sandbox.joined(call)
        keys.append({key for key in caller.attributes if key.startswith("sip.h.")})
    assert keys[0] == set()
    assert keys[1] == {"sip.h.x-one"}
    assert {"sip.h.x-one", "sip.h.subject", "sip.h.to", "sip.h.via", "sip.h.cseq"} <= keys[2]


async def test_q07_where_does_the_metadata_of_a_dispatch_rule_go(
    sandbox: Sandbox, agent: Agent
) -> None:
    """To the SIP participant, and nowhere else: the metadata of the room and of the job is empty.

    (S-ASK-04)
    """
    number = await sandbox.inbound(metadata="of the rule", agent=agent.name)
    await sandbox.phone.dial(number)
    job = await agent.job()
    assert job.participant is not None
    assert (job.participant.metadata, job.metadata, job.room_metadata) == ("of the rule", "", "")


async def test_q08_where_does_the_metadata_of_a_trunk_go(sandbox: Sandbox) -> None:
    """Nowhere. It is stored with the trunk, and no participant, room or job ever has it.

    (S-ASK-04)
    """
    number = await sandbox.inbound(metadata=None)
    assert number.trunk is not None
    await sandbox.api.sip.update_inbound_trunk_fields(number.trunk_id, metadata="of the trunk")
    call = await sandbox.phone.dial(number)
    room, caller = await sandbox.joined(call)
    info = await room.info()
    assert info is not None
    assert (caller.metadata, info.metadata) == ("", "")
    assert "of the trunk" not in caller.attributes.values()


async def test_q09_what_does_the_job_get_from_room_config_agents(
    sandbox: Sandbox, agent: Agent
) -> None:
    """`job.metadata` is the metadata of the entry, the same for every call of the rule. It is only
    read when the call creates the room: a second call into the same room starts no second job.

    (S-ASK-05)
    """
    number = await sandbox.inbound(agent=agent.name, agent_metadata="tenant acme")
    first = await sandbox.phone.dial(number)
    assert (await agent.job()).metadata == "tenant acme"
    await first.answered(within=5)
    second = await sandbox.phone.dial(number)
    await second.answered(within=5)
    _, caller = await sandbox.joined(second)
    await agent.event("job.participant_connected", identity=caller.identity)
    assert len(agent.jobs()) == 1


async def test_q10_how_does_every_call_get_metadata_of_its_own(
    sandbox: Sandbox, agent: Agent
) -> None:
    """Without a server of your own: by a header of the INVITE, by the called number or id, or by a
    rule for each number. What an agent would look up, it looks up by `sip.phoneNumber`.
    """
    number = await sandbox.inbound(
        agent=agent.name, headers_to_attributes={"X-Tenant": "tenant"}, kind="callee"
    )
    caller = sandbox.number()
    await sandbox.phone.dial(number, caller=caller, headers={"X-Tenant": "acme"})
    job = await agent.job()
    assert job.participant is not None
    seen = job.participant.attributes
    assert (seen["tenant"], seen["sip.phoneNumber"]) == ("acme", caller)
    assert job.room.endswith(f"_{number.number}")


async def test_q11_what_is_a_room_of_an_individual_rule_called(sandbox: Sandbox) -> None:
    """The prefix, an underscore, the caller's number, an underscore and twelve random letters or
    digits. The underscore is there even behind a prefix that ends in a dash: `call-_+1555…_…`.
    """
    number = await sandbox.inbound(kind="individual", room_prefix="call-")
    caller = sandbox.number()
    call = await sandbox.phone.dial(number, caller=caller)
    room, _ = await sandbox.joined(call)
    assert re.fullmatch(rf"call-_{re.escape(caller)}_[A-Za-z0-9]{{12}}", room.name)


async def test_q12_how_does_somebody_join_to_listen_only(sandbox: Sandbox) -> None:
    """With a token of `livekit.api.AccessToken` whose grants have `can_publish=False` and
    `can_subscribe=True`. Python's VideoGrants allows data all the same (its `can_publish_data` is
    True by default, and only an unset one would follow `can_publish`): set it to False as well.
    Such a listener hears the caller, and does not make a ringing call answer.

    (S-ASK-07)
    """
    number = await sandbox.inbound()
    assert number.room is not None
    grants = api.VideoGrants(
        room_join=True, room=number.room.name, can_publish=False, can_subscribe=True
    )
    talker = await number.room.join(grants=grants)
    grants.can_publish_data = False
    listener = await number.room.join(grants=grants)
    call = await sandbox.phone.dial(number, tone=CALLER_TONE)
    _, caller = await sandbox.joined(call)
    assert call.state != "answered"
    members = await number.room.participants()
    assert members[talker.identity].permission.can_publish_data
    assert not members[listener.identity].permission.can_publish_data
    assert not members[listener.identity].permission.can_publish
    await number.room.join(tone=PEER_TONE)
    await call.answered(within=3)
    await listener.hears_tone(CALLER_TONE, of=caller.identity)


async def test_q13_is_a_token_with_room_join_alone_listen_only(sandbox: Sandbox) -> None:
    """No. What is not denied is allowed: with `room_join` alone one may publish, and an agent that
    does answers the calls that ring in the room.

    (S-ASK-07)
    """
    number = await sandbox.inbound()
    assert number.room is not None
    call = await sandbox.phone.dial(number)
    await sandbox.joined(call)
    grants = api.VideoGrants(room_join=True, room=number.room.name)
    await number.room.join(grants=grants, tone=PEER_TONE)
    await call.answered(within=3)


async def test_q14_does_a_session_end_with_the_ttl_of_its_token(sandbox: Sandbox) -> None:
    """No. A token is checked when one connects, with a minute's tolerance; who is connected stays
    connected. The default of the Python SDK is six hours, `with_ttl` changes it.

    (S-ASK-08)
    """
    room = sandbox.room()
    ends = sandbox.endpoints

    def token(identity: str) -> str:
        # It ended 57 seconds ago, which the tolerance of a minute still lets in, for 3 seconds.
        grants = api.VideoGrants(room_join=True, room=room.name)
        made = api.AccessToken(ends.api_key, ends.api_secret).with_identity(identity)
        return made.with_grants(grants).with_ttl(timedelta(seconds=-57)).to_jwt()

    late = token("late")
    early = rtc.Room()
    await early.connect(ends.livekit_url, token("early"))

    async def refused() -> bool:
        other = rtc.Room()
        try:
            await other.connect(ends.livekit_url, late)
        except rtc.ConnectError:
            return True
        await other.disconnect()
        return False

    try:
        assert await until(refused, within=6)
        assert early.isconnected()
        assert "early" in await room.participants()
    finally:
        await early.disconnect()


async def test_q15_what_is_can_publish_data_needed_for(sandbox: Sandbox) -> None:
    """For everything that is data: messages, streams, RPC, and digits to a phone. A participant
    without it may call `publish_dtmf`, but the phone gets nothing.

    (S-ASK-09)
    """
    number = await sandbox.inbound()
    assert number.room is not None
    allowed = await number.room.join(tone=PEER_TONE)
    grants = api.VideoGrants(room_join=True, room=number.room.name, can_publish_data=False)
    denied = await number.room.join(grants=grants)
    call = await sandbox.phone.dial(number)
    await call.answered(within=3)
    _, caller = await sandbox.joined(call)
    await asyncio.gather(denied.sees(caller.identity), allowed.sees(caller.identity))
    await denied.publish_dtmf("9")
    await allowed.publish_dtmf("3")
    await call.dtmf("3")


async def test_q16_does_update_participant_need_room_join(sandbox: Sandbox) -> None:
    """No. The caller's token needs `room_admin` for the room, and ParticipantPermission has no
    field of that name.
    """
    room = sandbox.room()
    peer = await room.join()
    ends = sandbox.endpoints
    grants = api.VideoGrants(room_admin=True, room=room.name)
    token = api.AccessToken(ends.api_key, ends.api_secret).with_grants(grants).to_jwt()
    async with api.LiveKitAPI(ends.livekit_url, token=token) as client:
        changed = await client.room.update_participant(
            api.UpdateParticipantRequest(room=room.name, identity=peer.identity, name="Ann")
        )
    assert changed.name == "Ann"
    assert "room_join" not in api.ParticipantPermission.DESCRIPTOR.fields_by_name


async def test_q17_does_update_participant_keep_what_is_left_out(sandbox: Sandbox) -> None:
    """Metadata, name and attributes that are left out are kept, and an attribute set to "" is
    removed. `permission` is replaced as a whole: a permission left out of it is taken away.

    (S-ASK-10)
    """
    room = sandbox.room()
    peer = await room.join(attributes={"a": "1", "b": "2"})

    async def update(**fields: object) -> api.ParticipantInfo:
        request = api.UpdateParticipantRequest(
            room=room.name,
            identity=peer.identity,
            **fields,  # type: ignore[arg-type]
        )
        return await sandbox.api.room.update_participant(request)

    before = await update(metadata="new")
    assert before.permission.can_publish_data
    assert dict(before.attributes) == {"a": "1", "b": "2"}
    assert dict((await update(attributes={"a": ""})).attributes) == {"b": "2"}
    permission = api.ParticipantPermission(can_publish=True, can_subscribe=True)
    after = await update(permission=permission)
    assert not after.permission.can_publish_data
    assert (after.metadata, dict(after.attributes)) == ("new", {"b": "2"})


@pytest.mark.parametrize(
    ("mode", "kinds"), [("audio_only", {"audio"}), ("subscribe_all", {"audio", "video"})]
)
async def test_q18_what_does_auto_subscribe_audio_only_leave_out(
    sandbox: Sandbox, mode: str, kinds: set[str]
) -> None:
    """The video tracks. SUBSCRIBE_ALL takes both, and the agent pays for what it does not look at.

    (S-ASK-11)
    """
    agent = await sandbox.agent(auto_subscribe=mode)
    room = sandbox.room()
    peer = await room.join()
    source = rtc.VideoSource(64, 64)
    camera = rtc.LocalVideoTrack.create_video_track("camera", source)
    await peer.rtc.local_participant.publish_track(camera)
    await peer.publish_tone(PEER_TONE)
    await sandbox.api.agent_dispatch.create_dispatch(
        api.CreateAgentDispatchRequest(agent_name=agent.name, room=room.name)
    )
    await agent.job()
    for kind in kinds:
        await agent.event("job.track", identity=peer.identity, kind=kind)
    await agent.hears_tone(PEER_TONE)
    seen = {
        event.data["kind"]
        for event in sandbox.timeline.since(sandbox.mark)
        if event.name == "job.track"
    }
    assert seen == kinds
    await source.aclose()


async def test_q19_how_does_an_agent_serve_several_callers(sandbox: Sandbox, agent: Agent) -> None:
    """`wait_for_participant` gives the first one alone. The others come by the room's event
    `participant_connected`, or by `ctx.add_participant_entrypoint`, set before connecting. There is
    no `ctx.on_participant_joined`.

    (S-ASK-12)
    """
    from livekit.agents import JobContext

    number = await sandbox.inbound(agent=agent.name)
    first = await sandbox.phone.dial(number)
    job = await agent.job()
    _, one = await sandbox.joined(first)
    second = await sandbox.phone.dial(number)
    _, two = await sandbox.joined(second)
    assert job.participant is not None
    assert job.participant.identity == one.identity
    await agent.event("job.participant_connected", identity=two.identity)
    assert hasattr(JobContext, "add_participant_entrypoint")
    assert not hasattr(JobContext, "on_participant_joined")


async def test_q20_where_does_the_entrypoint_see_the_metadata_of_the_room(
    sandbox: Sandbox, agent: Agent
) -> None:
    """In `ctx.room.metadata` once it is connected, and as a snapshot in `ctx.job.room.metadata`
    before that. It comes of CreateRoom, UpdateRoomMetadata, or `room_config.metadata` of the rule.

    (S-ASK-13)
    """
    config = api.RoomConfiguration(metadata="of the room")
    number = await sandbox.inbound(agent=agent.name, room_config=config)
    await sandbox.phone.dial(number)
    job = await agent.job()
    assert job.room_metadata == "of the room"
    await agent.event("job.participant", room_metadata="of the room")


@pytest.mark.sandbox_allow(
    "log-line", reason="the phone falls silent: livekit-sip warns of it", match="media-timeout"
)
async def test_q21_how_long_does_a_phone_that_crashed_stay(sandbox: Sandbox, wire: Wire) -> None:
    """Until the media timeout: 15 seconds after its last RTP packet, unless the trunk or the rule
    says otherwise (here: one second). LiveKit then hangs up, and the participant leaves.

    (S-ASK-14)
    """
    media = api.SIPMediaConfig(media_timeout=duration(1))
    number = await sandbox.inbound(media=media)
    assert number.room is not None
    peer = await number.room.join(tone=PEER_TONE)
    call = await (await wire.invite(number)).answered()
    await peer.hears_tone(CALLER_TONE, of=call.identity)
    call.media.stop()
    gone = await number.room.left(call.identity, within=4)
    assert gone.disconnect_reason == Reason.CLIENT_INITIATED
