"""Takes numbers, credentials and chosen headers out of a trace, each for the same placeholder.

What is private is told by its key (`numbers`, `auth_password`, the user of a From URI, …). Its
value is then replaced wherever it stands, so that a number in a log line goes the way of the one in
the INVITE, and what belonged together still does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sandbox.phone.message import SipMessage

__all__ = ["Redactor"]

_NUMBER_KEYS = {
    "number", "numbers", "inbound_numbers", "allowed_numbers", "sip_number", "sip_call_to",
    "phone_number", "from", "to", "caller", "callee", "called", "transfer_to", "from_number",
    "to_number", "fromuser", "touser", "sip.phonenumber", "sip.trunkphonenumber", "uri",
    "request_uri",
}  # fmt: skip
_SECRET_KEYS = {
    "auth_password", "auth_username", "auth_pass", "auth_user", "password", "username", "pin",
    "token", "api_key", "api_secret", "secret",
}  # fmt: skip
_DIGIT_KEYS = {"digit", "digits", "code"}
_NUMBER = re.compile(r"\+?\d{4,15}(?!\d)")
_E164 = re.compile(r"\+\d{7,15}(?!\d)")
_JWT = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]+")
_CRYPTO = re.compile(r"(a=crypto:\d+ \S+ inline:)[^\s|]+")
_DIGEST = re.compile(r'\b(username|response|cnonce)="?([^",\s]+)"?', re.IGNORECASE)
_PARTIES = ("From", "To", "Contact", "P-Asserted-Identity", "Remote-Party-ID", "Diversion",
            "Refer-To", "Referred-By")  # fmt: skip
_USER = re.compile(r"sips?:([^@;>\s]+)@")
_DISPLAY = re.compile(r'^\s*"?([^"<]+?)"?\s*<')
_SHORTEST = 3


class Redactor:
    """The placeholders of one bundle."""

    def __init__(self, headers: Iterable[str] = ()) -> None:
        """Nothing is known yet; see `learn`.

        Args:
            headers: names of SIP headers, or of participant attributes, whose values go too.
        """
        self._headers = {name.lower() for name in headers}
        self._keys = self._headers | {f"sip.h.{name}" for name in self._headers}
        self._placeholders: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._pattern: re.Pattern[str] | None = None

    @property
    def count(self) -> int:
        """How many different values have a placeholder."""
        return len(set(self._placeholders.values()))

    # --- what is private ---------------------------------------------------------------------

    def learn(self, trace: Mapping[str, Any]) -> None:
        """Find what is private in a trace; call it before the rest."""
        for key, value in _walk(trace):
            self._learn_mapping(key, value)
        for key, value in _walk(trace):
            self._learn_value(key, value)
        for event in trace.get("events", ()):
            if "raw" in event.get("data", {}):
                self._learn_message(str(event["data"]["raw"]))

    def _learn_mapping(self, key: str, value: Any) -> None:
        """Which attribute a header goes into, or comes from."""
        if key == "headers_to_attributes" and isinstance(value, Mapping):
            self._keys |= {str(a).lower() for h, a in value.items() if h.lower() in self._headers}
        if key == "attributes_to_headers" and isinstance(value, Mapping):
            self._keys |= {str(a).lower() for a, h in value.items() if h.lower() in self._headers}

    def _learn_value(self, key: str, value: Any) -> None:
        if not isinstance(value, str) or not value:
            return
        name = key.lower()
        if name in _SECRET_KEYS:
            self._name("secret", value)
        elif name in self._keys:
            self._name("header", value)
        elif name in _NUMBER_KEYS:
            for number in _NUMBER.findall(value):
                self._name("number", number)

    def _learn_message(self, raw: str) -> None:
        try:
            message = SipMessage.parse(raw)
        except ValueError:
            return
        for name in _PARTIES:
            for value in message.headers_all(name):
                display = _DISPLAY.match(value)
                if display and not _NUMBER.search(display[1]):
                    self._name("name", display[1])
                for user in _USER.findall(value):
                    for number in _NUMBER.findall(user):
                        self._name("number", number)
        for name in ("Authorization", "Proxy-Authorization"):
            for value in message.headers_all(name):
                for _, secret in _DIGEST.findall(value):
                    self._name("secret", secret)
        for header in message.headers:
            if header.name.lower() in self._headers and header.value:
                self._name("header", header.value)

    def _name(self, kind: str, value: str) -> None:
        if len(value) < _SHORTEST or value in self._placeholders:
            return
        bare = value.removeprefix("+") if kind == "number" else value
        known = self._placeholders.get(bare) or self._placeholders.get(f"+{bare}")
        if known is None or kind != "number":
            self._counts[kind] = self._counts.get(kind, 0) + 1
            known = f"{kind}-{self._counts[kind]}"
        self._placeholders[value] = known
        if kind == "number":
            self._placeholders[bare] = self._placeholders[f"+{bare}"] = known
        self._pattern = None

    # --- and without it ----------------------------------------------------------------------

    def text(self, text: str) -> str:
        """A text with its placeholders."""
        if self._pattern is None and self._placeholders:
            words = sorted(self._placeholders, key=len, reverse=True)
            self._pattern = re.compile(
                "|".join(rf"(?<![0-9A-Za-z]){re.escape(word)}(?![0-9A-Za-z])" for word in words)
            )
        text = _JWT.sub("token-hidden", text)
        text = _CRYPTO.sub(r"\1key-hidden", text)
        if self._pattern is not None:
            text = self._pattern.sub(lambda found: self._placeholders[found[0]], text)
        # A number that no key told of.
        return _E164.sub(lambda found: self._late(found[0]), text)

    def _late(self, number: str) -> str:
        self._name("number", number)
        return self._placeholders[number]

    def message(self, raw: str) -> str:
        """A SIP message with its placeholders, and a Content-Length that is right again."""
        head, gap, body = raw.partition("\r\n\r\n")
        lines = []
        for line in head.split("\r\n"):
            name, colon, value = line.partition(":")
            if colon and name.strip().lower() in self._headers and value.strip():
                line = f"{name}: {self._placeholders.get(value.strip(), 'header-hidden')}"
            lines.append(self.text(line))
        body = self.text(body)
        length = len(body.encode(errors="surrogateescape"))
        head = re.sub(
            r"(?im)^(Content-Length|l)(\s*:\s*)\d+", rf"\g<1>\g<2>{length}", "\r\n".join(lines)
        )
        return head + gap + body

    def trace(self, trace: Mapping[str, Any]) -> dict[str, Any]:
        """The whole trace with its placeholders."""
        made: dict[str, Any] = self._value("", trace)
        return made

    def _value(self, key: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return self._mapping(value)
        if isinstance(value, list | tuple):
            return [self._value(key, one) for one in value]
        name = key.lower()
        if name in _DIGIT_KEYS and isinstance(value, str | int) and not isinstance(value, bool):
            return "•"
        if not isinstance(value, str):
            return value
        if name == "raw":
            return self.message(value)
        if name == "label" and value.startswith("DTMF "):
            return "DTMF •"
        if value and (name in self._keys or name in _SECRET_KEYS):
            return self._placeholders.get(value, "hidden")
        return self.text(value)

    def _mapping(self, value: Mapping[str, Any]) -> dict[str, Any]:
        made = {self.text(str(key)): self._value(str(key), one) for key, one in value.items()}
        for mapping in ("headers_to_attributes", "attributes_to_headers"):
            if isinstance(value.get(mapping), Mapping):
                made[mapping] = dict(value[mapping])
        if str(value.get("key", "")).lower() in self._keys:
            # A change of an attribute: `key`, `before`, `after`.
            for side in ("before", "after"):
                if value.get(side):
                    made[side] = self._placeholders.get(str(value[side]), "hidden")
        return made


def _walk(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every value with its key; an item of a list has the list's."""
    yield key, value
    if isinstance(value, Mapping):
        # What a header is mapped to is a name, and no value of it.
        mapping = key in ("headers_to_attributes", "attributes_to_headers")
        for name, one in value.items():
            yield from _walk(one, "" if mapping else str(name))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _walk(one, key)
