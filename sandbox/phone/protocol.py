"""What the client, the switchboard and its workers say to each other: typed messages as JSON."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

__all__ = [
    "CALL_REQUESTS",
    "LINE_REQUESTS",
    "TOKEN_VARIABLE",
    "BadRequest",
    "ChallengeCalls",
    "Dial",
    "DtmfMethod",
    "EndCall",
    "EndReason",
    "HeaderList",
    "Listen",
    "OpenLine",
    "PlaySamples",
    "PlayTone",
    "PlayWav",
    "Record",
    "ReferPolicy",
    "Reinvite",
    "Request",
    "Respond",
    "Script",
    "SendDtmf",
    "SendRequest",
    "Simple",
    "Srtp",
    "Transfer",
    "TransportName",
    "decode",
    "encode",
]

#: The environment variable with the bearer token, unless another is named.
TOKEN_VARIABLE = "SANDBOX_PHONE_TOKEN"

TransportName = Literal["udp", "tcp"]
DtmfMethod = Literal["rfc4733", "info"]
EndReason = Literal["local", "remote"]
Srtp = Literal["off", "optional", "mandatory"]
HeaderList = list[tuple[str, str]]


class BadRequest(Exception):
    """Raised when a message is not what its type says; the sender gets it as HTTP 400."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request to a line or a call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLine(Request):
    """Make a line.

    Attributes:
        number: the user part of its SIP URI.
        codecs: what it offers and accepts, in order of preference.
        keep_udp: whether a large request stays on UDP.
        srtp: SDES keys in its SDP (RFC 4568).
        capture: whether the packets and the audio of its calls are kept for a trace.
    """

    number: str
    codecs: list[str] = field(default_factory=lambda: ["PCMU", "PCMA", "G722"])
    keep_udp: bool = True
    srtp: Srtp = "off"
    capture: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Script(Request):
    """How a line treats incoming calls.

    Attributes:
        action: `manual` leaves each call to the test; `silent` does not even answer 100.
        after: seconds before the final response.
        ring: whether a 180 is sent first (for `early`: a 183 with SDP is).
        status: of the final response.
        reason: its reason phrase; the usual one if empty.
        headers: of the final response.
        body: of the final response, for a rejection.
        content_type: of the body.
        uri: the Contact of a redirection.
        tone: what is played from the first moment of media, in Hz; 0 is silence.
        early_tone: the same before the answer, for `early`.
    """

    action: Literal["manual", "answer", "reject", "ring", "silent", "redirect", "early"]
    after: float = 0.0
    ring: bool = True
    status: int = 200
    reason: str = ""
    headers: HeaderList = field(default_factory=list)
    body: str = ""
    content_type: str = ""
    uri: str = ""
    tone: float = 0.0
    early_tone: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferPolicy(Request):
    """How a line answers a REFER (RFC 3515).

    Attributes:
        status: of the response.
        dial: whether an accepted REFER is followed by a call to its target and by NOTIFYs.
    """

    status: int = 202
    dial: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengeCalls(Request):
    """Ask every caller for digest credentials; see `sandbox.phone.digest.Challenge`."""

    username: str
    password: str = field(repr=False)
    realm: str = "sandbox"
    algorithm: Literal["MD5", "SHA-256"] = "MD5"
    qop: str = "auth"
    proxy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial(Request):
    """Place a call.

    Attributes:
        uri: where the INVITE goes, and its Request-URI unless `request_uri` is given.
        caller: the user of the From URI; the line's number if empty.
        display_name: of the From header.
        from_host: the host of the From URI; the line's address if empty.
        headers: further headers of the INVITE.
        to: the To URI; the Request-URI if empty.
        request_uri: the Request-URI, where it is to differ from where the INVITE goes.
        transport: `udp` or `tcp`.
        user: of the digest credentials (RFC 8760, RFC 3261 section 22).
        password: of the digest credentials.
        realm: of the digest credentials; any realm if `*`.
        codecs: for this call and those after it; as the line was if None.
        tone: what is played from the first moment of media, in Hz; 0 is silence.
        tone_level: its level, in dBov.
        sdp: whether the INVITE carries an offer.
    """

    uri: str
    caller: str = ""
    display_name: str = ""
    from_host: str = ""
    headers: HeaderList = field(default_factory=list)
    to: str = ""
    request_uri: str = ""
    transport: TransportName = "udp"
    user: str = ""
    password: str = field(default="", repr=False)
    realm: str = "*"
    codecs: list[str] | None = None
    tone: float = 0.0
    tone_level: float = -12.0
    sdp: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Respond(Request):
    """Answer an incoming INVITE with a provisional or a final response."""

    status: int
    reason: str = ""
    headers: HeaderList = field(default_factory=list)
    body: str = ""
    content_type: str = ""
    tone: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndCall(Request):
    """End a call: CANCEL, BYE or a final response, as its state wants."""

    status: int = 0
    reason: str = ""
    headers: HeaderList = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reinvite(Request):
    """Send a re-INVITE (RFC 3261 section 14): plain, to hold, or to resume."""

    kind: Literal["plain", "hold", "unhold"] = "plain"
    headers: HeaderList = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer(Request):
    """Send a REFER; `replaces` names a call of the same line for an attended transfer."""

    uri: str = ""
    replaces: str = ""
    headers: HeaderList = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRequest(Request):
    """Send any request in the dialog: INFO, MESSAGE, OPTIONS, UPDATE."""

    method: str
    headers: HeaderList = field(default_factory=list)
    body: str = ""
    content_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendDtmf(Request):
    """Send digits, each `duration_ms` long with `gap_ms` of silence behind it."""

    digits: str
    method: DtmfMethod = "rfc4733"
    duration_ms: int = 160
    gap_ms: int = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayTone(Request):
    """Play a sine until told otherwise; 0 Hz is silence."""

    hz: float
    level_dbov: float = -12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayWav(Request):
    """Play a WAV file that the phone's process can read."""

    path: str
    loop: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaySamples(Request):
    """Play samples; the event `media.played` with their `id` tells their end.

    Attributes:
        id: a name for them.
        rate: samples a second.
        pcm: 16-bit little-endian mono PCM, in base64.
    """

    id: str
    rate: int
    pcm: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen(Request):
    """Tell the audio of both directions as `media.audio` events, the last minute first; or stop."""

    on: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(Request):
    """Begin to record both directions, or stop."""

    on: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Simple(Request):
    """A request without particulars."""


#: The operations on a line, by the last part of the URL.
LINE_REQUESTS: Mapping[str, type[Request]] = {
    "script": Script,
    "challenge": ChallengeCalls,
    "refer-policy": ReferPolicy,
    "dial": Dial,
}

#: The operations on a call, by the last part of the URL.
CALL_REQUESTS: Mapping[str, type[Request]] = {
    "respond": Respond,
    "end": EndCall,
    "reinvite": Reinvite,
    "transfer": Transfer,
    "request": SendRequest,
    "dtmf": SendDtmf,
    "tone": PlayTone,
    "wav": PlayWav,
    "samples": PlaySamples,
    "listen": Listen,
    "record": Record,
    "stats": Simple,
    "levels": Simple,
}

R = TypeVar("R")


def encode(message: Request) -> dict[str, Any]:
    """A message as JSON values."""
    return dataclasses.asdict(message)


def decode(kind: type[R], value: object) -> R:
    """A message from JSON values.

    Raises:
        BadRequest: `value` is not an object, a field is missing, unknown or of another type; the
            text names the field.
    """
    if not isinstance(value, Mapping):
        raise BadRequest(f"{kind.__name__}: expected an object, got {type(value).__name__}")
    hints = typing.get_type_hints(kind)
    names = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(map(str, value)) - names)
    if unknown:
        raise BadRequest(f"{kind.__name__}: unknown field {', '.join(unknown)}")
    fields = {
        str(name): _convert(f"{kind.__name__}.{name}", hints[str(name)], item)
        for name, item in value.items()
    }
    try:
        return kind(**fields)
    except TypeError as error:
        raise BadRequest(f"{kind.__name__}: {error}") from None


def _convert(where: str, hint: Any, value: Any) -> Any:
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if origin is Literal:
        if value in arguments:
            return value
        raise BadRequest(f"{where}: {value!r} is none of {', '.join(map(repr, arguments))}")
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        rest = [a for a in arguments if a is not type(None)]
        return _convert(where, rest[0], value)
    if origin is list:
        if not isinstance(value, list | tuple):
            raise BadRequest(f"{where}: expected a list, got {type(value).__name__}")
        return [_convert(f"{where}[{i}]", arguments[0], v) for i, v in enumerate(value)]
    if origin is tuple:
        if not isinstance(value, list | tuple) or len(value) != len(arguments):
            raise BadRequest(f"{where}: expected a list of {len(arguments)}, got {value!r}")
        return tuple(
            _convert(f"{where}[{i}]", a, v)
            for i, (a, v) in enumerate(zip(arguments, value, strict=True))
        )
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise BadRequest(f"{where}: expected {hint.__name__}, got {type(value).__name__}")
