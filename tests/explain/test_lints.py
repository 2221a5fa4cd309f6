"""Each trap that `sandbox explain` warns of, at work: what livekit-server really does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from livekit import api

from sandbox import Stack, StackOptions, Timeline
from sandbox.explain import IncomingCall, Outcome, lint
from tests.explain.caller import Dialled
from tests.explain.stage import Seen, differences, place, write

CALLER, NUMBER = "+19990001", "+15550001"
ON: dict[str, Any] = {"trunk_ids": ["ST_a"]}
_calls = iter(range(10**6))

Trunks = Sequence[api.SIPInboundTrunkInfo]
Rules = Sequence[api.SIPDispatchRuleInfo]
Try = Callable[..., Awaitable[Seen]]


def trunk(id_: str = "ST_a", **fields: Any) -> api.SIPInboundTrunkInfo:
    return api.SIPInboundTrunkInfo(sip_trunk_id=id_, **fields)


def rule(id_: str = "SDR_a", room: str = "lobby", pin: str = "", agent: str = "",
         **fields: Any) -> api.SIPDispatchRuleInfo:  # fmt: skip
    kind = api.SIPDispatchRule(
        dispatch_rule_direct=api.SIPDispatchRuleDirect(room_name=room, pin=pin)
    )
    made = api.SIPDispatchRuleInfo(sip_dispatch_rule_id=id_, rule=kind, **fields)
    if agent:
        made.room_config.agents.add(agent_name=agent)
    return made


def call(caller: str = CALLER, to: str = NUMBER, **fields: Any) -> IncomingCall:
    number = next(_calls)
    fields.setdefault("from_host", "127.0.0.1")
    return IncomingCall(
        from_user=caller, to_user=to, to_host="127.0.0.1", source="127.0.0.1",
        call_id=f"trap-{number}", from_tag=f"t{number}", **fields,
    )  # fmt: skip


@pytest_asyncio.fixture(loop_scope="session")
async def trap(sandbox_stack: Stack, client: api.LiveKitAPI) -> Try:
    """Lint a configuration, write it, place a call; it must end as the model says."""

    async def attempt(
        kind: str, trunks: Trunks, rules: Rules, dialled: IncomingCall, **known: Any
    ) -> Seen:
        assert kind in [found.id for found in lint(trunks, rules, **known)]
        await write(sandbox_stack, trunks, rules)
        predicted, seen = await place(sandbox_stack, trunks, rules, dialled)
        assert differences(predicted, seen) == []
        return seen

    return attempt


async def test_open_rule(trap: Try) -> None:
    """A rule without trunk_ids answers strangers, whatever the trunk asks for. (S-SEC-01)"""
    locked = trunk(numbers=[NUMBER], auth_username="pbx", auth_password="right")
    seen = await trap("open-rule", [locked], [rule()], call(to="+15550002"))
    assert seen.outcome is Outcome.ROOM
    assert "sip.trunkID" not in seen.participant["attributes"]


async def test_half_auth(trap: Try) -> None:
    """A user without a password is no authentication. (S-API-04)"""
    half = trunk(numbers=[NUMBER], auth_username="pbx")
    assert (await trap("half-auth", [half], [rule(**ON)], call())).outcome is Outcome.ROOM


@pytest.mark.parametrize("entry", ["10.0.0.*", "10.0.0.1, 10.0.0.2", "sip://10.0.0.1", "10.0.0.1 "])
async def test_open_addresses(trap: Try, entry: str) -> None:
    """An entry of allowed_addresses with *, a comma, a blank or :// admits everyone. (S-TRK-07)"""
    fenced = trunk(numbers=[NUMBER], allowed_addresses=[entry])
    assert (await trap("open-addresses", [fenced], [rule(**ON)], call())).outcome is Outcome.ROOM


async def test_any_network(trap: Try) -> None:
    """0.0.0.0/0 admits everyone. (S-TRK-07)"""
    fenced = trunk(allowed_addresses=["0.0.0.0/0"])
    assert (await trap("any-network", [fenced], [rule(**ON)], call())).outcome is Outcome.ROOM


async def test_spoofable_host(trap: Try) -> None:
    """A host name in allowed_addresses is what the From header says, from anywhere. (S-TRK-08)"""
    fenced = trunk(allowed_addresses=["pbx.example"])
    spoofed = call(from_host="pbx.example")
    kind, rules = "spoofable-host", [rule(**ON)]
    assert (await trap(kind, [fenced], rules, spoofed)).outcome is Outcome.ROOM
    assert (await trap(kind, [fenced], rules, call())).outcome is Outcome.SILENCE


@pytest.mark.parametrize("field", ["inbound_numbers", "numbers"])
async def test_rule_number_format(trap: Try, field: str) -> None:
    """A rule's numbers compare letter by letter: without the + they do not match. (S-DSP-08)"""
    number = (CALLER if field == "inbound_numbers" else NUMBER).removeprefix("+")
    narrow = rule(trunk_ids=["ST_a"])
    getattr(narrow, field).append(number)
    seen = await trap("rule-number-format", [trunk(numbers=[NUMBER])], [narrow], call())
    assert seen.outcome is Outcome.SILENCE


async def test_swapped_numbers(trap: Try) -> None:
    """inbound_numbers filter the caller; the called number there shuts all out. (S-DSP-08)"""
    swapped = rule(inbound_numbers=[NUMBER], **ON)
    seen = await trap("swapped-numbers", [trunk(numbers=[NUMBER])], [swapped], call())
    assert seen.outcome is Outcome.SILENCE


async def test_trunk_number_format(trap: Try) -> None:
    """A number with dots is no telephone number for a trunk: it matches nothing else. (S-TRK-03)"""
    dotted = trunk(numbers=["+1.555.0001"])
    seen = await trap("trunk-number-format", [dotted], [rule(**ON)], call())
    assert seen.outcome is Outcome.SILENCE


async def test_gone_trunk(trap: Try) -> None:
    """A rule for a trunk that is gone never matches. (S-API-19)"""
    orphan = rule(trunk_ids=["ST_gone"])
    seen = await trap("gone-trunk", [trunk(numbers=[NUMBER])], [orphan], call())
    assert seen.outcome is Outcome.SILENCE


async def test_trunk_without_rule(trap: Try) -> None:
    """A trunk that no rule is for meets its calls with silence. (S-DSP-11)"""
    seen = await trap("trunk-without-rule", [trunk(numbers=[NUMBER])], [], call())
    assert seen.outcome is Outcome.SILENCE


async def test_conflicting_trunks(trap: Try, client: api.LiveKitAPI) -> None:
    """The API accepts two trunks, and the caller whom both take gets 503. (S-TRK-05)"""
    for allowed in ([], [CALLER]):
        await client.sip.create_inbound_trunk(
            api.CreateSIPInboundTrunkRequest(
                trunk=api.SIPInboundTrunkInfo(numbers=[NUMBER], allowed_numbers=allowed)
            )
        )
    trunks = [trunk(numbers=[NUMBER]), trunk("ST_b", numbers=[NUMBER], allowed_numbers=[CALLER])]
    rules = [rule(trunk_ids=["ST_a", "ST_b"])]
    seen = await trap("conflicting-trunks", trunks, rules, call())
    assert seen.outcome is Outcome.ERROR
    other = call(caller="+19990002")
    assert (await trap("conflicting-trunks", trunks, rules, other)).outcome is Outcome.ROOM


async def test_conflicting_rules(trap: Try) -> None:
    """Two rules for one caller that conflict get every other caller 503 too. (S-DSP-13)"""
    rules = [
        rule(**ON),
        rule("SDR_b", "vip", inbound_numbers=["+19990002"], **ON),
        rule("SDR_c", "vip", inbound_numbers=["19990002"], **ON),
    ]
    seen = await trap("conflicting-rules", [trunk(numbers=[NUMBER])], rules, call())
    assert seen.outcome is Outcome.ERROR


async def test_no_kind(trap: Try, client: api.LiveKitAPI) -> None:
    """The API refuses a rule of no kind; were it there, all would get 503. (S-API-13)"""
    bare = api.SIPDispatchRuleInfo(sip_dispatch_rule_id="SDR_b", trunk_ids=["ST_a"])
    with pytest.raises(api.TwirpError, match="missing rule"):
        await client.sip.create_dispatch_rule(
            api.CreateSIPDispatchRuleRequest(
                dispatch_rule=api.SIPDispatchRuleInfo(trunk_ids=["ST_a"])
            )
        )
    rules = [rule(inbound_numbers=[CALLER], **ON), bare]
    seen = await trap("no-kind", [trunk(numbers=[NUMBER])], rules, call())
    assert seen.outcome is Outcome.ERROR


async def test_pin_not_enterable(trap: Try, client: api.LiveKitAPI) -> None:
    """The API takes a PIN of 17 digits; whoever keys it is hung up on. (S-PIN-04)"""
    pin = "1" * 17
    long = rule(pin=pin, **ON)
    seen = await trap("pin-not-enterable", [trunk(numbers=[NUMBER])], [long], call(pin=pin))
    assert seen.outcome is Outcome.WRONG_PIN


async def test_unserved_agent(trap: Try, client: api.LiveKitAPI) -> None:
    """An agent that nobody serves is dispatched, never comes, and it rings on. (S-AGT-03)"""
    named = rule(agent="nobody-of-that-name", **ON)
    seen = await trap("unserved-agent", [trunk(numbers=[NUMBER])], [named], call(), agents=["me"])
    assert seen.participant["attributes"]["sip.callStatus"] == "ringing"
    dispatches = await client.agent_dispatch.list_dispatch("lobby")
    assert [found.agent_name for found in dispatches] == ["nobody-of-that-name"]
    assert not dispatches[0].state.jobs or not any(
        job.state.participant_identity for job in dispatches[0].state.jobs
    )


async def test_agents_ignored(trap: Try, client: api.LiveKitAPI) -> None:
    """room_config.agents is not read for a room that exists. (S-AGT-06, livekit/livekit#4390)"""
    await client.room.create_room(api.CreateRoomRequest(name="lobby"))
    named = rule(agent="alpha", **ON)
    seen = await trap("agents-ignored", [trunk(numbers=[NUMBER])], [named], call(), rooms=["lobby"])
    assert seen.room == "lobby"
    names = [found.agent_name for found in await client.agent_dispatch.list_dispatch("lobby")]
    assert "alpha" not in names


async def test_hidden_anonymous_crash(
    sandbox_stack: Stack, client: api.LiveKitAPI, tmp_path: Path
) -> None:
    """hide_phone_number and a From without a user: livekit-server 1.13.5 dies. (S-DSP-06)"""
    if sandbox_stack.endpoints.server_version != "v1.13.5":
        pytest.skip("shown with livekit-server v1.13.5")
    trunks, rules = [trunk(numbers=[NUMBER])], [rule(hide_phone_number=True, **ON)]
    assert [found.id for found in lint(trunks, rules)] == ["hidden-anonymous-crash"]
    # A stack of its own: it does not survive.
    options = StackOptions(engine="native", run_dir=tmp_path / "stack", name="crash")
    async with Stack(options, Timeline()) as stack:
        await write(stack, trunks, rules)
        ends = stack.endpoints
        dialled = Dialled(call(caller=""), (ends.sip_host, ends.sip_port))
        await dialled.place()
        try:
            died = await stack.timeline.wait(
                lambda event: event.name == "process.died",
                within=5,
                expected="livekit-server to die",
            )
            assert died.data["part"] == "livekit-server"
        finally:
            dialled.end()
            dialled.close()
        await asyncio.sleep(0)
    assert "slice bounds out of range" in (tmp_path / "stack/livekit-server.log").read_text()
