"""Digest authentication seen from the side that asks for it (RFC 3261 section 22, RFC 7616)."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field

__all__ = ["Challenge", "parse_digest"]

_PAIR = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')
_HASHES = {"MD5": "md5", "SHA-256": "sha256"}


def parse_digest(value: str) -> dict[str, str]:
    """The parameters of a `Digest …` header value, names in lower case; `{}` if it is none."""
    scheme, _, rest = value.strip().partition(" ")
    if scheme.lower() != "digest":
        return {}
    return {
        m[1].lower(): m[2].replace('\\"', '"') if m[2] is not None else m[3]
        for m in _PAIR.finditer(rest)
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """A challenge that a line sends, and the check of the answer to it.

    Attributes:
        username: the user name that is let in.
        password: its password.
        realm: told to the caller.
        algorithm: `MD5` or `SHA-256`.
        qop: `auth`, or `""` for a challenge without qop (RFC 2069).
        proxy: challenge with 407 Proxy-Authenticate; False uses 401 WWW-Authenticate.
        nonce: of the challenge.
    """

    username: str
    password: str = field(repr=False)
    realm: str = "sandbox"
    algorithm: str = "MD5"
    qop: str = "auth"
    proxy: bool = False
    nonce: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def status(self) -> int:
        """407 or 401."""
        return 407 if self.proxy else 401

    @property
    def header(self) -> tuple[str, str]:
        """The header that challenges."""
        name = "Proxy-Authenticate" if self.proxy else "WWW-Authenticate"
        value = f'Digest realm="{self.realm}", nonce="{self.nonce}", algorithm={self.algorithm}'
        return name, value + (f', qop="{self.qop}"' if self.qop else "")

    @property
    def answer_header(self) -> str:
        """The name of the header that the answer is expected in."""
        return "Proxy-Authorization" if self.proxy else "Authorization"

    def accepts(self, method: str, value: str | None) -> bool:
        """Whether `value` of the answer's header is right for a request of `method`."""
        given = parse_digest(value or "")
        if given.get("username") != self.username or given.get("nonce") != self.nonce:
            return False

        def digest(text: str) -> str:
            return hashlib.new(_HASHES[self.algorithm], text.encode()).hexdigest()

        secret = digest(f"{self.username}:{self.realm}:{self.password}")
        request = digest(f"{method}:{given.get('uri', '')}")
        if self.qop:
            middle = ":".join(given.get(k, "") for k in ("nc", "cnonce", "qop"))
            expected = digest(f"{secret}:{self.nonce}:{middle}:{request}")
        else:
            expected = digest(f"{secret}:{self.nonce}:{request}")
        return hmac.compare_digest(expected, given.get("response", ""))
