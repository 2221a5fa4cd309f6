"""The SIP message parser."""

from __future__ import annotations

import pytest

from sandbox.phone.message import SipMessage

_INVITE = "\r\n".join(
    [
        "INVITE sip:+1@127.0.0.1:5060;transport=udp SIP/2.0",
        "v: SIP/2.0/UDP 127.0.0.1:5061;branch=z9hG4bK1",
        'f: "A;tag=no <x>" <sip:a@b;x=y>;tag=from-1',
        "To: <sip:b@c>",
        "i: call-1@host",
        "CSeq: 7 INVITE",
        "X-Twice: one",
        "x-twice:two",
        "X-Empty:",
        "Subject: folded",
        "  over two lines",
        "not a header",
        "Content-Type: application/sdp",
        "",
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1",
    ]
)


def test_a_request_is_taken_apart() -> None:
    message = SipMessage.parse(_INVITE, direction="sent", at=1.0, transport="udp", peer="p:1")
    assert message.is_request
    assert (message.method, message.status) == ("INVITE", 0)
    assert message.request_uri == "sip:+1@127.0.0.1:5060;transport=udp"
    assert message.start_line == _INVITE.split("\r\n", maxsplit=1)[0]
    assert message.cseq == 7
    assert message.call_id == "call-1@host"
    assert (message.from_tag, message.to_tag) == ("from-1", "")
    assert message.body.startswith("v=0")
    assert str(message) == "-> INVITE sip:+1@127.0.0.1:5060;transport=udp"


def test_headers_are_found_whatever_their_case_and_form() -> None:
    message = SipMessage.parse(_INVITE)
    assert (
        message.header("VIA") == message.header("v") == "SIP/2.0/UDP 127.0.0.1:5061;branch=z9hG4bK1"
    )
    assert message.header("call-id") == "call-1@host"
    assert message.headers_all("X-Twice") == ["one", "two"]
    assert message.header("X-Empty") == ""
    assert message.header("Subject") == "folded over two lines"
    assert message.header("X-None") is None
    assert message.headers_all("X-None") == []


def test_a_response_has_the_method_of_its_cseq() -> None:
    message = SipMessage.parse(
        "SIP/2.0 486 Busy right now\r\nCSeq: 3 INVITE\r\nTo: <sip:b>;tag=t;x=1\r\n\r\n"
    )
    assert not message.is_request
    assert (message.status, message.reason, message.method) == (486, "Busy right now", "INVITE")
    assert message.to_tag == "t"
    assert str(message) == "-- 486 Busy right now (INVITE)"


@pytest.mark.parametrize(("raw", "reason"), [("SIP/2.0 200\r\n\r\n", ""), ("SIP/2.0 200 \r\n", "")])
def test_a_reason_phrase_may_be_missing(raw: str, reason: str) -> None:
    message = SipMessage.parse(raw)
    assert (message.status, message.reason, message.method, message.cseq) == (200, reason, "", 0)


@pytest.mark.parametrize("raw", ["", "\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "INVITE sip:x\r\n\r\n"])
def test_what_is_no_sip_message_is_refused(raw: str) -> None:
    with pytest.raises(ValueError, match="not a SIP message"):
        SipMessage.parse(raw)
