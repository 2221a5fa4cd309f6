"""Numbers and addresses compare as livekit-server 1.13.5 was seen to compare them."""

from __future__ import annotations

import pytest

from sandbox.explain.addresses import admits, dropped
from sandbox.explain.numbers import near, normalize, same_number, why_not_equal


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("+15559", "15559"),
        ("15559", "+15559"),
        ("+1 555-9", "+15559"),
        ("+15559", "+1-555-9"),
        ("1 (555) 9", "+15559"),
        ("(555) 9", "5559"),
        (" 15559", "15559"),
        ("+ 15559", "+15559"),
        ("15559 ", "+15559"),
        ("(1", "1"),
        ("+1(", "1"),
        ("-", "+"),
        ("*72", "*72"),
        ("#31", "#31"),
        ("", ""),
    ],
)
def test_a_trunk_takes_these_for_one_number(written: str, sent: str) -> None:
    assert same_number(written, sent)


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("sales", "SALES"),
        ("+sales", "sales"),
        ("+sales-2", "sales-2"),
        ("*", "123"),
        ("", "123"),
        ("  +15559", "+15559"),
        ("++15559", "+15559"),
        ("0015559", "+15559"),
        ("+1.555.9", "+15559"),
        ("*72", "+*72"),
        ("+15559", "+15559;ext=3"),
        ("+15559", "%2B15559"),
        ("tel:+15559", "+15559"),
        ("1+5", "15"),
        ("1\n", "1"),
        ("1\t5", "15"),
        ("[1]", "1"),
        ("٣٤", "+٣٤"),
        ("-", ""),
    ],
)
def test_a_trunk_does_not_take_these_for_one_number(written: str, sent: str) -> None:
    assert not same_number(written, sent)


def test_a_number_is_normalized_to_a_plus_and_digits() -> None:
    assert normalize("1 (555) 123-4567") == "+15551234567"
    assert normalize("sales") == "sales"


@pytest.mark.parametrize(
    ("sent", "written", "why"),
    [
        ("%2B15551234", "+15551234", "escaped"),
        ("+15551234;ext=3", "+15551234", "parameter"),
        ("Sales", "sales", "upper and lower"),
        ("15551234", "+15551234", "has the +"),
        ("+1.555.1234", "+15551234", "punctuation"),
        ("5551234567", "+15551234567", "prefix"),
    ],
)
def test_a_near_miss_is_found_and_named(sent: str, written: str, why: str) -> None:
    assert near(sent, ["+4912345678", written]) == written
    assert why in why_not_equal(sent, written)


def test_strangers_are_no_near_miss() -> None:
    assert near("+15551234567", ["+4912345678", "sales", "567"]) is None


@pytest.mark.parametrize(
    ("entry", "source", "host"),
    [
        ("127.0.0.1", "127.0.0.1", "h"),
        ("127.0.0.0/8", "127.0.0.1", "h"),
        ("127.0.0.9/8", "127.0.0.1", "h"),
        ("0.0.0.0/0", "10.1.1.1", "h"),
        ("h.example", "127.0.0.1", "h.example"),
        ("::1", "::1", "h"),
        ("0:0:0:0:0:0:0:1", "::1", "h"),
        ("127.0.0.1", "::ffff:127.0.0.1", "h"),
        ("::ffff:127.0.0.0/104", "::ffff:127.0.0.1", "h"),
        ("2001:DB8::1", "2001:db8::1", "h"),
        ("1.2.3.4/24", "9.9.9.9", "1.2.3.4/24"),
    ],
)
def test_an_entry_admits(entry: str, source: str, host: str) -> None:
    assert admits(entry, source, host)


@pytest.mark.parametrize(
    ("entry", "source", "host"),
    [
        ("127.0.0.2", "127.0.0.1", "h"),
        ("H.Example", "127.0.0.1", "h.example"),
        ("h.example", "127.0.0.1", "x.h.example"),
        ("sip:127.0.0.1", "127.0.0.1", "h"),
        ("127.0.0.1:5060", "127.0.0.1", "h"),
        ("::ffff:127.0.0.1", "127.0.0.1", "h"),
        ("127.0.0.0/8", "::ffff:127.0.0.1", "h"),
        ("127.0.0.1/33", "127.0.0.1", "h"),
        ("127.0.0.1/08", "127.0.0.1", "h"),
        ("127.0.0.1/255.0.0.0", "127.0.0.1", "h"),
        ("::/0", "127.0.0.1", "h"),
        ("0.0.0.0/0", "2001:db8::1", "h"),
        ("fe80::1%eth0", "fe80::1", "h"),
        ("127.1", "127.0.0.1", "h"),
        ("localhost", "127.0.0.1", "h"),
        ("", "127.0.0.1", "h"),
    ],
)
def test_an_entry_does_not_admit(entry: str, source: str, host: str) -> None:
    assert admits(entry, source, host) is None


def test_entries_with_strange_characters_are_dropped() -> None:
    odd = ["*", "10.0.0.*", "1.2.3.4;x", "1.2.3.4, 5.6.7.8", " 1.2.3.4", "+1.2.3.4", "a(b)",
           "sip://1.2.3.4", "1.2.3.4\n", "a\tb"]  # fmt: skip
    kept = ["1.2.3.4", "h_x", "h@x", "sip:1.2.3.4", "http:/x", "h'x", "é.example", ""]
    assert dropped([*odd, *kept]) == odd
