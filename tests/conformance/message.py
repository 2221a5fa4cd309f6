"""SIP messages as text: read leniently, changed in place, and digest authentication."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Message", "digest_fields", "digest_response", "sdp_audio", "with_content_length"]

_COMPACT = {
    "v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length",
    "c": "content-type",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Message:
    """One SIP message, split but not judged.

    Attributes:
        start: the request line or status line.
        headers: names as they were written, and values; folded lines are joined.
        body: what follows the empty line.
        text: all of it, as it was.
    """

    start: str
    headers: tuple[tuple[str, str], ...]
    body: str
    text: str = ""

    @classmethod
    def parse(cls, text: str) -> Message:
        """Split `text`; lines that are no headers are kept with an empty value."""
        head, _, body = text.partition("\r\n\r\n")
        lines = re.sub(r"\r\n[ \t]+", " ", head).split("\r\n")
        headers = []
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers.append((name.strip(), value.strip()))
        return cls(lines[0], tuple(headers), body, text)

    def get(self, name: str) -> str:
        """The first value of a header, or `""`."""
        name = name.lower()
        for key, value in self.headers:
            if _COMPACT.get(key.lower(), key.lower()) == name:
                return value
        return ""

    @property
    def is_request(self) -> bool:
        return not self.start.startswith("SIP/2.0 ")

    @property
    def method(self) -> str:
        """Of the request, or of the request that is answered."""
        return self.start.split(" ")[0] if self.is_request else self.cseq.partition(" ")[2].strip()

    @property
    def status(self) -> int:
        """Of a response; 0 for a request."""
        part = self.start.split(" ")
        return int(part[1]) if not self.is_request and part[1].isdigit() else 0

    @property
    def title(self) -> str:
        """The status and reason of a response, the method of a request."""
        return self.method if self.is_request else self.start.removeprefix("SIP/2.0 ")

    @property
    def cseq(self) -> str:
        return " ".join(self.get("cseq").split())

    @property
    def call_id(self) -> str:
        return self.get("call-id")

    @property
    def branch(self) -> str:
        return _parameter(self.get("via"), "branch")

    @property
    def from_tag(self) -> str:
        return _parameter(self.get("from"), "tag")

    @property
    def to_tag(self) -> str:
        return _parameter(self.get("to"), "tag")

    @property
    def uri(self) -> str:
        """The request URI; `""` for a response."""
        part = self.start.split(" ")
        return part[1] if self.is_request and len(part) > 1 else ""


def _parameter(value: str, name: str) -> str:
    found = re.search(rf'[;?&]\s*{name}\s*=\s*"?([^;,\s>"]+)', value)
    return found[1] if found else ""


def sdp_audio(body: str) -> tuple[str, int, tuple[int, ...]] | None:
    """Address, port and payload types of the audio of an SDP body; None without audio."""
    media = re.search(r"(?m)^m=audio (\d+) \S+ ([\d ]+)\r?$", body)
    if media is None:
        return None
    address = re.search(r"(?m)^c=IN IP[46] ([^\s/]+)", body)
    types = tuple(int(number) for number in media[2].split())
    return (address[1] if address else ""), int(media[1]), types


def with_content_length(text: str, recorded: str) -> str:
    """`text` with the Content-Length its body has now, where `recorded` was right about its own."""
    before = Message.parse(recorded)
    length = len(before.body.encode())
    if before.get("content-length") != str(length):
        return text
    head, gap, body = text.partition("\r\n\r\n")
    head = re.sub(r"(?im)^(content-length|l)(\s*:\s*)\d+", rf"\g<1>\g<2>{len(body.encode())}", head)
    return head + gap + body


def digest_fields(value: str) -> dict[str, str]:
    """The fields of a `Digest …` header value, without their quotes."""
    return {
        key.lower(): quoted or plain
        for key, quoted, plain in re.findall(r'([\w-]+)=(?:"([^"]*)"|([^\s,]+))', value)
    }


def digest_response(fields: Mapping[str, str], method: str, password: str) -> str:
    """The response that `fields` should have, by RFC 2617 with MD5, for `password`."""

    def md5(text: str) -> str:
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    ha1 = md5(f"{fields.get('username', '')}:{fields.get('realm', '')}:{password}")
    ha2 = md5(f"{method}:{fields.get('uri', '')}")
    nonce = fields.get("nonce", "")
    if fields.get("qop"):
        middle = f"{nonce}:{fields.get('nc', '')}:{fields.get('cnonce', '')}:{fields['qop']}"
    else:
        middle = nonce
    return md5(f"{ha1}:{middle}:{ha2}")
