"""The INVITE of a call that livekit places: how each field of the request and the trunk shapes it.

The headers are golden: what livekit-sip v1.11.0 wrote, with the scenario's own numbers in it.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from livekit import api
from livekit.protocol import sip

from sandbox import Call, Line, Sandbox, SipMessage
from tests.e2e.api.conftest import refused

TRANSPORT = api.SIPTransport
INVALID = (400, "invalid_argument")
BAD_NAME = (
    "invalid header name: header name bad header contains invalid characters: char 32 not allowed"
)


class Callee:
    """A line that refuses every call at once, and an outbound trunk to it."""

    def __init__(self, sandbox: Sandbox, line: Line) -> None:
        self.sandbox = sandbox
        self.line = line
        self.number = sandbox.number()

    async def invite(self, *, trunk: dict[str, Any] | None = None, **fields: Any) -> SipMessage:
        """The INVITE of a call with these fields of the request and of the trunk."""
        made = await self.sandbox.outbound_trunk(
            **{"address": self.line.address, "numbers": [self.number], **(trunk or {})}
        )
        return (await self.call(made, **fields)).invite

    async def call(self, trunk: Any, **fields: Any) -> Call:
        """The call, seen from the line."""
        await self.sandbox.call_out(trunk, fields.pop("to", self.line.number), **fields)
        return await self.line.incoming(within=3)

    @property
    def host(self) -> str:
        """The host of our From: the SIP service's own address."""
        return self.sandbox.endpoints.sip_host


@pytest.fixture
async def callee(sandbox: Sandbox) -> Callee:
    """See `Callee`."""
    line = await sandbox.phone.line()
    await line.rejects(486)
    return Callee(sandbox, line)


def sender(invite: SipMessage) -> str:
    """The From header without its tag."""
    value = invite.header("From")
    assert value is not None
    return value.rpartition(";tag=")[0]


# --- the plain form ---------------------------------------------------------------------------


async def test_the_headers_of_a_plain_invite(sandbox: Sandbox, callee: Callee) -> None:
    """The headers of an INVITE are these, in this order, and no others. (S-OUT-01)"""
    sandbox.phone.test = ""  # or X-Sandbox-Test would be one more
    trunk = await sandbox.outbound_trunk(
        callee.line.address, numbers=[callee.number], transport=TRANSPORT.SIP_TRANSPORT_UDP
    )
    out = await sandbox.call_out(trunk, callee.line.number)
    invite = (await callee.line.incoming(within=3)).invite
    assert {header.name for header in invite.headers} == {
        "Via", "CSeq", "Call-ID", "Content-Length", "To", "From", "Contact", "Content-Type",
        "Allow", "Max-Forwards",
    }  # fmt: skip
    assert re.fullmatch(r"[A-Za-z0-9]{20,32}", invite.call_id)
    assert invite.from_tag == out.call_id
    ends = sandbox.endpoints
    assert invite.header("Contact") == f"<sip:{ends.sip_address};transport=udp>"
    assert invite.header("Allow") == (
        "INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, MESSAGE, OPTIONS, INFO, SUBSCRIBE"
    )
    via = invite.header("Via")
    assert via is not None
    assert re.fullmatch(
        rf"SIP/2\.0/UDP {re.escape(ends.sip_address)};branch=z9hG4bK[^;]+;alias", via
    )


async def test_the_invite_carries_the_name_of_the_test(sandbox: Sandbox, callee: Callee) -> None:
    """A call that a test asks for is found by the test's name, as X-Sandbox-Test."""
    invite = await callee.invite()
    assert invite.header("X-Sandbox-Test") == sandbox.phone.test
    assert "test_the_invite_carries" in sandbox.phone.test


async def test_the_offer_of_a_plain_invite(callee: Callee) -> None:
    """The offer is G722, PCMU, PCMA and telephone-event, 20 ms, sendrecv. (S-OUT-01)"""
    invite = await callee.invite()
    body = re.sub(r"(?m)^o=.*$", "o=", invite.body.replace("\r", ""))
    body = re.sub(r"m=audio \d+", "m=audio *", body)
    assert body.splitlines() == [
        "v=0", "o=", "s=LiveKit", f"c=IN IP4 {callee.host}", "t=0 0",
        "m=audio * RTP/AVP 9 0 8 101",
        "a=rtpmap:9 G722/8000", "a=rtpmap:0 PCMU/8000", "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16", "a=ptime:20", "a=sendrecv",
    ]  # fmt: skip


async def test_the_call_id_is_known_before_the_call(sandbox: Sandbox, callee: Callee) -> None:
    """sip.callIDFull of an answered call is the Call-ID of its INVITE. (S-OUT-01)"""
    await callee.line.answers()
    room = sandbox.room()
    peer = await room.join()
    trunk = await sandbox.outbound_trunk(callee.line.address)
    out = await sandbox.call_out(trunk, callee.line.number, room=room, wait=True)
    call = await callee.line.incoming(within=2)
    await peer.attribute(out.identity, "sip.callIDFull", call.invite.call_id)
    ok = await call.response(200)
    await peer.attribute(out.identity, "sip.callTag", ok.to_tag)


# --- transport --------------------------------------------------------------------------------


async def test_auto_transport_is_udp_without_saying_so(callee: Callee) -> None:
    """SIP_TRANSPORT_AUTO: the INVITE goes by UDP, and no URI has a transport parameter.

    (S-OUT-24)
    """
    invite = await callee.invite()
    number, address = callee.line.number, callee.line.address
    assert invite.transport == "udp"
    assert invite.request_uri == f"sip:{number}@{address}"
    assert invite.header("To") == f"<sip:{number}@{address}>"
    assert sender(invite) == f'"{callee.number}" <sip:{callee.number}@{callee.host}>'
    contact = invite.header("Contact")
    assert contact is not None
    assert ";transport" not in contact


async def test_tcp_transport_is_in_every_uri(callee: Callee) -> None:
    """SIP_TRANSPORT_TCP: the INVITE comes by TCP, and Via and all URIs say so. (S-OUT-15)"""
    invite = await callee.invite(trunk={"transport": TRANSPORT.SIP_TRANSPORT_TCP})
    number, address = callee.line.number, callee.line.address
    assert invite.transport == "tcp"
    assert invite.request_uri == f"sip:{number}@{address};transport=tcp"
    assert invite.header("To") == f"<sip:{number}@{address};transport=tcp>"
    assert sender(invite) == f'"{callee.number}" <sip:{callee.number}@{callee.host};transport=tcp>'
    via, contact = invite.header("Via"), invite.header("Contact")
    assert via is not None
    assert via.startswith("SIP/2.0/TCP ")
    assert contact is not None
    assert contact.endswith(";transport=tcp>")


# --- who calls --------------------------------------------------------------------------------


async def test_without_a_display_name_the_number_is_the_name(callee: Callee) -> None:
    """display_name unset: the From shows the number; participant_name is not used. (S-OUT-15)"""
    invite = await callee.invite(participant_name="Not this")
    assert sender(invite) == f'"{callee.number}" <sip:{callee.number}@{callee.host}>'


@pytest.mark.parametrize(
    ("display_name", "shown"),
    [("", ""), ("Bob", '"Bob" '), ("Zo\u00eb", '"Zo\u00eb" '), ("comma, Inc.", '"comma, Inc." ')],
)
async def test_the_display_name_is_quoted(callee: Callee, display_name: str, shown: str) -> None:
    """display_name: in quotes, whatever script it is in; an empty one shows none. (S-OUT-15)"""
    invite = await callee.invite(display_name=display_name)
    assert sender(invite) == f"{shown}<sip:{callee.number}@{callee.host}>"


@pytest.mark.parametrize("display_name", ['Bob "x"', "back\\slash"])
async def test_a_display_name_that_would_end_its_quotes_is_refused(
    sandbox: Sandbox, callee: Callee, display_name: str
) -> None:
    """A display name with a quote or a backslash is refused. (S-OUT-15, S-API-16)"""
    trunk = await sandbox.outbound_trunk(callee.line.address)
    await refused(
        sandbox.call_out(trunk, callee.line.number, display_name=display_name),
        *INVALID,
        "DisplayName must be a valid quoted string: invalid syntax",
    )


async def test_the_longest_display_name(callee: Callee) -> None:
    """display_name may be 128 characters long. (S-API-16)"""
    invite = await callee.invite(display_name="x" * 128)
    assert sender(invite).startswith(f'"{"x" * 128}" <')


async def test_sip_number_is_the_caller_whether_the_trunk_has_it_or_not(callee: Callee) -> None:
    """sip_number is the From user as it is given; it need not be one of the trunk's. (S-OUT-15)"""
    invite = await callee.invite(sip_number="anything")
    assert sender(invite) == f'"anything" <sip:anything@{callee.host}>'


async def test_one_of_the_trunks_numbers_is_the_caller(sandbox: Sandbox, callee: Callee) -> None:
    """A trunk with several numbers calls from any of them. (S-OUT-15)"""
    numbers = [sandbox.number(), sandbox.number()]
    invite = await callee.invite(trunk={"numbers": numbers})
    assert sender(invite) in {f'"{n}" <sip:{n}@{callee.host}>' for n in numbers}


async def test_a_star_is_a_number_like_any_other(callee: Callee) -> None:
    """A trunk with the number `*` and a request without sip_number calls from `*`. (S-OUT-15)"""
    invite = await callee.invite(trunk={"numbers": ["*"]})
    assert sender(invite) == f'"*" <sip:*@{callee.host}>'


async def test_from_host_is_the_host_of_the_caller(callee: Callee) -> None:
    """from_host of the trunk is the host of the From URI, and of nothing else. (S-OUT-15)"""
    invite = await callee.invite(trunk={"from_host": "pbx.example"})
    assert sender(invite) == f'"{callee.number}" <sip:{callee.number}@pbx.example>'
    contact = invite.header("Contact")
    assert contact is not None
    assert "pbx.example" not in contact


# --- who is called ----------------------------------------------------------------------------


async def test_a_raw_request_uri_replaces_the_trunks_address(
    sandbox: Sandbox, callee: Callee
) -> None:
    """sip_request_uri.raw is where the INVITE goes; To is still sip_call_to at the trunk.

    (S-OUT-15)
    """
    trunk = await sandbox.outbound_trunk("192.0.2.1:5060", numbers=[callee.number])
    raw = f"sip:desk@{callee.line.address};user=phone"
    call = await callee.call(trunk, to="+1555", sip_request_uri=sip.SIPRequestDest(raw=raw))
    assert call.invite.request_uri == raw
    assert call.invite.header("To") == "<sip:+1555@192.0.2.1:5060>"


@pytest.mark.parametrize("key", ["host", "ip"])
async def test_a_request_uri_can_be_given_in_parts(
    sandbox: Sandbox, callee: Callee, key: str
) -> None:
    """sip_request_uri.values: user, host or ip, port and transport make the URI. (S-OUT-15)"""
    trunk = await sandbox.outbound_trunk("192.0.2.1:5060", numbers=[callee.number])
    values = {
        "user": "desk",
        key: callee.line.host,
        "port": callee.line.port,
        "transport": "SIP_TRANSPORT_TCP",
    }
    uri = ParseDict({"values": values}, sip.SIPRequestDest())
    call = await callee.call(trunk, to="+1555", sip_request_uri=uri)
    assert call.invite.request_uri == f"sip:desk@{callee.line.address};transport=tcp"
    assert call.invite.transport == "tcp"
    assert call.invite.header("To") == "<sip:+1555@192.0.2.1:5060>"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ({"raw": "not a uri"}, "invalid request URI: invalid request URI"),
        ({"values": {"host": "h"}}, "invalid request URI: username or number must be set"),
        ({"values": {"user": "u"}}, "invalid request URI: host or ip must be set"),
        ({"values": {"user": "u", "host": "h:1"}},
         "invalid request URI: host or ip must not contain port"),
        ({}, "invalid request URI: invalid request URI type"),
    ],
)  # fmt: skip
async def test_an_impossible_request_uri_is_refused(
    sandbox: Sandbox, callee: Callee, uri: dict[str, Any], message: str
) -> None:
    """A Request-URI without a user or a host, or with the port in it, is refused. (S-OUT-15)"""
    trunk = await sandbox.outbound_trunk(callee.line.address)
    request = ParseDict(uri, sip.SIPRequestDest())
    await refused(
        sandbox.call_out(trunk, callee.line.number, sip_request_uri=request),
        *INVALID,
        f"twirp error unknown: {message}",
    )


async def test_two_transports_are_refused(sandbox: Sandbox, callee: Callee) -> None:
    """A transport in sip_request_uri.values that is not the trunk's is refused. (S-OUT-15)"""
    trunk = await sandbox.outbound_trunk(callee.line.address, transport=TRANSPORT.SIP_TRANSPORT_UDP)
    values = {"user": "u", "host": callee.line.host, "transport": "SIP_TRANSPORT_TCP"}
    uri = ParseDict({"values": values}, sip.SIPRequestDest())
    await refused(
        sandbox.call_out(trunk, callee.line.number, sip_request_uri=uri),
        *INVALID,
        "twirp error unknown: invalid request URI: different transports specified: "
        "SIP_TRANSPORT_UDP vs SIP_TRANSPORT_TCP",
    )


async def test_a_raw_from_header_replaces_the_whole_from(callee: Callee) -> None:
    """sip_from_header.raw: user and host of the From; the number is in the attributes alone.

    The display name is sip_from_header.display_name, and display_name does nothing. (S-OUT-15)
    """
    header = sip.SIPNamedDest(display_name="Alice", raw="sip:alice@pbx.example")
    invite = await callee.invite(sip_from_header=header, display_name="Not this")
    assert sender(invite) == '"Alice" <sip:alice@pbx.example>'
    plain = await callee.invite(sip_from_header=sip.SIPNamedDest(raw="<sip:alice@pbx.example>"))
    assert sender(plain) == "<sip:alice@pbx.example>"


@pytest.mark.parametrize("key", ["host", "ip"])
async def test_a_from_header_can_be_given_in_parts(callee: Callee, key: str) -> None:
    """sip_from_header.values: user, host or ip, port and transport make the From. (S-OUT-15)"""
    values = {"user": "alice", key: "192.0.2.9", "port": 5070, "transport": "SIP_TRANSPORT_TCP"}
    header = ParseDict({"display_name": "Alice", "values": values}, sip.SIPNamedDest())
    invite = await callee.invite(sip_from_header=header)
    assert sender(invite) == '"Alice" <sip:alice@192.0.2.9:5070;transport=tcp>'
    assert invite.transport == "udp"


@pytest.mark.parametrize(
    "to",
    [
        {"display_name": "Bob", "raw": "sip:bob@pbx.example"},
        {"values": {"user": "bob", "host": "pbx.example", "port": 5060,
                    "transport": "SIP_TRANSPORT_UDP"}},
        {"values": {"user": "bob", "ip": "192.0.2.9"}},
    ],
)  # fmt: skip
async def test_sip_to_header_cannot_be_used(
    sandbox: Sandbox, callee: Callee, to: dict[str, Any]
) -> None:
    """sip_to_header is refused in every form, because sip_call_to must be given. (S-OUT-15)"""
    trunk = await sandbox.outbound_trunk(callee.line.address)
    header = ParseDict(to, sip.SIPNamedDest())
    await refused(
        sandbox.call_out(trunk, callee.line.number, sip_to_header=header),
        *INVALID,
        "twirp error unknown: invalid To header: cannot use both CallTo and SipToHeader",
    )


async def test_to_user_override_is_not_there_yet(callee: Callee) -> None:
    """to_user_override does nothing: livekit-server v1.13.5 does not know the field.

    It is accepted and not passed on; To stays sip_call_to. (S-HDR-17)
    """
    invite = await callee.invite(to_user_override="bob")
    number, address = callee.line.number, callee.line.address
    assert invite.header("To") == f"<sip:{number}@{address}>"
    assert invite.request_uri == f"sip:{number}@{address}"


async def test_a_tel_uri_is_taken_for_a_name(callee: Callee) -> None:
    """sip_call_to `tel:+1555` is not refused, and becomes the user `tel:+1555`. (S-API-16)"""
    invite = await callee.invite(to="tel:+1555")
    assert invite.request_uri == f"sip:tel:+1555@{callee.line.address}"


# --- headers ----------------------------------------------------------------------------------


async def test_headers_may_say_who_the_user_agent_is(sandbox: Sandbox, callee: Callee) -> None:
    """Request and trunk headers are on the INVITE, sorted by name; User-Agent may be one.

    (S-HDR-12)
    """
    sandbox.phone.test = ""  # or X-Sandbox-Test would be one more
    invite = await callee.invite(
        trunk={"headers": {"X-Trunk": "t", "X-Both": "trunk"}},
        headers={"X-Req": "r", "X-Both": "request", "User-Agent": "mine"},
    )
    ours = [(h.name, h.value) for h in invite.headers if h.name.startswith(("X-", "User"))]
    assert ours == [
        ("User-Agent", "mine"),
        ("X-Both", "request"),
        ("X-Req", "r"),
        ("X-Trunk", "t"),
    ]


async def test_a_to_among_the_headers_makes_two_of_them(callee: Callee) -> None:
    """headers={"To": …} is accepted, and the INVITE has two To headers.

    A hazard: which one counts is up to the callee. (S-HDR-17)
    """
    invite = await callee.invite(headers={"To": "<sip:other@pbx.example>"})
    number, address = callee.line.number, callee.line.address
    assert invite.headers_all("To") == [f"<sip:{number}@{address}>", "<sip:other@pbx.example>"]


async def test_mapped_attributes_are_not_on_the_invite(callee: Callee) -> None:
    """attributes_to_headers is for BYE and REFER: the INVITE has none of them. (S-OUT-15)"""
    invite = await callee.invite(
        trunk={"attributes_to_headers": {"order": "X-Order"}},
        participant_attributes={"order": "42"},
    )
    assert invite.header("X-Order") is None


# --- the inline trunk -------------------------------------------------------------------------


async def test_an_inline_trunk_places_the_call(sandbox: Sandbox, callee: Callee) -> None:
    """`trunk` in the request: its hostname, transport and from_host make the INVITE.

    The participant has no sip.trunkID then. (S-API-17)
    """
    config = api.SIPOutboundConfig(
        hostname=callee.line.address,
        transport=TRANSPORT.SIP_TRANSPORT_TCP,
        from_host="pbx.example",
        destination_country="DE",
    )
    room = sandbox.room()
    await callee.line.rings()  # who is refused before the room has noticed them was never there
    call = await callee.call(config, room=room, sip_number="+1777")
    invite = call.invite
    number, address = callee.line.number, callee.line.address
    assert invite.request_uri == f"sip:{number}@{address};transport=tcp"
    assert sender(invite) == '"+1777" <sip:+1777@pbx.example;transport=tcp>'
    participant = await room.sip_participant()
    assert participant.attributes.get("sip.trunkID", "") == ""
    assert participant.attributes["sip.trunkPhoneNumber"] == "+1777"


async def test_an_inline_trunk_answers_a_challenge(sandbox: Sandbox) -> None:
    """auth_username and auth_password of an inline trunk answer a challenge. (S-API-17)"""
    line = await sandbox.phone.line()
    await line.challenges("lk", "secret")
    config = api.SIPOutboundConfig(
        hostname=line.address, auth_username="lk", auth_password="secret"
    )
    await sandbox.call_out(config, line.number, sip_number="+1777", wait=True)
    call = await line.incoming(within=2)
    await call.answered(within=2)


async def test_an_inline_trunk_maps_headers_and_attributes(sandbox: Sandbox) -> None:
    """headers_to_attributes and attributes_to_headers of an inline trunk work as a trunk's.

    (S-API-17)
    """
    line = await sandbox.phone.line()
    await line.answers(headers={"X-Agent": "smith"})
    config = api.SIPOutboundConfig(
        hostname=line.address,
        headers_to_attributes={"X-Agent": "callee.agent"},
        attributes_to_headers={"order": "X-Order"},
    )
    room = sandbox.room()
    peer = await room.join()
    out = await sandbox.call_out(
        config,
        line.number,
        room=room,
        sip_number="+1777",
        participant_attributes={"order": "42"},
        wait=True,
    )
    call = await line.incoming(within=2)
    await peer.attribute(out.identity, "callee.agent", "smith")
    await room.remove(out.identity)
    bye = await call.request("BYE", within=2)
    assert bye.header("X-Order") == "42"
    assert bye.header("User-Agent") == "LiveKit"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "no outbound hostname specified"),
        ({"hostname": "sip:pbx"}, "trunk hostname should be a hostname or IP, not SIP URI"),
        ({"hostname": "pbx;transport=tcp"},
         "trunk hostname should not contain transport parameter"),
        ({"hostname": "pbx", "from_host": "a@b"},
         "from_host should be a hostname or IP, not SIP URI"),
        ({"hostname": "pbx", "attributes_to_headers": {"a": "bad header"}},
         BAD_NAME),
        ({"hostname": "pbx", "headers_to_attributes": {"bad header": "a"}},
         BAD_NAME),
    ],
)  # fmt: skip
async def test_an_inline_trunk_is_checked(
    sandbox: Sandbox, config: dict[str, Any], message: str
) -> None:
    """An inline trunk needs a hostname that is none of a URI. (S-API-17)"""
    trunk = ParseDict(config, api.SIPOutboundConfig())
    request = sandbox.call_out(trunk, "+1555", sip_number="+1777")
    await refused(request, *INVALID, message)


async def test_a_number_alone_is_no_trunk(sandbox: Sandbox) -> None:
    """sip_number without any trunk passes livekit-server, and is refused by livekit-sip.

    (S-API-17)
    """
    await refused(
        sandbox.call_out("", "+1555", sip_number="+1777"),
        *INVALID,
        "twirp error unknown: invalid request URI: address must be set",
    )


@pytest.mark.parametrize("transport", ["SIP_TRANSPORT_AUTO", "SIP_TRANSPORT_UDP"])
async def test_twilio_gets_a_plus(sandbox: Sandbox, callee: Callee, transport: str) -> None:
    """A number without plus gets one where the address ends with twilio.com.

    The INVITE is led elsewhere by its Request-URI, to see it. (S-OUT-15)
    """
    trunk = await sandbox.outbound_trunk(
        "sandbox.pstn.twilio.com", numbers=["15550001"], transport=TRANSPORT.Value(transport)
    )
    values = {"user": "u", "host": callee.line.host, "port": callee.line.port}
    uri = ParseDict({"values": values}, sip.SIPRequestDest())
    call = await callee.call(trunk, to="+1555", sip_request_uri=uri)
    assert sender(call.invite).startswith('"+15550001" <sip:+15550001@')
    to = call.invite.header("To")
    assert to is not None
    assert to.startswith("<sip:+1555@sandbox.pstn.twilio.com")
