"""Checks the digest of a captured INVITE against a trunk's password (RFC 2617, MD5, no qop)."""

from __future__ import annotations

import hashlib
import re

from sandbox.explain.call import Credentials

__all__ = ["accepts"]


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def accepts(credentials: Credentials, username: str, password: str) -> bool | None:
    """Whether a trunk with this user and password takes the credentials; None if that is open.

    A captured INVITE carries a digest instead of the password: the digest of the trunk's own
    password is worked out and compared.
    """
    if credentials.username != username:
        return False
    if credentials.password is not None:
        return credentials.password == password
    fields = {
        key.lower(): value for key, value in re.findall(r'(\w+)="?([^",]+)"?', credentials.digest)
    }
    if not {"realm", "nonce", "uri", "response"} <= fields.keys():
        return None
    secret = _md5(f"{username}:{fields['realm']}:{password}")
    request = _md5(f"INVITE:{fields['uri']}")
    if "qop" in fields:
        middle = (
            f"{fields['nonce']}:{fields.get('nc', '')}:{fields.get('cnonce', '')}:{fields['qop']}"
        )
    else:
        middle = fields["nonce"]
    response: str = fields["response"]
    return _md5(f"{secret}:{middle}:{request}") == response.lower()
