"""Traps in inbound trunks."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from itertools import combinations

from sandbox.explain.addresses import dropped, kept
from sandbox.explain.numbers import normalize
from sandbox.explain.traps import Found, Setup

__all__ = [
    "any_network",
    "conflicting_trunks",
    "half_auth",
    "open_addresses",
    "spoofable_host",
    "trunk_number_format",
    "trunk_without_rule",
]


def half_auth(setup: Setup) -> Found:
    """A user without a password, or the other way round."""
    for trunk in setup.trunks:
        if bool(trunk.auth_username) != bool(trunk.auth_password):
            has, lacks = "auth_username", "auth_password"
            if trunk.auth_password:
                has, lacks = lacks, has
            yield (
                trunk.sip_trunk_id,
                f"has {has} without {lacks}: livekit-server asks nobody for a password",
                f"set {lacks}, or take {has} away",
            )


def open_addresses(setup: Setup) -> Found:
    """Entries of allowed_addresses that are dropped unsaid."""
    for trunk in setup.trunks:
        lost = dropped(trunk.allowed_addresses)
        if not lost:
            continue
        if kept(trunk.allowed_addresses):
            text = f"drops {lost} from allowed_addresses without a word"
        else:
            text = f"admits every address: {lost} is all of allowed_addresses, and is dropped"
        yield (
            trunk.sip_trunk_id,
            text,
            (
                "write plain addresses, CIDR networks or host names, one an entry: no *, no blank, "
                "no URI"
            ),
        )


def any_network(setup: Setup) -> Found:
    """allowed_addresses with all there are."""
    for trunk in setup.trunks:
        wide = [a for a in kept(trunk.allowed_addresses) if a in ("0.0.0.0/0", "::/0")]
        if wide:
            yield (
                trunk.sip_trunk_id,
                f"admits every address: allowed_addresses has {wide}",
                "name the carrier's networks",
            )


def spoofable_host(setup: Setup) -> Found:
    """allowed_addresses with a host name."""
    for trunk in setup.trunks:
        hosts = [
            a for a in kept(trunk.allowed_addresses) if a and not a[0].isdigit() and ":" not in a
        ]
        if hosts:
            yield (
                trunk.sip_trunk_id,
                (
                    f"trusts the From header: whoever writes the host {hosts[0]!r} there gets in "
                    "from any address (names are not resolved)"
                ),
                "write the carrier's IP addresses or networks",
            )


def trunk_number_format(setup: Setup) -> Found:
    """Numbers of a trunk in a spelling that no call has."""
    for trunk in setup.trunks:
        for name in ("numbers", "allowed_numbers"):
            odd = [n for n in getattr(trunk, name) if _unmatchable(n)]
            if odd:
                yield (
                    trunk.sip_trunk_id,
                    (
                        f"{name}={odd} will hardly match: LiveKit knows no patterns, no URIs, no "
                        "dots in a number"
                    ),
                    "write the number alone, E.164 with the +"
                    + ("; leave `numbers` empty to take every number" if name == "numbers" else ""),
                )


def _unmatchable(number: str) -> bool:
    plain = number.strip()
    if plain != number or not plain or ":" in plain or "@" in plain:
        return True
    digits = sum(letter.isdigit() for letter in plain)
    return digits >= 5 and any(letter in ".*x/_%" for letter in plain)


def trunk_without_rule(setup: Setup) -> Found:
    """A trunk that no rule is for."""
    if any(not rule.trunk_ids for rule in setup.rules):
        return
    for trunk in setup.trunks:
        if not any(trunk.sip_trunk_id in rule.trunk_ids for rule in setup.rules):
            yield (
                trunk.sip_trunk_id,
                "has no dispatch rule: its calls are met with silence (404 from 1.13.8 on)",
                f"create a rule with trunk_ids=['{trunk.sip_trunk_id}']",
            )


def conflicting_trunks(setup: Setup) -> Found:
    """Two trunks that take the same call."""
    for one, other in combinations(setup.trunks, 2):
        if bool(one.numbers) != bool(other.numbers):
            continue
        shared = {normalize(n) for n in one.numbers} & {normalize(n) for n in other.numbers}
        if one.numbers and not shared:
            continue
        callers = {normalize(n) for n in one.allowed_numbers}
        others = {normalize(n) for n in other.allowed_numbers}
        if callers and others and not callers & others:
            continue
        if _apart(kept(one.allowed_addresses), kept(other.allowed_addresses)):
            continue
        what = f"calls to {', '.join(sorted(shared))}" if shared else "calls to any number"
        both = callers & others or callers or others
        if both:
            what += f" from {', '.join(sorted(both))}"
        yield (
            one.sip_trunk_id,
            f"and {other.sip_trunk_id} both take {what}, which then get 503",
            "give them different numbers, or disjoint allowed_numbers on both",
        )


def _apart(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two lists of addresses have no source in common."""
    try:
        networks = [ip_network(entry, strict=False) for entry in one]
        others = [ip_network(entry, strict=False) for entry in other]
    except ValueError:  # a host name: the source says nothing
        return False
    return bool(networks and others) and not any(
        a.version == b.version and a.overlaps(b) for a in networks for b in others
    )
