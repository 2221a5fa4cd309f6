"""The call that is explained: what LiveKit reads from an INVITE before it decides."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from sandbox.errors import UsageError

__all__ = ["Credentials", "IncomingCall"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a caller proves who he is with.

    Attributes:
        username: the user of the digest.
        password: the password, where it is known.
        digest: the Proxy-Authorization header of a captured INVITE, where that is known.
    """

    username: str = ""
    password: str | None = field(default=None, repr=False)
    digest: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingCall:
    """A call to LiveKit.

    Attributes:
        from_user: the user part of the From URI, letter by letter.
        to_user: the user part of the To URI; the Request-URI does not matter.
        from_host: the host of the From URI, without port.
        to_host: the host of the To URI.
        source: the IP address that the INVITE comes from, or `""` if it is not known.
        headers: the headers of the INVITE that are known, in order.
        pin: None while nothing has been entered, `""` for a bare `#`, else the digits before `#`.
        credentials: None if the caller has none.
        call_id: the SIP Call-ID, or `""`.
        from_tag: the tag of the From header, or `""`.
        request_user: the user part of the Request-URI, where it is known.
        complete: whether `headers` are all headers of the INVITE.
    """

    from_user: str = ""
    to_user: str = ""
    from_host: str = ""
    to_host: str = ""
    source: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    pin: str | None = None
    credentials: Credentials | None = None
    call_id: str = ""
    from_tag: str = ""
    request_user: str | None = None
    complete: bool = False

    def with_changes(self, **changes: object) -> IncomingCall:
        """A copy with other values."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def header(self, name: str) -> str | None:
        """The first header of that name, as it is written: LiveKit knows no compact forms here."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)

    @classmethod
    def from_invite(cls, text: str, *, source: str = "") -> IncomingCall:
        """Read a captured INVITE; text before it (a log's prefix lines) is skipped.

        Raises:
            UsageError: there is no INVITE, or it has no From or To.
        """
        lines = text.replace("\r\n", "\n").split("\n")
        start = next((i for i, line in enumerate(lines) if _REQUEST.match(line.strip())), None)
        if start is None:
            raise UsageError(
                "there is no INVITE in the text",
                seen=[lines[0][:100] if lines else ""],
                remedy="pass the whole SIP message, from `INVITE sip:… SIP/2.0` on",
            )
        request = _REQUEST.match(lines[start].strip())
        assert request is not None
        headers = _headers(lines[start + 1 :])
        values = {_CORE.get(name.lower(), name.lower()): value for name, value in reversed(headers)}
        for name in ("from", "to"):
            if name not in values:
                raise UsageError(f"the INVITE has no {name.capitalize()} header")
        sender, called = _Address.parse(values["from"]), _Address.parse(values["to"])
        proof = values.get("proxy-authorization")
        return cls(
            from_user=sender.user,
            from_host=sender.host,
            to_user=called.user,
            to_host=called.host,
            source=source,
            headers=tuple(headers),
            credentials=_proof(proof) if proof else None,
            call_id=values.get("call-id", ""),
            from_tag=sender.tag,
            request_user=_Address.parse(request["uri"]).user,
            complete=True,
        )


_REQUEST = re.compile(r"INVITE\s+(?P<uri>\S+)\s+SIP/2\.0$", re.IGNORECASE)
_CORE = {"f": "from", "t": "to", "i": "call-id", "v": "via", "m": "contact"}


def _headers(lines: list[str]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for line in lines:
        if not line.strip():
            break
        if line[0] in " \t" and found:
            name, value = found[-1]
            found[-1] = (name, f"{value} {line.strip()}".strip())
            continue
        name, colon, value = line.partition(":")
        if colon:
            found.append((name.strip(), value.strip()))
    return found


@dataclass(frozen=True, slots=True)
class _Address:
    """A From or To header, or a URI."""

    user: str
    host: str
    tag: str

    @classmethod
    def parse(cls, value: str) -> _Address:
        inside = re.search(r"<([^>]*)>(.*)", value)
        uri, rest = (inside[1], inside[2]) if inside else (value, "")
        if inside is None:
            # Without angle brackets, parameters belong to the header (RFC 3261 section 20.10).
            uri, semicolon, rest = _split_parameters(value)
            rest = semicolon + rest
        tag = re.search(r";\s*tag=([^;\s]+)", rest, re.IGNORECASE)
        if re.match(r"tel:", uri, re.IGNORECASE):
            return cls("", uri[4:].partition(";")[0], tag[1] if tag else "")
        bare = re.sub(r"^sips?:", "", uri.strip(), flags=re.IGNORECASE)
        user, at, host = bare.rpartition("@")
        user = user.partition(":")[0] if at else ""
        host = re.split(r"[;?]", host, maxsplit=1)[0]
        if host.startswith("["):
            host = host[1:].partition("]")[0]
        else:
            host = host.partition(":")[0]
        return cls(user, host, tag[1] if tag else "")


def _split_parameters(value: str) -> tuple[str, str, str]:
    at = value.rfind("@")
    cut = value.find(";", max(at, 0))
    return (value, "", "") if cut < 0 else (value[:cut], ";", value[cut + 1 :])


def _proof(header: str) -> Credentials:
    user = re.search(r'username="((?:[^"\\]|\\.)*)"', header, re.IGNORECASE)
    return Credentials(username=user[1] if user else "", digest=header)
