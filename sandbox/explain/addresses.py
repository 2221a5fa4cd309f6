"""How LiveKit reads `allowed_addresses`: what it drops unsaid, and what the rest admit."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

__all__ = ["admits", "dropped", "kept"]

_DROPPED = frozenset("\t\n\r ()*+,;")


def dropped(entries: Sequence[str]) -> list[str]:
    """The entries that livekit-server leaves out without a word (1.13.5).

    An entry with a blank, one of `( ) * + , ;` or `://` counts as none. When no entry is left,
    the trunk admits everyone.
    """
    return [entry for entry in entries if _DROPPED.intersection(entry) or "://" in entry]


def kept(entries: Sequence[str]) -> list[str]:
    """The entries that livekit-server compares."""
    out = set(dropped(entries))
    return [entry for entry in entries if entry not in out]


_PREFIX = re.compile(r".+/(?:0|[1-9][0-9]*)")


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    if not _PREFIX.fullmatch(entry):
        return None
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None


def _address(entry: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(entry)
    except ValueError:
        return None


def admits(entry: str, source: str, from_host: str) -> str | None:
    """Why an entry admits a call, in words, or None if it does not.

    Args:
        entry: one that livekit-server compares (see `kept`).
        source: the address that the INVITE came from.
        from_host: the host of its From header: an entry equal to it, letter by letter, admits
            the call wherever it comes from.

    Raises:
        ValueError: `source` is no address.
    """
    if entry == from_host:
        return f"{entry!r} is the host of the From header"
    address = ipaddress.ip_address(source)
    plain = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    # A mapped address equals the IPv4 address, but is in no IPv4 network (1.13.5).
    if _address(entry) in (address, plain or address):
        return f"{entry} is the source address"
    network = _network(entry)
    if network is not None and address.version == network.version and address in network:
        return f"{source} is in {entry}"
    return None
