"""The abstraction of volatile parts: what differs from run to run is made the same, no more."""

from __future__ import annotations

import pytest

from tests.conformance.volatile import Names, abstract, replace_all


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Via: SIP/2.0/UDP a;branch=z9hG4bK.x-1", "Via: SIP/2.0/UDP a;branch=z9hG4bKy2"),
        ("To: <sip:1@a>;tag=SCL_abcdefABCDEF", "To: <sip:1@a>;tag=SCL_000000111111"),
        ("From: <sip:1@a>;tag=duif1n4g", "From: <sip:1@a>;tag=8y7xfa7k"),
        ("sip.trunkID ST_avVthDbGnz5E", "sip.trunkID ST_skviB7mLxKKq"),
        ("rport=37466", "rport=5060"),
        ('Digest realm="r", nonce="1-a"', 'Digest realm="r", nonce="2-b"'),
        ("m=audio 24032 RTP/AVP 0", "m=audio 24356 RTP/AVP 0"),
        ("o=- 12281208352237830074 12281208352237830074 IN", "o=- 987654321 987654321 IN"),
        ("a=crypto:1 AES inline:abc+/=", "a=crypto:1 AES inline:xyz"),
        ("Call-ID: H2CDuTJSqcfyXAg1We3Qek4SCu7A", "Call-ID: cwHCs34HAr5Iz1Ur2w8NjVCR2gF"),
        ("sip_ada37e314e8deb5e", "sip_0123456789abcdef"),
        ("agent-AJ_utmzrdXukocx", "agent-AJ_ABCdef123456"),
    ],
)
def test_what_differs_from_run_to_run_is_made_the_same(one: str, other: str) -> None:
    assert abstract(one, {}) == abstract(other, {})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SIP/2.0 486 Rejected", "SIP/2.0 480 Rejected"),
        ("m=audio 0 RTP/AVP 0", "m=audio 24356 RTP/AVP 0"),
        ("m=audio 24356 RTP/AVP 0", "m=audio 24356 RTP/AVP 8"),
        ("o=- 1000 1002 IN IP4 127.0.0.1", "o=- 1000 1001 IN IP4 127.0.0.1"),
        ("o=- 2413069448531259622 2413069448531259626", "o=- 987654321 987654321"),
        ("tag=SCL_abcdefABCDEF", "tag=duif1n4g"),
        ("ST_avVthDbGnz5E", "SDR_avVthDbGnz5E"),
        ("sip_+15550001", "sip_+15550002"),
        ("sip:+15550001@127.0.0.1", "sip:+15550001@127.0.0.2"),
        ("Call-ID: short", "Call-ID: other"),
    ],
)
def test_what_says_something_stays(one: str, other: str) -> None:
    assert abstract(one, {}) != abstract(other, {})


def test_the_random_part_of_a_room_goes_the_rest_stays() -> None:
    labels = {"rec-in_nobody": "<room>"}
    assert abstract("rec-in_nobody_+15550001_PYDkoUUV3DfQ", labels) == "<room>_+15550001_<random>"
    assert abstract("rec-in_nobody_+15550001", labels) == "<room>_+15550001"


def test_the_longest_name_is_replaced_first() -> None:
    table = {"127.0.0.1": "<host>", "127.0.0.1:5060": "<sip>"}
    assert replace_all("127.0.0.1:5060 127.0.0.1", table) == "<sip> <host>"


def test_a_known_id_keeps_its_identity() -> None:
    names = Names()
    names.learn("SCL", "SCL_recorded0001", "SCL_live00000001")
    names.learn("SCL", "SCL_recorded0002", "SCL_live00000002")
    assert names.live("to SCL_recorded0002") == "to SCL_live00000002"
    assert names.recorded_view("SCL_recorded0001") == names.live_view("SCL_live00000001")
    assert names.recorded_view("SCL_recorded0001") != names.live_view("SCL_live00000002")
    assert names.live_view("SCL_live00000003") == "<SCL>"


def test_the_first_name_holds() -> None:
    names = Names()
    names.learn("tag", "a", "b")
    names.learn("tag", "a", "c")
    assert names.live("a") == "b"
    assert names.recorded("b") == "a"
    assert names.recorded("c") == "c"


def test_ids_are_paired_by_their_place() -> None:
    names = Names()
    names.learn_ids(
        {"items": [{"sip_trunk_id": "ST_recorded0001", "name": "ST_x"}]},
        {"items": [{"sip_trunk_id": "ST_live00000001", "name": "y"}], "more": 1},
    )
    assert names.live("ST_recorded0001") == "ST_live00000001"
    assert not names.knows("ST_x")


def test_alike_texts_stand_for_each_other() -> None:
    names = Names()
    names.alike("+111")
    names.alike("+222")
    assert names.recorded_view("<sip:+111@a>") == names.live_view("<sip:+222@a>")
    assert names.live_view("<sip:+333@a>") != names.live_view("<sip:+222@a>")
