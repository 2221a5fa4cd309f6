"""SIP messages as they were on the wire, taken apart for reading (RFC 3261 section 7)."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Header", "SipMessage"]

# RFC 3261 section 7.3.3 and the compact forms of later RFCs.
_COMPACT = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
}


def _canonical(name: str) -> str:
    name = name.strip().lower()
    return _COMPACT.get(name, name)


@dataclass(frozen=True, slots=True)
class Header:
    """One header line, unfolded; `name` as it was written."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SipMessage:
    """A SIP message, sent or received by the phone.

    Attributes:
        raw: all of it, as text.
        direction: `sent` or `received`, seen from the phone.
        at: when, in Unix seconds.
        transport: `udp` or `tcp`.
        peer: the other side, `address:port`.
        method: of a request; of a response, the method of its CSeq.
        status: of a response; 0 for a request.
        reason: the reason phrase of a response.
        request_uri: of a request.
        headers: all header lines, in order.
        body: what follows the empty line.
    """

    raw: str
    direction: str = ""
    at: float = 0.0
    transport: str = ""
    peer: str = ""
    method: str
    status: int
    reason: str
    request_uri: str
    headers: tuple[Header, ...] = field(repr=False)
    body: str = field(repr=False)

    @classmethod
    def parse(
        cls,
        raw: str,
        *,
        direction: str = "",
        at: float = 0.0,
        transport: str = "",
        peer: str = "",
    ) -> SipMessage:
        """Take a message apart. Header lines that are none are left out, as a server would.

        Raises:
            ValueError: the first line is neither a request line nor a status line.
        """
        head, _, body = raw.partition("\r\n\r\n")
        lines = head.split("\r\n")
        first = lines[0].split(" ", 2)
        status, reason, method, uri = 0, "", "", ""
        if first[0] == "SIP/2.0" and len(first) >= 2 and first[1].isdigit():
            status = int(first[1])
            reason = first[2] if len(first) == 3 else ""
        elif len(first) == 3 and first[2].strip() == "SIP/2.0":
            method, uri = first[0], first[1]
        else:
            raise ValueError(f"not a SIP message: it begins with {lines[0][:80]!r}")
        headers: list[Header] = []
        for line in lines[1:]:
            if line[:1] in (" ", "\t") and headers:
                last = headers[-1]
                headers[-1] = Header(last.name, f"{last.value} {line.strip()}".strip())
                continue
            name, colon, value = line.partition(":")
            if colon:
                headers.append(Header(name.strip(), value.strip()))
        if status:
            cseq = next((h.value for h in headers if _canonical(h.name) == "cseq"), "")
            method = cseq.split()[-1] if cseq else ""
        return cls(
            raw=raw,
            direction=direction,
            at=at,
            transport=transport,
            peer=peer,
            method=method,
            status=status,
            reason=reason,
            request_uri=uri,
            headers=tuple(headers),
            body=body,
        )

    @property
    def is_request(self) -> bool:
        """Whether it is a request."""
        return self.status == 0

    @property
    def start_line(self) -> str:
        """The request line or the status line."""
        return self.raw.partition("\r\n")[0]

    def header(self, name: str) -> str | None:
        """The value of the first header `name`, whatever its case or form; None if absent."""
        wanted = _canonical(name)
        return next((h.value for h in self.headers if _canonical(h.name) == wanted), None)

    def headers_all(self, name: str) -> list[str]:
        """The values of all headers `name`, in order, a header line each."""
        wanted = _canonical(name)
        return [h.value for h in self.headers if _canonical(h.name) == wanted]

    @property
    def call_id(self) -> str:
        """The Call-ID."""
        return self.header("Call-ID") or ""

    @property
    def cseq(self) -> int:
        """The number of the CSeq; 0 without one."""
        number = (self.header("CSeq") or "0").split()[0]
        return int(number) if number.isdigit() else 0

    @property
    def to_tag(self) -> str:
        """The tag of the To header; a request without one is outside a dialog."""
        return _tag(self.header("To") or "")

    @property
    def from_tag(self) -> str:
        """The tag of the From header."""
        return _tag(self.header("From") or "")

    def __str__(self) -> str:
        arrow = {"sent": "->", "received": "<-"}.get(self.direction, "--")
        line = self.start_line.removesuffix(" SIP/2.0").removeprefix("SIP/2.0 ")
        return f"{arrow} {line}" + (f" ({self.method})" if self.status else "")


def _tag(value: str) -> str:
    parameters = value.rpartition(">")[2] if ">" in value else value
    for part in parameters.split(";")[1:]:
        name, _, text = part.partition("=")
        if name.strip().lower() == "tag":
            return text.strip()
    return ""
