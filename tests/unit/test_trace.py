"""Ladders and timings are read off the SIP messages of the timeline."""

from __future__ import annotations

from sandbox.timeline import Event
from sandbox.trace.ladder import ladder_text, rungs
from sandbox.trace.timings import call_timings


def _sip(at: float, name: str, first: str, cseq: str = "1 INVITE", call: str = "c1") -> Event:
    raw = f"{first}\r\nCall-ID: x\r\nCSeq: {cseq}\r\n\r\n"
    return Event(source="phone", name=name, at=at, call=call, data={"raw": raw, "transport": "udp"})


_CALL = [
    _sip(10.0, "sip.sent", "INVITE sip:a@b SIP/2.0"),
    _sip(10.002, "sip.received", "SIP/2.0 100 Processing"),
    _sip(10.004, "sip.received", "SIP/2.0 180 Ringing"),
    _sip(10.1, "sip.received", "SIP/2.0 200 OK"),
    _sip(10.101, "sip.sent", "ACK sip:a@b SIP/2.0", "1 ACK"),
    Event(source="phone", name="rtp.first_received", at=10.2, call="c1"),
    _sip(11.0, "sip.sent", "BYE sip:a@b SIP/2.0", "2 BYE"),
    _sip(11.001, "sip.received", "SIP/2.0 200 OK", "2 BYE"),
    Event(source="phone", name="call.ended", at=11.002, call="c1"),
    _sip(10.5, "sip.sent", "INVITE sip:other@b SIP/2.0", call="c2"),
]


def test_a_ladder_has_a_rung_for_each_message_of_its_call() -> None:
    labels = [rung.label for rung in rungs(_CALL, "c1")]
    assert labels == [
        "INVITE",
        "100 Processing",
        "180 Ringing",
        "200 OK",
        "ACK",
        "BYE",
        "200 OK (BYE)",
    ]


def test_rungs_are_in_the_order_of_their_times() -> None:
    assert rungs(list(reversed(_CALL)), "c1")[0].label == "INVITE"


def test_the_text_shows_direction_and_seconds_since_the_first_message() -> None:
    lines = ladder_text(rungs(_CALL, "c1"))
    assert "INVITE" in lines[1]
    assert "▶" in lines[1]
    assert lines[1].strip().startswith("+0.000")
    assert "◀" in lines[2]
    assert "+1.001" in lines[-1]


def test_a_call_without_messages_says_so() -> None:
    assert ladder_text([]) == ["(no SIP message was exchanged)"]


def test_timings_count_from_the_invite() -> None:
    timings = call_timings(_CALL, "c1")
    assert timings.trying is not None
    assert round(timings.trying, 3) == 0.002
    assert timings.ringing is not None
    assert round(timings.ringing, 3) == 0.004
    assert timings.answered is not None
    assert round(timings.answered, 3) == 0.1
    assert timings.first_rtp_received is not None
    assert round(timings.first_rtp_received, 3) == 0.2
    assert timings.first_rtp_sent is None


def test_the_200_to_a_bye_is_no_answer() -> None:
    events = [event for event in _CALL if event.at != 10.1]
    assert call_timings(events, "c1").answered is None
