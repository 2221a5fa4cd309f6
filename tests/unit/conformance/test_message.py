"""SIP text of the raw user agent: reading, digests, lengths."""

from __future__ import annotations

from tests.conformance.message import (
    Message,
    digest_fields,
    digest_response,
    sdp_audio,
    with_content_length,
)

_INVITE = (
    "INVITE sip:1@a SIP/2.0\r\nv: SIP/2.0/UDP b:5;branch=z9hG4bKq;rport\r\n"
    'f: "T" <sip:2@b;transport=udp>;tag=t1\r\nTo: <sip:1@a>\r\ni: c@d\r\nCSeq:  7   INVITE\r\n'
    "X-Folded: a\r\n b\r\nContent-Length: 4\r\n\r\nbody"
)


def test_a_request_is_read() -> None:
    message = Message.parse(_INVITE)
    assert message.is_request
    assert (message.method, message.uri, message.status) == ("INVITE", "sip:1@a", 0)
    assert (message.cseq, message.call_id, message.branch) == ("7 INVITE", "c@d", "z9hG4bKq")
    assert (message.from_tag, message.to_tag) == ("t1", "")
    assert message.get("x-folded") == "a b"
    assert message.body == "body"
    assert message.text == _INVITE


def test_a_response_is_read() -> None:
    message = Message.parse("SIP/2.0 400 \r\nCSeq: 1 NOTIFY\r\nTo: <sip:a>;tag=x\r\n\r\n")
    assert not message.is_request
    assert (message.method, message.status, message.title) == ("NOTIFY", 400, "400 ")
    assert message.to_tag == "x"


def test_what_is_broken_is_read_as_far_as_it_goes() -> None:
    message = Message.parse("garbage")
    assert (message.start, message.headers, message.uri) == ("garbage", (), "")
    assert message.get("via") == ""


def test_the_audio_of_an_sdp() -> None:
    assert sdp_audio("c=IN IP4 1.2.3.4\r\nm=audio 24 RTP/AVP 0 101\r\n") == (
        "1.2.3.4",
        24,
        (0, 101),
    )
    assert sdp_audio("v=0\r\n") is None


def test_a_content_length_is_mended_only_where_it_was_right() -> None:
    longer = _INVITE.replace("body", "longer body")
    assert "Content-Length: 11" in with_content_length(longer, _INVITE)
    wrong = _INVITE.replace("Content-Length: 4", "Content-Length: 9")
    longer = wrong.replace("body", "longer body")
    assert with_content_length(longer, wrong) == longer


def test_the_digest_of_rfc_2617() -> None:
    fields = digest_fields(
        'Digest username="Mufasa", realm="testrealm@host.com", uri="/dir/index.html", qop=auth,'
        ' nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", nc=00000001, cnonce="0a4f113b"'
    )
    assert fields["username"] == "Mufasa"
    answer = digest_response(fields, "GET", "Circle Of Life")
    assert answer == "6629fae49393a05397450978507c4ef1"
