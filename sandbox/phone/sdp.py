"""A session description, taken apart for reading (RFC 8866)."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Media", "Sdp", "parse_sdp"]

#: RFC 3551 section 6: the static payload types that telephones use.
_STATIC = {0: "PCMU", 3: "GSM", 4: "G723", 8: "PCMA", 9: "G722", 15: "G728", 18: "G729"}
_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")


@dataclass(frozen=True, slots=True)
class Media:
    """One m= section.

    Attributes:
        kind: `audio`, `video`, ….
        port: 0 for a stream that is refused.
        protocol: `RTP/AVP`, `RTP/SAVP`, ….
        formats: the encodings in their order, `telephone-event` among them; a payload type
            without a name as its number.
        address: of its c= line, or of the session's.
        direction: `sendrecv` where none is said (RFC 8866 section 6.7).
        crypto: the tags of its a=crypto lines (RFC 4568).
    """

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    address: str
    direction: str
    crypto: tuple[str, ...] = ()

    @property
    def codecs(self) -> frozenset[str]:
        """The encodings, in capitals, without those that carry no sound of their own."""
        return frozenset(name.upper() for name in self.formats) - {"TELEPHONE-EVENT", "CN"}


@dataclass(frozen=True, slots=True)
class Sdp:
    """A session description.

    Attributes:
        media: its sections, in order.
    """

    media: tuple[Media, ...]

    @property
    def on_hold(self) -> bool:
        """Whether it holds the call by the address 0.0.0.0 (RFC 3264 section 8.4)."""
        return any(media.address == "0.0.0.0" for media in self.media)

    def summary(self) -> str:
        """It in one line: `audio RTP/AVP PCMU telephone-event sendrecv`."""
        return "; ".join(
            f"{media.kind} {media.protocol} {' '.join(media.formats)} {media.direction}"
            if media.port
            else f"{media.kind} refused"
            for media in self.media
        )


def parse_sdp(text: str) -> Sdp | None:
    """Take an SDP body apart; None if there is no m= line in it."""
    sections = re.split(r"(?m)^(?=m=)", text.replace("\r\n", "\n"))
    session, *rest = sections
    media = tuple(found for section in rest if (found := _media(section, session)) is not None)
    return Sdp(media) if media else None


def _address(text: str) -> str:
    found = re.search(r"(?m)^c=IN IP[46] ([^\s/]+)", text)
    return found[1] if found else ""


def _direction(text: str) -> str:
    return next((name for name in _DIRECTIONS if re.search(rf"(?m)^a={name}\s*$", text)), "")


def _media(section: str, session: str) -> Media | None:
    head = re.match(r"m=(\S+) (\d+)(?:/\d+)? (\S+) ?(.*)", section)
    if head is None:
        return None
    names = dict(re.findall(r"(?m)^a=rtpmap:(\d+) ([^\s/]+)", section))
    formats = tuple(
        names.get(kind) or _STATIC.get(int(kind), kind) if kind.isdigit() else kind
        for kind in head[4].split()
    )
    return Media(
        kind=head[1],
        port=int(head[2]),
        protocol=head[3],
        formats=formats,
        address=_address(section) or _address(session),
        direction=_direction(section) or _direction(session) or "sendrecv",
        crypto=tuple(re.findall(r"(?m)^a=crypto:(\d+) ", section)),
    )
