"""answer-fits-offer, reachable, one-way-audio and third-party-rtp, each broken and each kept."""

from __future__ import annotations

import pytest

from tests.unit.invariants.made_up import broken, ended, good_call, phone, sdp, sip

CRYPTO = "a=crypto:{} AES_CM_128_HMAC_SHA1_80 inline:abc"


@pytest.mark.parametrize(
    "rule", ["answer-fits-offer", "reachable", "one-way-audio", "third-party-rtp"]
)
def test_a_good_call_breaks_nothing(rule: str) -> None:
    assert broken(rule, good_call(received_from="127.0.0.1:6000")) == []


@pytest.mark.parametrize(
    ("offer", "answer", "why"),
    [
        (sdp(types="RTP/AVP 0 8"), sdp(types="RTP/AVP 18"), "no codec of the offer"),
        (sdp(types="RTP/AVP 0"), sdp(types="RTP/SAVP 0"), "answered by m=audio RTP/SAVP"),
        (
            sdp("127.0.0.1", 4000, "RTP/AVP 0", "a=sendonly"),
            sdp("127.0.0.1", 6000, "RTP/AVP 0", "a=sendrecv"),
            "a=sendonly answered by a=sendrecv (section 6.1)",
        ),
        (
            sdp("127.0.0.1", 4000, "RTP/AVP 0", "m=video 4002 RTP/AVP 96"),
            sdp(),
            "2 m= lines offered, 1 answered",
        ),
        (
            sdp("127.0.0.1", 4000, "RTP/SAVP 0", CRYPTO.format(1)),
            sdp("127.0.0.1", 6000, "RTP/SAVP 0", CRYPTO.format(3)),
            "a tag that was not offered",
        ),
        (sdp(port=0), sdp(), "a stream that was refused in the offer is taken"),
    ],
)
def test_an_answer_that_does_not_fit(offer: str, answer: str, why: str) -> None:
    [what] = broken("answer-fits-offer", good_call(offer, answer))
    assert why in what


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        (sdp(types="RTP/AVP 0 8"), sdp(port=0, types="RTP/AVP 18")),
        (
            sdp("127.0.0.1", 4000, "RTP/AVP 96", "a=rtpmap:96 opus/48000/2"),
            sdp("127.0.0.1", 6000, "RTP/AVP 101", "a=rtpmap:101 OPUS/48000/2"),
        ),
        (
            sdp("127.0.0.1", 4000, "RTP/AVP 0", "a=sendonly"),
            sdp("127.0.0.1", 6000, "RTP/AVP 0", "a=recvonly"),
        ),
    ],
)
def test_an_answer_that_does(offer: str, answer: str) -> None:
    assert broken("answer-fits-offer", good_call(offer, answer)) == []


def test_the_answer_to_a_late_offer_is_in_the_ack() -> None:
    events = [
        sip(0.0, "INVITE"),
        sip(1.0, "SIP/2.0 200 OK", body=sdp(types="RTP/AVP 0")),
        sip(1.1, "ACK", "1 ACK", body=sdp(types="RTP/AVP 9")),
        ended(),
    ]
    assert len(broken("answer-fits-offer", events)) == 1


# --- reachable ----------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "203.0.113.9", "8.8.8.8"])
def test_a_contact_that_leads_nowhere(host: str) -> None:
    [what] = broken("reachable", good_call(contact=f"<sip:x@{host}:5060;transport=udp>"))
    assert what.startswith(f"the Contact of the SIP service on call l1.1 names {host}, which is")


def test_an_sdp_with_an_address_of_another_network() -> None:
    [what] = broken("reachable", good_call(answer=sdp("203.0.113.9", 6000, "RTP/AVP 0")))
    assert "the SDP of the SIP service on call l1.1 names 203.0.113.9" in what


@pytest.mark.parametrize(
    ("peer", "host", "wrong"),
    [
        ("198.18.0.1:5060", "127.0.0.1", True),
        ("9.9.9.9:5060", "10.0.0.5", True),
        ("10.0.0.5:5060", "10.0.0.5", False),
        ("10.0.0.5:5060", "pbx.example", False),
    ],
)
def test_what_can_be_reached_depends_on_the_network(peer: str, host: str, wrong: bool) -> None:
    answer = sip(1.0, "SIP/2.0 200 OK", contact=f"<sip:{host}>", peer=peer)
    assert bool(broken("reachable", [answer, ended()])) is wrong


def test_a_hold_by_address_is_no_wrong_address() -> None:
    held = good_call(answer=sdp("0.0.0.0", 6000, "RTP/AVP 0"))
    assert broken("reachable", held) == []


# --- RTP ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "received", "why"),
    [
        (200, 0, "the phone sent 200 RTP packets in 4.0 s, the SIP service none"),
        (0, 200, "the SIP service sent 200 RTP packets in 4.0 s, the phone none"),
    ],
)
def test_audio_one_way(sent: int, received: int, why: str) -> None:
    [what] = broken("one-way-audio", good_call(packets_sent=sent, packets_received=received))
    assert what == f"one-way audio on call l1.1: {why}"


def test_a_call_on_hold_may_be_one_way() -> None:
    offer = sdp("127.0.0.1", 4000, "RTP/AVP 0", "a=sendonly")
    assert broken("one-way-audio", good_call(offer, packets_received=0)) == []


def test_a_short_call_may_be_one_way() -> None:
    short = [phone(1.0, "call.answered"), ended(1.5, packets_sent=25, packets_received=0)]
    assert broken("one-way-audio", short) == []


def test_a_call_without_any_packet_is_not_one_way() -> None:
    assert broken("one-way-audio", good_call(packets_sent=0, packets_received=0)) == []


def test_rtp_from_a_third_address() -> None:
    [what] = broken("third-party-rtp", good_call(received_from="127.0.0.7:9999"))
    assert what == (
        "RTP of call l1.1 came from 127.0.0.7:9999, which no SDP of the SIP service named"
    )


def test_rtp_to_a_third_address() -> None:
    events = [*good_call(), phone(2.0, "media.started", remote="127.0.0.7:9999")]
    assert len(broken("third-party-rtp", events)) == 1
