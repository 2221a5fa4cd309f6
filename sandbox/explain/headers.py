"""Which attributes the headers of an INVITE become."""

from __future__ import annotations

from collections.abc import Mapping

from livekit.protocol.sip import SIPHeaderOptions, SIPInboundTrunkInfo

from sandbox.explain.call import IncomingCall

__all__ = ["PROVIDER_HEADERS", "header_attributes"]

#: Mapped without configuration (livekit-sip 1.11.0), by the header's lower-case name.
PROVIDER_HEADERS: Mapping[str, str] = {
    "x-twilio-accountsid": "sip.twilio.accountSid",
    "x-twilio-callsid": "sip.twilio.callSid",
    "x-call_leg_id": "sip.telnyx.callLegID",
    "x-call_session_id": "sip.telnyx.callSessionID",
    "x-amzn-connectcontactid": "sip.amazon.contactId",
    "x-amzn-connectinitialcontactid": "sip.amazon.initialContactId",
    "x-amzn-sourceaccount": "sip.amazon.sourceAccount",
    "x-amzn-sourcearn": "sip.amazon.sourceArn",
    "x-amzn-targetarn": "sip.amazon.targetArn",
    "x-lk-test-id": "lktest.id",
}


def header_attributes(
    trunk: SIPInboundTrunkInfo | None, call: IncomingCall
) -> tuple[dict[str, str], dict[str, str]]:
    """The attributes that headers become, and what stands for those whose header is not known.

    A repeated header gives its last value to `include_headers` and its first to
    `headers_to_attributes`; what is mapped by name wins over what is included, and
    a known carrier's header over both.

    Returns:
        The attributes, and `{attribute: "{header X-Name}"}` for mapped headers that the call,
        as far as it is known, does not carry.
    """
    headers = [(name, _as_read(name, value)) for name, value in call.headers]
    found: dict[str, str] = {}
    pending: dict[str, str] = {}
    include = trunk.include_headers if trunk is not None else SIPHeaderOptions.SIP_NO_HEADERS
    if include != SIPHeaderOptions.SIP_NO_HEADERS:
        for name, value in headers:
            if include == SIPHeaderOptions.SIP_ALL_HEADERS or name.lower().startswith("x-"):
                found[f"sip.h.{name.lower()}"] = value
    candidates: dict[str, dict[str, str]] = {}
    for name, attribute in (trunk.headers_to_attributes if trunk is not None else {}).items():
        mapped = call.header(name)
        if mapped is not None:
            candidates.setdefault(attribute, {})[name] = _as_read(name, mapped)
        elif not call.complete:
            pending[attribute] = f"{{header {name}}}"
    for attribute, values in candidates.items():
        # The mapping has no order: of two headers for one attribute chance picks the one that wins.
        names = " or ".join(sorted(values))
        one = len(set(values.values())) == 1
        found[attribute] = next(iter(values.values())) if one else f"{{header {names}, by chance}}"
    for name, value in reversed(headers):
        known = PROVIDER_HEADERS.get(name.lower())
        if known is not None:
            found[known] = value
            pending.pop(known, None)
    return found, pending


def _as_read(name: str, value: str) -> str:
    """A header as the mapping sees it: livekit-sip has put its own tag into To by then."""
    if name.lower() == "to" and ";tag=" not in value.lower():
        return f"{value};tag={{SCL_…}}"
    return value
