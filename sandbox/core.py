"""The Sandbox: what one scenario has in hand, and the clean-up behind it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from google.protobuf.message import Message
from livekit import api

from sandbox import talk
from sandbox.agents.order import order_for
from sandbox.agents.process import AgentProcess
from sandbox.agents.protocol import Behaviour
from sandbox.agents.worker import Agent, AgentHost
from sandbox.errors import LeakError
from sandbox.phone.call import Call
from sandbox.phone.client import Credentials, Phone
from sandbox.speech.voice import Voice
from sandbox.stack.endpoints import Endpoints
from sandbox.stack.stack import Stack
from sandbox.switchboard import TEST_HEADER, Switchboard
from sandbox.telephony.arrivals import arrivals
from sandbox.telephony.inbound import Inbound, RuleKind, build_rule, build_trunk
from sandbox.telephony.numbers import NumberBlock
from sandbox.telephony.outbound import (
    OutboundCall,
    build_outbound_trunk,
    build_participant_request,
)
from sandbox.telephony.rooms import Room, participant_of
from sandbox.telephony.tracing import sip_request
from sandbox.timeline import Event, Fault, Timeline
from sandbox.trace.invariants.watch import Watch

__all__ = ["Sandbox"]

talk.use(Voice)


class Sandbox:
    """One scenario's view of a running stack.

    It has its own block of numbers and its own room names. Everything it makes (through its
    helpers or through `api`) is taken down at its end.

    Attributes:
        api: a plain `livekit.api.LiveKitAPI`; its requests are on the timeline.
        phone: the test phone.
        timeline: everything that happened in this run.
        endpoints: where the stack listens.
        invariants: what holds after every call, judged at the end (docs/invariants.md).
    """

    def __init__(
        self, stack: Stack, client: api.LiveKitAPI, phone: Phone, host: AgentHost, name: str
    ) -> None:
        self.api = client
        self.timeline: Timeline = stack.timeline
        self.name = name
        self.endpoints: Endpoints = stack.endpoints
        self._stack = stack
        self._host = host
        self._numbers = NumberBlock()
        self._prefix = f"sbx-{secrets.token_hex(3)}"
        self._rooms: list[Room] = []
        self._agents: list[Agent | AgentProcess] = []
        self.phone = Switchboard(phone, self.endpoints, self._numbers, name)
        self.mark = self.timeline.mark()
        self.invariants = Watch(self.endpoints, self.timeline, stack.calls_left)
        self.timeline.record("test", "test.started", test=name)

    @property
    def is_stand_in(self) -> bool:
        """Whether the SIP service is our stand-in and not livekit-sip."""
        return self.endpoints.is_stand_in

    def moved(self) -> None:
        """Follow the stack: its SIP service was started anew, and may be elsewhere."""
        self.endpoints = self._stack.endpoints
        self.phone.moved(self.endpoints)
        self.invariants.moved(self.endpoints)

    def step(self, text: str) -> None:
        """Put a step of the scenario on the timeline."""
        self.timeline.record("test", "test.step", text=text)

    def fault(self, text: str, /, **facts: Any) -> Fault:
        """Put a fault that the scenario inflicts on the timeline, with its end where it has one.

        The sandbox's own (`agent.kill`, a part of the stack that is stopped) are there by
        themselves; this is for what a scenario does by other means:

            with sandbox.fault("5 % of the packets are lost"):
                …

        Args:
            text: what is broken, in words.
            facts: the particulars, JSON-like.
        """
        return self.timeline.fault(text, **facts)

    async def sip(self, method: str, request: Message) -> Any:
        """Call any method of LiveKit's SIP API by its name; see `sip_request`.

        `api.sip` is the SDK's client; this is for what it has no function for, as
        `GetSIPInboundTrunk`.

        Raises:
            livekit.api.ServerError: livekit-server refused it.
        """
        return await sip_request(self.api, method, request)

    # --- names -----------------------------------------------------------------------------

    def number(self) -> str:
        """A telephone number that nobody else in this run has."""
        return self._numbers.take()

    def credentials(self) -> Credentials:
        """Digest credentials that nobody else has: user and password for a trunk and its caller."""
        return Credentials(f"user-{secrets.token_hex(3)}", secrets.token_urlsafe(12))

    def room_name(self, hint: str = "room") -> str:
        """A room name that nobody else has."""
        return f"{self._prefix}-{hint}-{secrets.token_hex(2)}"

    def room(self, name: str | None = None) -> Room:
        """A handle on a room by name (a fresh name by default); it is not created."""
        ends = self.endpoints
        room = Room(
            name or self.room_name(),
            client=self.api,
            url=ends.livekit_url,
            key=ends.api_key,
            secret=ends.api_secret,
            timeline=self.timeline,
        )
        self._rooms.append(room)
        return room

    def uri(self, number: str) -> str:
        """The SIP URI that reaches `number` at the SIP service."""
        return f"sip:{number}@{self.endpoints.sip_address}"

    # --- inbound ---------------------------------------------------------------------------

    async def trunk(self, **fields: Any) -> api.SIPInboundTrunkInfo:
        """Create an inbound trunk; fields of SIPInboundTrunkInfo by name, durations in seconds.

        Raises:
            livekit.api.ServerError: livekit-server refused it.
        """
        fields.setdefault("name", f"{self._prefix} {self.name}"[:60])
        return await self.api.sip.create_inbound_trunk(
            api.CreateSIPInboundTrunkRequest(trunk=build_trunk(fields))
        )

    async def rule(
        self,
        kind: RuleKind = "direct",
        *,
        agent: str | None = None,
        agent_metadata: str = "",
        trunk_ids: Sequence[str] = (),
        **fields: Any,
    ) -> api.SIPDispatchRuleInfo:
        """Create a dispatch rule; see `build_rule` for the rest of the arguments.

        Args:
            kind: `direct`, `individual` or `callee`.
            agent: dispatch this agent (`room_config.agents`) when the call creates the room.
            agent_metadata: the metadata of that dispatch, seen as `job.metadata`.
            trunk_ids: the trunks it is for; none means all calls, those of strangers included.
            fields: `room`, `room_prefix`, `pin`, `randomize`, `room_config`, and the fields of
                SIPDispatchRuleInfo by name.

        Raises:
            livekit.api.ServerError: livekit-server refused it.
        """
        agents = list(fields.pop("agents", ()))
        if agent is not None:
            agents.append(api.RoomAgentDispatch(agent_name=agent, metadata=agent_metadata))
        fields.setdefault("name", f"{self._prefix} {self.name}"[:60])
        info = build_rule(kind, agents=agents, trunk_ids=list(trunk_ids), **fields)
        return await self.api.sip.create_dispatch_rule(
            api.CreateSIPDispatchRuleRequest(dispatch_rule=info)
        )

    async def inbound(
        self,
        *,
        number: str | None = None,
        numbers: Sequence[str] | None = None,
        kind: RuleKind = "direct",
        room: str | None = None,
        room_prefix: str | None = None,
        pin: str = "",
        randomize: bool | None = None,
        agent: str | None = None,
        agent_metadata: str = "",
        agents: Sequence[api.RoomAgentDispatch] = (),
        room_config: api.RoomConfiguration | None = None,
        metadata: str | None = None,
        attributes: Mapping[str, str] | None = None,
        hide_phone_number: bool = False,
        rule: Mapping[str, Any] | None = None,
        **trunk: Any,
    ) -> Inbound:
        """A number that can be called: an inbound trunk and a dispatch rule for it.

        Args:
            number: the number to dial; a fresh one by default.
            numbers: the trunk's `numbers`; `[number]` by default, `[]` matches any number.
            kind: of the rule: `direct`, `individual` or `callee`.
            room: the room of a direct rule; a fresh one by default.
            room_prefix: of an individual or callee rule; a fresh one by default.
            pin: the rule's PIN.
            randomize: see `build_rule`.
            agent: agent_name to dispatch through `room_config.agents`.
            agent_metadata: the metadata of that dispatch.
            agents: further `room_config.agents`.
            room_config: the RoomConfiguration of the rule.
            metadata: of the rule; becomes the participant's metadata.
            attributes: of the rule; become the participant's attributes.
            hide_phone_number: of the rule.
            rule: further fields of SIPDispatchRuleInfo.
            trunk: fields of SIPInboundTrunkInfo (`headers_to_attributes`, `auth_username`,
                `allowed_addresses`, …), durations in seconds.

        Raises:
            livekit.api.ServerError: livekit-server refused the trunk or the rule.
        """
        number = number or self.number()
        info = await self.trunk(numbers=[number] if numbers is None else list(numbers), **trunk)
        handle = self.room(room) if kind == "direct" else None
        prefix = room_prefix if room_prefix is not None else self.room_name("call")
        made = await self.rule(
            kind,
            trunk_ids=[info.sip_trunk_id],
            room=handle.name if handle else "",
            room_prefix="" if handle else prefix,
            pin=pin,
            randomize=randomize,
            agent=agent,
            agent_metadata=agent_metadata,
            agents=agents,
            room_config=room_config,
            metadata=metadata,
            attributes=dict(attributes) if attributes is not None else None,
            hide_phone_number=hide_phone_number,
            **(rule or {}),
        )
        return Inbound(number=number, uri=self.uri(number), trunk=info, rule=made, room=handle)

    async def joined(self, call: Call, *, within: float = 5.0) -> tuple[Room, api.ParticipantInfo]:
        """Wait until the caller of `call` is in a room; the room and the participant as it joined.

        The participant is told by its attribute `sip.callIDFull`, which is the Call-ID.

        Raises:
            DeadlineMissed: no participant of this call joined any room.
        """

        def match(event: Event) -> bool:
            who = event.data.get("participant", {})
            return (
                event.name == "webhook.participant_joined"
                and who.get("attributes", {}).get("sip.callIDFull") == call.sip_call_id
            )

        event = await self.timeline.wait(
            match,
            within=within,
            expected=f"the caller of {call.remote_uri} to join a room",
            since=self.mark,
            about=lambda e: e.source == "webhook" or e.call == call.id,
        )
        return self.room(event.data["room"]["name"]), participant_of(event)

    # --- outbound --------------------------------------------------------------------------

    async def outbound_trunk(
        self, address: str, *, numbers: Sequence[str] | None = None, **fields: Any
    ) -> api.SIPOutboundTrunkInfo:
        """Create an outbound trunk to `address` (a line's `host:port`, say).

        Args:
            address: where the INVITE goes, `host:port`.
            numbers: the numbers it may call from; a fresh one by default.
            fields: of SIPOutboundTrunkInfo by name.

        Raises:
            livekit.api.ServerError: livekit-server refused it.
        """
        chosen = [self.number()] if numbers is None else list(numbers)
        return await self.api.sip.create_outbound_trunk(
            api.CreateSIPOutboundTrunkRequest(trunk=build_outbound_trunk(address, chosen, fields))
        )

    async def call_out(
        self,
        trunk: api.SIPOutboundTrunkInfo | api.SIPOutboundConfig | str,
        to: str,
        *,
        room: Room | None = None,
        wait: bool = False,
        timeout: float | None = None,
        **fields: Any,
    ) -> OutboundCall:
        """CreateSIPParticipant: let the SIP service call `to` and put it in a room.

        The INVITE carries the test's name as X-Sandbox-Test, unless `sandbox.phone.test` is "".

        Args:
            trunk: the outbound trunk, its id, or an inline trunk (which needs `sip_number`).
            to: `sip_call_to`, the number to call.
            room: the room; a fresh one by default.
            wait: `wait_until_answered`: return only when it is answered, raise when it is not.
            timeout: of the request, in seconds.
            fields: of CreateSIPParticipantRequest by name, durations in seconds.

        Raises:
            livekit.api.SipCallError: the callee refused (with `wait`).
            livekit.api.ServerError: livekit-server refused the request.
        """
        handle = room or self.room()
        inline = isinstance(trunk, api.SIPOutboundConfig)
        by_id = trunk if isinstance(trunk, str) else getattr(trunk, "sip_trunk_id", "")
        headers = dict(fields.pop("headers", None) or {})
        if self.phone.test and all(name.lower() != TEST_HEADER.lower() for name in headers):
            headers[TEST_HEADER] = self.phone.test
        request = build_participant_request(
            {
                "sip_trunk_id": by_id,
                "trunk": trunk if inline else None,
                "sip_call_to": to,
                "room_name": handle.name,
                "wait_until_answered": wait,
                "headers": headers,
                **fields,
            }
        )
        info = await self.api.sip.create_sip_participant(request, timeout=timeout)
        return OutboundCall(room=handle, info=info)

    # --- agents ----------------------------------------------------------------------------

    @overload
    async def agent(self, *, name: str | None = None, **behaviour: Any) -> Agent: ...

    @overload
    async def agent(
        self,
        what: str | Path | Callable[..., Any] | object,
        *,
        name: str | None = None,
        fast: bool | None = None,
        reuse: bool = True,
        env: Mapping[str, str] | None = None,
        arguments: Sequence[str] = ("start",),
        executor: str = "",
        load_limit: bool = False,
        python: str | Path | None = None,
        within: float = 60.0,
    ) -> AgentProcess: ...

    async def agent(
        self,
        what: Any = None,
        *,
        name: str | None = None,
        reuse: bool = True,
        within: float = 60.0,
        **options: Any,
    ) -> Agent | AgentProcess:
        """Run an agent and wait until livekit-server has registered its worker.

        Without `what` it is the sandbox's own, which answers with a tone: the options are then
        those of `Behaviour` (`tone`, `accept`, `raises`, `stays`, …), and the name a fresh one.

        Args:
            what: your agent: the path of its file, its entrypoint function, or its AgentServer
                (or where either is: `file.py:name`). It runs unchanged, with LIVEKIT_URL,
                _API_KEY and _API_SECRET of this stack.
            name: the agent_name that it registers with instead of its own; "" for automatic
                dispatch. A function has none of its own and is named after itself.
            fast: fork it from a warm process, with its jobs in threads: 0.1 s instead of some
                seconds. The default for functions and AgentServers; a file gets a fresh
                interpreter and its own job executor, as in production.
            reuse: keep its process for the next scenario that asks for the same; not if it has
                no name, for it would take the rooms of every scenario.
            env: environment variables, laid over those of this process.
            arguments: the file's command line.
            executor: `thread` or `process` instead of its own job executor.
            load_limit: keep production's load limit, which refuses calls on a busy machine, and
                its health port 8081.
            python: the interpreter, if it is another.
            within: seconds to be registered in.
            options: those from `fast` on; or those of `Behaviour`.

        Raises:
            AgentError: it ended, or was not registered in time; the end of its log is shown.
            UsageError: there is no such file, or the function is not at its module's top.
        """
        if what is None:
            label = f"{self._prefix}-agent-{len(self._agents)}" if name is None else name
            own = Agent(self._host, label, Behaviour(**options))
            self._agents.append(own)
            await own.start()
            return own
        order = order_for(what, name=name, **options)
        processes = self._host.processes
        running = await processes.take(order, reuse=reuse, within=within)
        agent = AgentProcess(processes, running, reuse=reuse)
        self._agents.append(agent)
        return agent

    # --- the end ---------------------------------------------------------------------------

    async def close(self) -> None:
        """Take down everything the scenario made.

        Raises:
            LeakError: something could not be taken down; it says what.
        """
        self.timeline.record("test", "test.ended", test=self.name)
        if not self.endpoints.is_stand_in:
            await arrivals(self.timeline, since=self.mark)
        await asyncio.gather(
            self.phone.reset(),
            *(room.leave() for room in self._rooms),
        )
        await self.invariants.calls_over()
        made = self._made()
        rooms = await self._our_rooms()
        await asyncio.gather(
            *(self._quietly(self.api.room.delete_room(api.DeleteRoomRequest(room=name)))
              for name in rooms),
            *(self._quietly(self.api.sip.delete_dispatch_rule(
                api.DeleteSIPDispatchRuleRequest(sip_dispatch_rule_id=rule)))
              for rule in made["rules"]),
            *(self._quietly(self.api.sip.delete_trunk(
                api.DeleteSIPTrunkRequest(sip_trunk_id=trunk)))
              for trunk in made["trunks"]),
            *(agent.stop() for agent in self._agents),
        )  # fmt: skip
        left = await self._left_over(made)
        await asyncio.gather(*(self._quietly(removal) for _, removal in left if removal))
        if left:
            raise LeakError(
                f"{self.name} left something behind",
                seen=[what for what, _ in left],
                remedy="make it through `sandbox` or `sandbox.api`, which clean up, or end it",
                evidence=str(self.endpoints.run_dir),
            )

    @staticmethod
    async def _quietly(work: Any) -> None:
        """Deleting what the scenario has deleted already is fine.

        So is a room that livekit-server lists and cannot find: who joins while a room is deleted
        leaves one behind. What is still listed afterwards is told.
        """
        try:
            await work
        except api.TwirpError as error:
            if error.code != "not_found" and error.message != "could not find object":
                raise

    def _made(self) -> dict[str, list[str]]:
        """The trunks and rules that this scenario created, by their answers on the timeline."""
        made: dict[str, list[str]] = {"trunks": [], "rules": []}
        for event in self.timeline.since(self.mark):
            if event.name != "api.answer" or not isinstance(event.data.get("message"), dict):
                continue
            method, message = event.data["method"], event.data["message"]
            if method in ("SIP/CreateSIPInboundTrunk", "SIP/CreateSIPOutboundTrunk"):
                made["trunks"].append(message["sip_trunk_id"])
            elif method == "SIP/CreateSIPDispatchRule":
                made["rules"].append(message["sip_dispatch_rule_id"])
        return made

    async def _our_rooms(self) -> list[str]:
        """Rooms that are ours: on a stack of ours all, on a foreign one those we named."""
        listed = (await self.api.room.list_rooms(api.ListRoomsRequest())).rooms
        named = {room.name for room in self._rooms}
        own = self.endpoints.engine != "attach"
        return [
            room.name
            for room in listed
            if own or room.name in named or room.name.startswith(self._prefix)
        ]

    async def _left_over(
        self, made: Mapping[str, Sequence[str]]
    ) -> list[tuple[str, Coroutine[Any, Any, Any] | None]]:
        """What is still there, and how it is removed.

        A stack of ours is for one scenario at a time, so whatever is there now was left by this
        one, however it was made; of a foreign deployment only what we made counts.
        """
        own = self.endpoints.engine != "attach"
        sip = self.api.sip
        trunks = await sip.list_inbound_trunk(api.ListSIPInboundTrunkRequest())
        outs = await sip.list_outbound_trunk(api.ListSIPOutboundTrunkRequest())
        rules = await sip.list_dispatch_rule(api.ListSIPDispatchRuleRequest())
        left: list[tuple[str, Coroutine[Any, Any, Any] | None]] = []
        rooms, known = set(await self._our_rooms()), self._stack.rooms_left
        left += [(f"room {name}", None) for name in sorted(rooms - known)]
        self._stack.rooms_left = rooms
        left += [(f"call {call}", None) for call in await self.phone.leaks()]
        trunk_ids = [trunk.sip_trunk_id for trunk in trunks.items]
        trunk_ids += [trunk.sip_trunk_id for trunk in outs.items]
        for trunk_id in trunk_ids:
            if own or trunk_id in made["trunks"]:
                request = api.DeleteSIPTrunkRequest(sip_trunk_id=trunk_id)
                left.append((f"trunk {trunk_id}", sip.delete_trunk(request)))
        for rule_id in (rule.sip_dispatch_rule_id for rule in rules.items):
            if own or rule_id in made["rules"]:
                wanted = api.DeleteSIPDispatchRuleRequest(sip_dispatch_rule_id=rule_id)
                left.append((f"dispatch rule {rule_id}", sip.delete_dispatch_rule(wanted)))
        return left
