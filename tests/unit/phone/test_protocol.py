"""The messages between client, switchboard and workers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox.phone import protocol
from sandbox.phone.link import header_list


def test_a_message_survives_json() -> None:
    dial = protocol.Dial(
        uri="sip:x", headers=[("X-A", "1"), ("X-A", "2")], codecs=["PCMU"], tone=440.0
    )
    assert protocol.decode(protocol.Dial, json.loads(json.dumps(protocol.encode(dial)))) == dial


def test_every_operation_has_a_message_that_can_be_encoded() -> None:
    for kind in {*protocol.LINE_REQUESTS.values(), *protocol.CALL_REQUESTS.values()}:
        assert issubclass(kind, protocol.Request)


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (protocol.Dial, [], "Dial: expected an object, got list"),
        (protocol.Dial, {}, "uri"),
        (protocol.Dial, {"uri": 1}, "Dial.uri: expected str, got int"),
        (protocol.Dial, {"uri": "x", "nope": 1, "also": 2}, "unknown field also, nope"),
        (protocol.Dial, {"uri": "x", "transport": "tls"}, "'tls' is none of 'udp', 'tcp'"),
        (protocol.Dial, {"uri": "x", "headers": "X"}, "Dial.headers: expected a list"),
        (protocol.Dial, {"uri": "x", "headers": [["X"]]}, r"headers\[0\]: expected a list of 2"),
        (protocol.Dial, {"uri": "x", "headers": [["X", 1]]}, r"headers\[0\]\[1\]: expected str"),
        (protocol.Dial, {"uri": "x", "codecs": [1]}, r"codecs\[0\]: expected str"),
        (protocol.Dial, {"uri": "x", "tone": "440"}, "Dial.tone: expected float, got str"),
        (protocol.Dial, {"uri": "x", "tone": True}, "Dial.tone: expected float, got bool"),
        (protocol.Dial, {"uri": "x", "sdp": 1}, "Dial.sdp: expected bool, got int"),
        (protocol.SendDtmf, {"digits": "1", "duration_ms": True}, "expected int, got bool"),
        (protocol.Script, {"action": "fly"}, "'fly' is none of"),
    ],
)
def test_a_bad_message_says_which_field_and_why(
    kind: type[protocol.Request], value: Any, words: str
) -> None:
    with pytest.raises(protocol.BadRequest, match=words):
        protocol.decode(kind, value)


def test_numbers_may_be_whole_and_options_null() -> None:
    dial = protocol.decode(protocol.Dial, {"uri": "x", "tone": 440, "codecs": None})
    assert (dial.tone, dial.codecs) == (440.0, None)
    assert protocol.decode(protocol.Respond, {"status": 180, "tone": 1}).tone == 1.0


def test_a_password_is_not_in_a_repr() -> None:
    assert "secret" not in repr(protocol.Dial(uri="x", user="u", password="secret"))


def test_headers_come_as_mapping_or_pairs() -> None:
    assert header_list(None) == []
    assert header_list({"A": "1"}) == [("A", "1")]
    assert header_list([("A", "1"), ("A", "2")]) == [("A", "1"), ("A", "2")]
