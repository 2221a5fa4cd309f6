"""What the SIP service says to requests that belong to no call, and to broken ones."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from sandbox import DeadlineMissed, Sandbox
from tests.e2e.conftest import PEER_TONE
from tests.e2e.wire import Wire, new_branch, sdp


@pytest.mark.parametrize("method", ["OPTIONS", "options"])
async def test_options_is_200(wire: Wire, method: str) -> None:
    """OPTIONS is 200 OK in either case, and without Allow. (S-SIP-01)"""
    answer = await wire.ask(method)
    assert answer.start == "SIP/2.0 200 OK"
    assert answer.get("allow") == ""


@pytest.mark.parametrize(
    "method",
    ["REGISTER", "SUBSCRIBE", "MESSAGE", "INFO", "PUBLISH", "REFER", "UPDATE", "PRACK", "FOO"],
)
async def test_a_method_outside_of_a_call_is_405(wire: Wire, method: str) -> None:
    """Everything but INVITE, ACK, BYE, CANCEL, NOTIFY and OPTIONS is 405, and names none.

    The Allow of a 180 lists INFO, MESSAGE, SUBSCRIBE and REFER all the same. (S-SIP-03)
    """
    answer = await wire.ask(method)
    assert answer.start == "SIP/2.0 405 Method Not Allowed"
    assert answer.get("allow") == ""


async def test_the_allow_of_a_ringing_lists_what_is_refused(sandbox: Sandbox, wire: Wire) -> None:
    """Allow of the 180 lists methods that are 405 when they come. (S-SIP-03)"""
    call = await wire.invite(await sandbox.inbound())
    allowed = {name.strip() for name in (await call.provisional(180)).get("allow").split(",")}
    assert {"INVITE", "ACK", "CANCEL", "BYE", "INFO", "MESSAGE", "SUBSCRIBE", "REFER"} <= allowed


@pytest.mark.parametrize("method", ["BYE", "NOTIFY"])
async def test_a_dialog_method_without_a_tag_is_400(wire: Wire, method: str) -> None:
    """BYE and NOTIFY without a To tag are 400 with no reason phrase. (S-SIP-03)"""
    assert (await wire.ask(method)).start == "SIP/2.0 400 "


async def test_a_stray_cancel_is_not_answered(wire: Wire) -> None:
    """CANCEL of no INVITE gets nothing at all, not even 481. (S-SIP-03)"""
    with pytest.raises(DeadlineMissed):
        await wire.ask("CANCEL", within=0.5)


@pytest.mark.parametrize("missing", ["From", "To", "Call-ID"])
async def test_an_invite_without_a_name_is_400(sandbox: Sandbox, wire: Wire, missing: str) -> None:
    """An INVITE without From, To or Call-ID is 400 Bad request. (S-SIP-02)"""
    number = await sandbox.inbound()
    text = wire.build("INVITE", str(number), body=sdp(4, wire.host), without=[missing])
    answer = await wire.exchange(text)
    assert answer.start == "SIP/2.0 400 Bad request"


async def test_an_invite_without_a_from_tag_is_400(sandbox: Sandbox, wire: Wire) -> None:
    """An INVITE whose From has no tag is 400 Bad request. (S-SIP-02)"""
    number = await sandbox.inbound()
    answer = await wire.ask(
        "INVITE", str(number), from_=f"<sip:x@{wire.host}>", body=sdp(4, wire.host)
    )
    assert answer.start == "SIP/2.0 400 Bad request"


@pytest.mark.parametrize("missing", ["CSeq", "Via"])
async def test_an_invite_without_a_place_is_dropped(
    sandbox: Sandbox, wire: Wire, missing: str
) -> None:
    """An INVITE without CSeq or Via gets no answer, and does no harm. (S-SIP-02)"""
    number = await sandbox.inbound()
    await wire.send(wire.build("INVITE", str(number), body=sdp(4, wire.host), without=[missing]))
    assert (await wire.ask("OPTIONS")).status == 200
    assert [m for m in wire.messages if m.method != "OPTIONS"] == []


@pytest.mark.parametrize("missing", ["Contact", "Max-Forwards"])
async def test_an_invite_may_lack_contact_or_max_forwards(
    sandbox: Sandbox, wire: Wire, missing: str
) -> None:
    """An INVITE without Contact or without Max-Forwards rings. (S-SIP-02)"""
    call = await wire.invite(await sandbox.inbound(), without=[missing])
    await call.provisional(180)


async def test_compact_and_lower_case_headers_are_read(sandbox: Sandbox, wire: Wire) -> None:
    """An INVITE in compact and lower-case headers is taken and answered. (S-SIP-04)"""
    number = await sandbox.inbound()
    assert number.room is not None
    await number.room.join(tone=PEER_TONE)
    call = await wire.invite(number, body="")
    await call.final()
    body = sdp(call.media.port, wire.host)
    compact = {"Via": "v", "From": "f", "To": "t", "Call-ID": "i", "Contact": "m",
               "Content-Type": "c", "Content-Length": "l", "CSeq": "cseq",
               "Max-Forwards": "max-forwards"}  # fmt: skip
    text = wire.build("INVITE", str(number), from_=call.local, body=body)
    head, _, rest = text.partition("\r\n\r\n")
    lines = head.split("\r\n")
    for index, line in enumerate(lines[1:], 1):
        name, _, value = line.partition(":")
        lines[index] = f"{compact[name]}:{value}"
    text = "\r\n".join(lines) + "\r\n\r\n" + rest
    answer = await wire.exchange(text, within=4)
    assert answer.start == "SIP/2.0 200 OK"
    await call.acknowledge(answer)
    call.remote, call.call_id, call.cseq = answer.get("to"), answer.call_id, 1
    await call.bye()


async def test_a_response_goes_through_every_via(sandbox: Sandbox, wire: Wire) -> None:
    """The Vias of proxies come back in every response, in their order. (S-SIP-04)"""
    proxies = ["SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKone", "SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKtwo"]
    call = await wire.invite(await sandbox.inbound(), headers=[("Via", via) for via in proxies])
    ringing = await call.provisional(180)
    assert [v for n, v in ringing.headers if n.lower() == "via"][1:] == proxies


async def test_a_large_invite_over_udp_is_taken(sandbox: Sandbox, wire: Wire) -> None:
    """An INVITE of several thousand bytes in one UDP datagram rings. (S-SIP-04)"""
    call = await wire.invite(await sandbox.inbound(), headers={"X-Long": "x" * 8000})
    await call.provisional(180)


async def test_a_message_in_pieces_over_tcp_is_put_together(sandbox: Sandbox) -> None:
    """An INVITE that comes in pieces over TCP is one INVITE. (S-SIP-04)"""
    number = await sandbox.inbound()
    ends = sandbox.endpoints
    wire = Wire(ends, sandbox.timeline)
    await wire.open("tcp")
    reader, writer = await asyncio.open_connection(ends.sip_host, ends.sip_port)
    try:
        text = wire.build("INVITE", str(number), body=sdp(4, wire.host)).encode()
        for start in range(0, len(text), 100):
            writer.write(text[start : start + 100])
            await writer.drain()
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 2)
        assert head.startswith(b"SIP/2.0 100 Processing\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 2)
        assert head.startswith(b"SIP/2.0 180 Ringing\r\n")
        assert number.room is not None
        await number.room.sip_participant()
    finally:
        writer.close()
        await wire.close()


async def test_a_bye_finds_a_phone_whose_connection_is_gone(sandbox: Sandbox) -> None:
    """The TCP connection of a call is closed: the BYE comes on a new one. (S-SIP-05)"""
    number = await sandbox.inbound()
    assert number.room is not None
    await number.room.join(tone=PEER_TONE)
    wire = await Wire(sandbox.endpoints, sandbox.timeline).open("tcp")
    try:
        call = await (await wire.invite(number)).answered()
        wire.disconnect()
        await number.room.delete()
        bye = await call.received("BYE", within=3)
        assert bye.uri.startswith(f"sip:wire@{wire.address}")
    finally:
        await wire.close()


async def test_responses_go_to_the_port_they_came_from(sandbox: Sandbox, wire: Wire) -> None:
    """rport: a Via with another port is answered at the port the request came from.

    (S-NET-04)
    """
    number = await sandbox.inbound()
    assert number.room is not None
    text = wire.build("INVITE", str(number), body=sdp(4, wire.host), without=["Via"])
    via = f"Via: SIP/2.0/UDP {wire.host}:9;branch={new_branch()};rport"
    await wire.send(text.replace("\r\n", f"\r\n{via}\r\n", 1))
    ringing = await wire.message(lambda m: m.status == 180, expected="a 180")
    assert f";rport={wire.port}" in ringing.get("via")
    assert f";received={wire.host}" in ringing.get("via")
    await number.room.sip_participant()


TORTURE = {
    "no version": "INVITE sip:x@127.0.0.1\r\n\r\n",
    "unknown version": "OPTIONS sip:x@127.0.0.1 SIP/7.0\r\nCSeq: 1 OPTIONS\r\n\r\n",
    "unterminated quote": 'OPTIONS sip:x SIP/2.0\r\nFrom: "a <sip:a@b>;tag=1\r\n\r\n',
    "negative length": "OPTIONS sip:x SIP/2.0\r\nContent-Length: -999\r\n\r\n",
    "huge CSeq": "OPTIONS sip:x SIP/2.0\r\nCSeq: 99999999999999 OPTIONS\r\n\r\n",
    "spaces in the request line": "OPTIONS  sip:x@y  SIP/2.0\r\n\r\n",
    "only line ends": "\r\n\r\n\r\n",
    "control characters": "OPTIONS sip:\x00\x01 SIP/2.0\r\nVia: \x7f\r\n\r\n",
    "a response out of nowhere": "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP x\r\nCSeq: 1 INVITE\r\n\r\n",
    "not SIP": "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a length beyond the datagram": "OPTIONS sip:x SIP/2.0\r\nContent-Length: 5000\r\n\r\nshort",
    "dashes": "-" * 5000,
}


@pytest.mark.parametrize("case", TORTURE)
async def test_a_broken_message_does_no_harm(sandbox: Sandbox, wire: Wire, case: str) -> None:
    """After messages such as those of RFC 4475 the service is healthy and answers. (S-SIP-06)"""
    await wire.send(TORTURE[case])
    assert (await wire.ask("OPTIONS")).status == 200
    if sandbox.endpoints.sip_health_url:
        async with (
            aiohttp.ClientSession() as session,
            session.get(sandbox.endpoints.sip_health_url) as answer,
        ):
            assert answer.status == 200


async def test_junk_during_a_call_is_not_heard(sandbox: Sandbox, wire: Wire) -> None:
    """Hundreds of OPTIONS, REGISTERs and broken messages leave the audio of a call alone.

    (S-SEC-03)
    """
    number = await sandbox.inbound()
    assert number.room is not None
    peer = await number.room.join(tone=PEER_TONE)
    call = await (await wire.invite(number)).answered()
    await wire.event("wire.tone", hz=PEER_TONE)
    uri = f"sip:{sandbox.endpoints.sip_address}"
    for _ in range(50):
        await wire.send(wire.build("OPTIONS", uri))
        await wire.send(wire.build("REGISTER", uri))
        await wire.send("junk\r\n\r\n")
    await peer.hears_tone(440, of=call.identity)
    packets = call.media.payload_types[0]
    assert (await wire.ask("OPTIONS")).status == 200
    await call.bye()
    assert call.media.payload_types[0] >= packets
    assert call.seen("BYE") == []
