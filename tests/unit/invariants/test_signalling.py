"""ack, bye-answered and retransmission, each broken and each kept."""

from __future__ import annotations

import pytest

from sandbox.timeline import Event
from tests.unit.invariants.made_up import broken, ended, good_call, phone, sip

GOOD = good_call()


@pytest.mark.parametrize("rule", ["ack", "bye-answered", "retransmission"])
def test_a_good_call_breaks_nothing(rule: str) -> None:
    assert broken(rule, GOOD) == []


def _without(events: list[Event], text: str, name: str = "") -> list[Event]:
    return [
        e for e in events
        if text not in str(e.data.get("raw", "")) or (name and e.name != name)
    ]  # fmt: skip


def test_a_2xx_without_its_ack() -> None:
    assert broken("ack", _without(GOOD, "ACK sip:")) == [
        "the 200 to the INVITE of call l1.1 got no ACK from the phone"
    ]


def test_the_ack_of_another_invite_is_none() -> None:
    events = [*GOOD[:4], sip(1.01, "ACK", "7 ACK"), *GOOD[5:]]
    assert len(broken("ack", events)) == 1


def test_an_answer_that_got_no_ack_from_the_service() -> None:
    events = [
        sip(0.0, "INVITE", out=False),
        sip(0.1, "SIP/2.0 200 OK", out=True),
        ended(9.0),
    ]
    assert broken("ack", events) == [
        "the 200 to the INVITE of call l1.1 got no ACK from the SIP service"
    ]


def test_a_call_that_ended_with_its_200_had_no_time_for_an_ack() -> None:
    events = [sip(0.0, "INVITE"), sip(1.0, "SIP/2.0 200 OK"), ended(1.1)]
    assert broken("ack", events) == []


def test_a_call_on_a_line_that_crashed_is_not_judged() -> None:
    crash = Event(source="phone", name="line.crashed", at=6, data={"line": "l1"})
    assert broken("ack", [*_without(GOOD, "ACK sip:"), crash]) == []


def test_a_bye_that_was_refused() -> None:
    events = [*GOOD[:-2], sip(5.01, "SIP/2.0 500 Oops", "2 BYE", branch="z9hG4bKb"), GOOD[-1]]
    assert broken("bye-answered", events) == ["the BYE of call l1.1 got 500 instead of 200"]


def test_a_bye_that_nobody_answered() -> None:
    events = [*GOOD[:-2], ended(37.0)]
    assert broken("bye-answered", events) == ["the BYE of call l1.1 got no answer"]


def test_two_byes_that_crossed() -> None:
    crossed = [
        sip(5.0, "BYE", "9 BYE", out=False, branch="z9hG4bKc"),
        sip(5.01, "SIP/2.0 481 Gone", "2 BYE", branch="z9hG4bKb"),
        sip(5.02, "SIP/2.0 200 OK", "9 BYE", out=True, branch="z9hG4bKc"),
    ]
    assert broken("bye-answered", [*GOOD[:-2], *crossed, GOOD[-1]]) == []


def test_a_200_that_comes_again_after_its_ack() -> None:
    again = sip(2.0, "SIP/2.0 200 OK", body="x")
    events = [*GOOD[:3], sip(1.0, "SIP/2.0 200 OK", body="x"), *GOOD[4:7], again, *GOOD[7:]]
    [what] = broken("retransmission", events)
    assert what == (
        "200 OK (INVITE) was sent again by the SIP service, 0.99 s after it had been answered"
    )


def test_a_200_that_comes_again_for_want_of_an_ack_is_explained() -> None:
    events = [
        *GOOD[:3],
        sip(1.0, "SIP/2.0 200 OK"),
        sip(1.5, "SIP/2.0 200 OK"),
        sip(1.51, "ACK", "1 ACK"),
        *GOOD[7:],
    ]
    assert broken("retransmission", events) == []


def test_an_invite_that_goes_out_again_after_its_100() -> None:
    events = [*GOOD[:2], sip(0.5, "INVITE", body=GOOD[0].data["raw"].partition("\r\n\r\n")[2])]
    assert len(broken("retransmission", [*events, *GOOD[2:]])) == 1


def test_an_invite_that_nobody_answered_goes_out_again() -> None:
    events = [sip(0.0, "INVITE"), sip(0.5, "INVITE"), sip(1.5, "INVITE"), phone(32, "call.ended")]
    assert broken("retransmission", events) == []


def test_a_repetition_that_crossed_its_answer_is_explained() -> None:
    events = [sip(0.0, "BYE", "2 BYE"), sip(0.49, "SIP/2.0 200 OK", "2 BYE"),
              sip(0.5, "BYE", "2 BYE"), phone(1, "call.ended")]  # fmt: skip
    assert broken("retransmission", events) == []
