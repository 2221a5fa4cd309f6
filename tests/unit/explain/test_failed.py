"""The verdict on calls that failed in a test, from the events of the test."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from sandbox.explain import explain_failed_call
from sandbox.explain.failed import configuration
from sandbox.timeline import Event
from tests.unit.explain.parts import CALLER, NUMBER, direct, trunk

MAIN = trunk("ST_8kq", name="main", numbers=[NUMBER])
RULE = direct("SDR_2pd", "r1", trunk_ids=["ST_8kq"])


def _api(method: str, message: Any) -> Event:
    if not isinstance(message, dict):
        message = MessageToDict(message, preserving_proto_field_name=True)
    data = {"method": f"SIP/{method}", "http": 200, "message": message}
    return Event(source="api", name="api.answer", data=data)


def _sent(first: str = f"INVITE sip:{NUMBER}@lk SIP/2.0", extra: str = "") -> Event:
    raw = (
        f"{first}\r\nVia: SIP/2.0/UDP 127.0.0.1:4000;branch=z9hG4bKx\r\n"
        f"From: <sip:{CALLER}@127.0.0.1>;tag=t\r\nTo: <sip:{NUMBER}@lk>\r\nCall-ID: c1\r\n"
        f"CSeq: 1 INVITE\r\n{extra}\r\n"
    )
    return Event(source="phone", name="sip.sent", call="call-1", data={"raw": raw})


def _got(status: int, cseq: str = "1 INVITE") -> Event:
    raw = f"SIP/2.0 {status} X\r\nCall-ID: c1\r\nCSeq: {cseq}\r\n\r\n"
    return Event(source="phone", name="sip.received", call="call-1", data={"raw": raw})


def _bye() -> Event:
    raw = "BYE sip:x SIP/2.0\r\nCall-ID: c1\r\nCSeq: 2 BYE\r\n\r\n"
    return Event(source="phone", name="sip.received", call="call-1", data={"raw": raw})


def _joined(room: str = "r1") -> Event:
    data = {"room": {"name": room}, "participant": {"attributes": {"sip.callIDFull": "c1"}}}
    return Event(source="webhook", name="webhook.participant_joined", data=data)


SET_UP = [_api("CreateSIPInboundTrunk", MAIN), _api("CreateSIPDispatchRule", RULE)]


def test_silence_is_explained_from_what_the_api_answered() -> None:
    rule = direct("SDR_2pd", "r1", trunk_ids=["ST_8kq"], inbound_numbers=[NUMBER])
    lines = explain_failed_call([*SET_UP, _api("UpdateSIPDispatchRule", rule),
                                 _sent(), _got(100), _got(180)])  # fmt: skip
    assert lines[0] == f"call   {CALLER} -> {NUMBER}: 100, 180, then no final response"
    assert lines[1].startswith('trunk  ST_8kq ("main")      matched')
    assert lines[2].startswith("rule   SDR_2pd (direct:r1)  rejected  inbound_numbers=")
    assert lines[3].startswith("why    no rule matched")
    assert lines[4].startswith("fix    put the called number")
    assert len(lines) <= 6


@pytest.mark.parametrize(
    ("events", "part"),
    [
        ([_got(100), _got(180), _got(400)], "400 is the SDP"),
        ([_got(100), _got(180), _got(486)], "486 before an answer"),
        ([_got(100), _got(180)], "the rules let it in, so look at"),
        ([_got(100), _got(180), _got(503)], "livekit-server did not answer"),
        ([_got(180), _joined()], "nobody in room r1 published an audio track"),
        ([_got(180), _joined(), _got(486)], "486 after joining"),
    ],
)
def test_what_the_rules_do_not_account_for_is_said(events: list[Event], part: str) -> None:
    assert any(part in line for line in explain_failed_call([*SET_UP, _sent(), *events]))


def test_a_challenge_and_a_wrong_password() -> None:
    locked = trunk("ST_8kq", numbers=[NUMBER], auth_username="pbx", auth_password="right")
    set_up = [_api("CreateSIPInboundTrunk", locked), SET_UP[1]]
    lines = explain_failed_call([*set_up, _sent(), _got(100), _got(407)])
    assert any("wants user and password" in line for line in lines)
    proof = 'Proxy-Authorization: Digest username="pbx", realm="LiveKit", nonce="n"\r\n'
    again = [_sent(), _got(407), _sent(extra=proof), _got(401)]
    lines = explain_failed_call([*set_up, *again])
    assert any("the password is not that of trunk ST_8kq" in line for line in lines)


def test_a_wrong_pin() -> None:
    rule = direct("SDR_2pd", "r1", "1234", trunk_ids=["ST_8kq"])
    set_up = [SET_UP[0], _api("CreateSIPDispatchRule", rule)]
    lines = explain_failed_call([*set_up, _sent(), _got(200), _bye()])
    assert any("PIN that was entered" in line for line in lines)


@pytest.mark.parametrize(
    "events",
    [
        [],
        [_got(100), _got(180), _got(200), _joined()],
        [_got(180), _joined(), _got(487)],
        [_got(180), _got(487)],
        [_got(200)],
    ],
)
def test_calls_that_did_as_they_should_say_nothing(events: list[Event]) -> None:
    sent = [_sent()] if events else []
    assert explain_failed_call([*SET_UP, *sent, *events]) == []


def test_the_configuration_follows_the_api() -> None:
    events = [
        *SET_UP,
        _api("UpdateSIPInboundTrunk", trunk("ST_8kq", numbers=["+1"])),
        _api("CreateSIPInboundTrunk", trunk("ST_b")),
        _api("DeleteSIPTrunk", {"sip_trunk_id": "ST_b"}),
        _api("DeleteSIPDispatchRule", {"sip_dispatch_rule_id": "SDR_2pd"}),
        Event(source="api", name="api.answer", data={"method": "SIP/CreateSIPInboundTrunk"}),
    ]
    trunks, rules = configuration(events)
    assert [(t.sip_trunk_id, list(t.numbers)) for t in trunks] == [("ST_8kq", ["+1"])]
    assert rules == []
