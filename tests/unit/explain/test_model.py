"""The verdict on a call: the outcome, the reason, what to change, what the call gets."""

from __future__ import annotations

from typing import Any

import pytest
from livekit import api

from sandbox.errors import UsageError
from sandbox.explain import Credentials, Outcome, explain, verdict_lines
from tests.explain.generate import case
from tests.unit.explain.parts import CALLER, NUMBER, call, callee, direct, individual, trunk

ON: dict[str, Any] = {"trunk_ids": ["ST_a"]}
PLAIN = [trunk(numbers=[NUMBER])]
LOCKED = [trunk(numbers=[NUMBER], auth_username="pbx", auth_password="right")]
RIGHT = Credentials(username="pbx", password="right")
PINS = [direct("SDR_open", "open", **ON), direct("SDR_pin", "safe", "1234", **ON)]


@pytest.mark.parametrize(
    ("trunks", "rules", "changes", "outcome"),
    [
        (PLAIN, [direct(**ON)], {}, Outcome.ROOM),
        ([], [direct()], {}, Outcome.ROOM),
        ([], [], {}, Outcome.SILENCE),
        (PLAIN, [], {}, Outcome.SILENCE),
        (LOCKED, [direct(**ON)], {}, Outcome.CHALLENGE),
        (LOCKED, [direct(**ON)], {"credentials": RIGHT}, Outcome.ROOM),
        (LOCKED, [direct(**ON)], {"credentials": Credentials(username="pbx", password="no")},
         Outcome.UNAUTHORIZED),
        (LOCKED, [direct(**ON)], {"credentials": Credentials(username="x", password="right")},
         Outcome.UNAUTHORIZED),
        # The password comes before the rules, the trunk's error before the password.
        (LOCKED, [], {}, Outcome.CHALLENGE),
        ([*LOCKED, trunk("ST_b", numbers=[NUMBER])], [], {}, Outcome.ERROR),
        ([trunk(numbers=[NUMBER], auth_username="pbx")], [direct(**ON)], {}, Outcome.ROOM),
        (PLAIN, [direct(**ON), direct("SDR_b", "x", **ON)], {}, Outcome.ERROR),
        (PLAIN, PINS, {}, Outcome.PIN_PROMPT),
        (PLAIN, PINS, {"pin": "1234"}, Outcome.ROOM),
        (PLAIN, PINS, {"pin": ""}, Outcome.ROOM),
        (PLAIN, PINS, {"pin": "9"}, Outcome.WRONG_PIN),
        (PLAIN, PINS[1:], {"pin": ""}, Outcome.WRONG_PIN),
        (PLAIN, [direct(pin="1" * 17, **ON)], {"pin": "1" * 17}, Outcome.WRONG_PIN),
        # Nobody asks, so what would be entered does not matter.
        (PLAIN, PINS[:1], {"pin": "9"}, Outcome.ROOM),
        (PLAIN, [direct(hide_phone_number=True, **ON)], {"from_user": ""}, Outcome.CRASH),
        (PLAIN, [direct(hide_phone_number=True, pin="1", **ON)], {"from_user": ""}, Outcome.CRASH),
        (PLAIN, [direct(hide_phone_number=True, **ON)], {"from_user": "zoë"}, Outcome.ERROR),
        (PLAIN, [direct(hide_phone_number=True, **ON)], {"from_user": "anna-zoë"}, Outcome.ROOM),
        (PLAIN, [direct(hide_phone_number=True, pin="1", **ON)], {"from_user": "zoë", "pin": "1"},
         Outcome.ERROR),
    ],
)  # fmt: skip
def test_the_outcome(
    trunks: list[api.SIPInboundTrunkInfo],
    rules: list[api.SIPDispatchRuleInfo],
    changes: dict[str, Any],
    outcome: Outcome,
) -> None:
    verdict = explain(trunks, rules, call().with_changes(**changes))
    assert verdict.outcome is outcome
    assert bool(verdict.fixes) != outcome.good
    assert (verdict.grant is not None) == outcome.good


def test_from_1_13_8_on_a_call_that_nobody_takes_gets_404() -> None:
    assert explain([], [], call(), version="v1.13.7").outcome is Outcome.SILENCE
    verdict = explain([], [], call(), version="v1.13.8")
    assert verdict.outcome is Outcome.NOT_FOUND
    assert "404" in verdict.wire


def test_a_source_that_is_no_address_is_refused() -> None:
    with pytest.raises(UsageError, match="no IP address"):
        explain([], [], call(source="pbx.example"))


@pytest.mark.parametrize("text", ["latest", "1", "v1.x"])
def test_a_version_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no release"):
        explain([], [], call(), version=text)


@pytest.mark.parametrize(
    ("rule", "room", "caller"),
    [
        (direct(room="lobby"), "lobby", CALLER),
        (individual(prefix="call"), "call_+15550001_{random}", CALLER),
        (individual(prefix="call-"), "call-_+15550001_{random}", CALLER),
        (individual(prefix=""), "+15550001_{random}", CALLER),
        (individual(prefix="", plain=True), "+15550001", CALLER),
        (individual(prefix="p", plain=True), "p_", ""),
        (individual(prefix=""), "_{random}", ""),
        (callee(prefix="desk"), "desk_+15559999", CALLER),
        (callee(prefix=""), "+15559999", CALLER),
        (callee(prefix="", randomize=True), "+15559999_{random}", CALLER),
        (individual(prefix="p", hide_phone_number=True), "p_0001_{random}", CALLER),
        (individual(prefix="p", hide_phone_number=True), "p_4_{random}", "1234"),
        (individual(prefix="p", hide_phone_number=True), "p_2345_{random}", "12345"),
        (callee(prefix="p", hide_phone_number=True), "p_+15559999", CALLER),
    ],
)
def test_the_room(rule: api.SIPDispatchRuleInfo, room: str, caller: str) -> None:
    won = explain([], [rule], call(caller)).grant
    assert won is not None
    assert won.room == room


def test_livekit_server_1_9_puts_an_underscore_before_the_caller() -> None:
    won = explain([], [individual(prefix="")], call(), version="v1.9.11").grant
    assert won is not None
    assert won.room == "_+15550001_{random}"


def test_a_hidden_caller() -> None:
    won = explain(PLAIN, [direct(hide_phone_number=True, **ON)], call()).grant
    assert won is not None
    assert won.identity == "sip_ada37e314e8deb5e"
    assert won.name == "Phone 0001"
    assert not {"sip.phoneNumber", "sip.hostname", "sip.trunkPhoneNumber"} & won.attributes.keys()


def test_what_wins_among_the_attributes() -> None:
    """Rule < livekit's own < included headers < mapped < carrier's; nothing beats callStatus."""
    trunks = [
        trunk(
            numbers=[NUMBER],
            include_headers=1,
            headers_to_attributes={
                "x-tier": "tier",
                "X-Number": "sip.phoneNumber",
                "X-Status": "sip.callStatus",
                "Subject": "sip.twilio.callSid",
                "X-Gone": "gone",
                "X-Empty": "empty",
            },
        )
    ]
    rules = [
        direct(attributes={"tier": "rule", "sip.ruleID": "rule", "own": "1", "void": ""}, **ON)
    ]
    headers = (
        ("X-Tier", "first"),
        ("X-Tier", "last"),
        ("X-Number", "mapped"),
        ("X-Status", "mapped"),
        ("X-Twilio-CallSid", "CA1"),
        ("X-Empty", ""),
        ("Subject", "not included"),
    )
    won = explain(trunks, rules, call(headers=headers, complete=True)).grant
    assert won is not None
    assert not won.attributes_open
    assert won.attributes == {
        "own": "1",
        "sip.callID": "{SCL_…}",
        "sip.callIDFull": "{Call-ID}",
        "sip.callStatus": "ringing",
        "sip.callTag": "{From tag}",
        "sip.h.x-number": "mapped",
        "sip.h.x-status": "mapped",
        "sip.h.x-tier": "last",
        "sip.h.x-twilio-callsid": "CA1",
        "sip.hostname": "pbx.example",
        "sip.phoneNumber": "mapped",
        "sip.ruleID": "SDR_a",
        "sip.trunkID": "ST_a",
        "sip.trunkPhoneNumber": NUMBER,
        "sip.twilio.callSid": "CA1",
        "tier": "first",
    }


def test_two_headers_for_one_attribute_are_a_matter_of_chance() -> None:
    trunks = [trunk(numbers=[NUMBER], headers_to_attributes={"X-B": "id", "X-A": "id"})]
    for second, expected in (("1", "1"), ("2", "{header X-A or X-B, by chance}")):
        headers = (("X-A", "1"), ("X-B", second))
        won = explain(trunks, [direct(**ON)], call(headers=headers, complete=True)).grant
        assert won is not None
        assert won.attributes["id"] == expected


def test_headers_that_are_not_known_stand_in_for_themselves() -> None:
    trunks = [trunk(numbers=[NUMBER], include_headers=2, headers_to_attributes={"X-Id": "id"})]
    won = explain(trunks, [direct(**ON)], call()).grant
    assert won is not None
    assert won.attributes["id"] == "{header X-Id}"
    assert won.attributes_open


@pytest.mark.parametrize(
    ("agents", "rooms", "names", "note"),
    [
        (["alpha"], None, ["alpha"], "only if this call creates the room"),
        (["alpha", "beta"], [], ["alpha", "beta"], ""),
        (["alpha"], ["lobby"], [], "nobody is dispatched (would be 'alpha')"),
        ([], [], [""], "automatic dispatch"),
        ([], ["lobby"], [], "nobody new"),
    ],
)
def test_the_agents(
    agents: list[str], rooms: list[str] | None, names: list[str], note: str
) -> None:
    rule = direct(**ON)
    rule.room_config.agents.extend(
        api.RoomAgentDispatch(agent_name=name, metadata="m") for name in agents
    )
    won = explain(PLAIN, [rule], call(), rooms=rooms).grant
    assert won is not None
    assert [agent.name for agent in won.agents] == names
    assert note in won.agents_note


def test_the_headers_of_the_200_and_the_limits() -> None:
    one = trunk(numbers=[NUMBER], headers={"X-Static": "1"}, attributes_to_headers={"own": "X-Own"})
    one.ringing_timeout.seconds = 7
    one.max_call_duration.seconds = 99 * 3600
    won = explain([one], [direct(attributes={"own": "yes"}, **ON)], call()).grant
    assert won is not None
    assert won.answer_headers == {"X-Static": "1", "X-Own": "yes"}
    assert (won.ringing_timeout, won.max_call_duration) == (7.0, 86400.0)
    won = explain([one], [direct(pin="1", **ON)], call()).grant
    assert won is not None
    assert won.answer_headers == {}
    assert any("PIN call" in note for note in won.notes)


@pytest.mark.parametrize(
    ("trunks", "rules", "fix"),
    [
        ([], [], f"create an inbound trunk with numbers=['{NUMBER}'], and a rule for it"),
        (PLAIN, [], "create a dispatch rule with trunk_ids=['ST_a']"),
        (PLAIN, [direct(trunk_ids=["ST_b"])],
         "add ST_a to trunk_ids of SDR_a, or create a rule for that trunk"),
        (PLAIN, [direct(inbound_numbers=[NUMBER], **ON)],
         (f"put the called number {NUMBER} in `numbers` of SDR_a, and leave `inbound_numbers` "
         "empty")),
        (PLAIN, [direct(numbers=[CALLER], **ON)],
         f"put the caller {CALLER} in `inbound_numbers` of SDR_a, and leave `numbers` empty"),
        (PLAIN, [direct(numbers=[NUMBER[1:]], **ON)],
         f"write {NUMBER!r} instead of {NUMBER[1:]!r} in numbers of SDR_a"),
        (PLAIN, [direct(inbound_numbers=["1-555-0001"], **ON)],
         f"write {CALLER!r} instead of '1-555-0001' in inbound_numbers of SDR_a"),
        ([trunk(numbers=["+1.555.9999"])], [direct(**ON)],
         (f"put {NUMBER!r}, as called, in numbers of ST_a beside '+1.555.9999', or have the "
         "carrier send '+1.555.9999'")),
        ([trunk(numbers=[NUMBER], allowed_addresses=["1.1.1.1"])], [direct(**ON)],
         "put 127.0.0.1 (or its network) in allowed_addresses of ST_a"),
        ([trunk(numbers=[NUMBER], allowed_numbers=["+1"])], [direct(**ON)],
         f"put the caller {CALLER} in allowed_numbers of ST_a"),
        ([trunk(numbers=["+1800"])], [direct(**ON)],
         f"put the called number {NUMBER!r} in `numbers` of trunk ST_a"),
        ([*PLAIN, trunk("ST_b", numbers=[NUMBER])], [],
         ("keep one of ST_a and ST_b for this call: different numbers, or disjoint "
         "allowed_numbers")),
        (PLAIN, [direct(**ON), direct("SDR_b", **ON)],
         ("change or delete one of SDR_a and SDR_b; until then no call in their reach gets "
         "through")),
    ],
)  # fmt: skip
def test_what_to_change(
    trunks: list[api.SIPInboundTrunkInfo], rules: list[api.SIPDispatchRuleInfo], fix: str
) -> None:
    assert explain(trunks, rules, call()).fixes[0] == fix


def test_the_to_header_counts_and_not_the_request_uri() -> None:
    verdict = explain(PLAIN, [direct(**ON)], call(to="id-42", request_user=NUMBER))
    assert verdict.fixes[0] == (
        f"have the carrier put {NUMBER} in the To header: LiveKit reads no other"
    )


def test_every_refusal_comes_with_a_fix_and_every_verdict_fits_six_lines() -> None:
    for seed in range(300):
        one = case(seed)
        for dialled in one.calls:
            verdict = explain(one.trunks, one.rules, dialled)
            assert bool(verdict.fixes) != verdict.outcome.good, seed
            assert len(verdict_lines(verdict)) <= 6


@pytest.mark.parametrize(
    ("trunks", "rules", "fixes"),
    [
        ([trunk(numbers=["5559999"])], [direct(numbers=["5559999"], **ON)],
         [("put '+15559999', as called, in numbers of ST_a beside '5559999', or have the "
          "carrier send '5559999'"),
          "write '+15559999' instead of '5559999' in numbers of SDR_a"]),
        ([trunk(numbers=[NUMBER], allowed_addresses=["1.1.1.1"])], [direct(trunk_ids=["ST_b"])],
         ["put 127.0.0.1 (or its network) in allowed_addresses of ST_a",
          "add ST_a to trunk_ids of SDR_a, or create a rule for that trunk"]),
    ],
)  # fmt: skip
def test_what_stands_in_the_way_behind_the_trunk_is_said_too(
    trunks: list[api.SIPInboundTrunkInfo], rules: list[api.SIPDispatchRuleInfo], fixes: list[str]
) -> None:
    assert list(explain(trunks, rules, call()).fixes) == fixes
