"""The check of digest credentials, against the examples of the RFCs."""

from __future__ import annotations

from dataclasses import replace

from sandbox.phone.digest import Challenge, parse_digest


def test_the_example_of_rfc_2617_is_accepted() -> None:
    challenge = Challenge(
        username="Mufasa",
        password="Circle Of Life",
        realm="testrealm@host.com",
        nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093",
    )
    answer = (
        'Digest username="Mufasa", realm="testrealm@host.com", '
        'nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", uri="/dir/index.html", qop=auth, '
        'nc=00000001, cnonce="0a4f113b", response="6629fae49393a05397450978507c4ef1", '
        'opaque="5ccc069c403ebaf9f0171e9517f40e41"'
    )
    assert challenge.accepts("GET", answer)
    assert not challenge.accepts("POST", answer)


def test_another_password_user_or_nonce_is_not_accepted() -> None:
    answer = (
        'Digest username="Mufasa", realm="testrealm@host.com", nonce="n", uri="/", qop=auth, '
        'nc=00000001, cnonce="0a4f113b", response="6629fae49393a05397450978507c4ef1"'
    )
    right = Challenge(username="Mufasa", password="Circle Of Life", nonce="n")
    assert not replace(right, password="x").accepts("GET", answer)
    assert not replace(right, username="x").accepts("GET", answer)
    assert not replace(right, nonce="x").accepts("GET", answer)


def test_nothing_and_another_scheme_are_not_accepted() -> None:
    challenge = Challenge(username="u", password="p")
    assert not challenge.accepts("INVITE", None)
    assert not challenge.accepts("INVITE", "Basic dXNlcjpwYXNz")
    assert parse_digest("Basic abc") == {}


def test_the_challenge_names_realm_nonce_and_algorithm() -> None:
    name, value = Challenge(
        username="u", password="p", realm="pbx", nonce="n", qop="", proxy=True
    ).header
    assert name == "Proxy-Authenticate"
    assert value == 'Digest realm="pbx", nonce="n", algorithm=MD5'
