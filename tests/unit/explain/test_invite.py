"""A captured INVITE is read as livekit-sip reads it."""

from __future__ import annotations

import hashlib

import pytest

from sandbox.errors import UsageError
from sandbox.explain import Credentials, IncomingCall
from sandbox.explain.digest import accepts


def _invite(*lines: str, uri: str = "sip:+15559@lk:5060") -> str:
    return "\r\n".join([f"INVITE {uri} SIP/2.0", *lines, "", "v=0"])


@pytest.mark.parametrize(
    ("line", "user", "host"),
    [
        ('From: "Zoë" <sip:+1555@pbx.example:5060>;tag=a', "+1555", "pbx.example"),
        ("f: <sip:bob@[::1]:5060;transport=udp>;tag=a", "bob", "::1"),
        ("From: sip:bob@pbx;tag=a", "bob", "pbx"),
        ("From: <sip:+1;phone-context=x@pbx>;tag=a", "+1;phone-context=x", "pbx"),
        ("From: <sip:%2B1555@pbx>;tag=a", "%2B1555", "pbx"),
        ("From: <sip:bob:secret@pbx?X=y>;tag=a", "bob", "pbx"),
        ("From: <sip:127.0.0.1>;tag=a", "", "127.0.0.1"),
        ("From: <tel:+1555>;tag=a", "", "+1555"),
    ],
)
def test_the_from_header(line: str, user: str, host: str) -> None:
    call = IncomingCall.from_invite(_invite(line, "To: <sip:+15559@lk>", "Call-ID: c@x"))
    assert (call.from_user, call.from_host, call.from_tag) == (user, host, "a")


def test_the_rest() -> None:
    text = "2026-01-01 12:00:00 received:\n\n" + _invite(
        "To: <sip:id-42@lk:5060;x=y>",
        "From: <sip:1@pbx>;tag=t",
        "i: abc@pbx",
        "X-Long: one",
        "  two",
        "X-Order: 1",
        "x-order: 2",
        "s: compact",
    )
    call = IncomingCall.from_invite(text, source="10.0.0.1")
    assert (call.to_user, call.to_host, call.source) == ("id-42", "lk", "10.0.0.1")
    assert (call.call_id, call.request_user, call.complete) == ("abc@pbx", "+15559", True)
    assert call.header("x-long") == "one two"
    assert call.header("X-ORDER") == "1"
    assert call.header("Subject") is None
    assert call.credentials is None


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "no INVITE"),
        ("SIP/2.0 200 OK\r\n\r\n", "no INVITE"),
        (_invite("From: <sip:1@x>"), "no To"),
        (_invite("To: <sip:1@x>"), "no From"),
    ],
)
def test_what_is_no_invite_is_refused(text: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        IncomingCall.from_invite(text)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


@pytest.mark.parametrize("qop", ["", "auth"])
def test_a_captured_digest_tells_the_right_password(qop: str) -> None:
    middle = f"n1:00000001:c1:{qop}" if qop else "n1"
    response = _md5(f"{_md5('pbx:LiveKit:right')}:{middle}:{_md5('INVITE:sip:1@lk')}")
    header = (
        f'Digest username="pbx", realm="LiveKit", nonce="n1", uri="sip:1@lk", '
        f'response="{response}"' + (f', qop={qop}, nc=00000001, cnonce="c1"' if qop else "")
    )
    call = IncomingCall.from_invite(
        _invite("From: <sip:1@x>;tag=t", "To: <sip:1@x>", f"Proxy-Authorization: {header}")
    )
    assert call.credentials is not None
    assert accepts(call.credentials, "pbx", "right") is True
    assert accepts(call.credentials, "pbx", "wrong") is False
    assert accepts(call.credentials, "other", "right") is False


def test_a_digest_without_its_parts_is_left_open() -> None:
    assert accepts(Credentials(username="pbx", digest="Digest nonce=1"), "pbx", "x") is None
