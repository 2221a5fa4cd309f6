"""A made-up test with one call that is whole: what the tests of the trace are told."""

from __future__ import annotations

import math
import struct
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sandbox.stack.endpoints import Endpoints
from sandbox.timeline import Event
from sandbox.trace.logs import log_lines
from sandbox.trace.record import names_of

T0 = 1_700_000_000.0
OFFER = "\r\n".join(
    ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=x", "c=IN IP4 127.0.0.1", "t=0 0",
     "m=audio 4000 RTP/AVP 9 0 101", "a=rtpmap:9 G722/8000", "a=rtpmap:0 PCMU/8000",
     "a=rtpmap:101 telephone-event/8000", "a=sendrecv", ""]
)  # fmt: skip
ANSWER = "\r\n".join(
    ["v=0", "o=- 2 2 IN IP4 127.0.0.1", "s=y", "c=IN IP4 127.0.0.1", "t=0 0",
     "m=audio 5000 RTP/AVP 0 97", "a=rtpmap:0 PCMU/8000",
     "a=rtpmap:97 telephone-event/8000", "a=sendrecv", ""]
)  # fmt: skip


def sip(at: float, name: str, first: str, cseq: str = "1 INVITE", body: str = "", more: str = "",
        call: str = "l1.1") -> Event:  # fmt: skip
    kind = "Content-Type: application/sdp\r\n" if body else ""
    raw = (
        f"{first}\r\nVia: SIP/2.0/UDP 127.0.0.1:6000;rport;branch=z9hG4bK1\r\n"
        "From: <sip:+15550001111@127.0.0.1>;tag=a\r\nTo: <sip:+15550002222@127.0.0.1>\r\n"
        f"Call-ID: {'cid-1' if call == 'l1.1' else call}\r\nCSeq: {cseq}\r\n{more}{kind}"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    )
    data = {"raw": raw, "transport": "udp", "peer": "127.0.0.1:5060", "local": "127.0.0.1:6000",
            "line": "l1"}  # fmt: skip
    return Event(source="phone", name=name, at=T0 + at, call=call, data=data)


def phone(at: float, name: str, **data: Any) -> Event:
    return Event(source="phone", name=name, at=T0 + at, call="l1.1", data=data)


def webhook(at: float, name: str, kind: str = "", identity: str = "", **who: Any) -> Event:
    participant = {"identity": identity, **({"kind": kind} if kind else {}), **who}
    return Event(
        source="webhook", name=f"webhook.{name}", at=T0 + at,
        data={"room": {"name": "room-1"}, "participant": participant},
    )  # fmt: skip


def agent(at: float, name: str, **data: Any) -> Event:
    data = {"agent": "a", "job": "AJ_1", "room": "room-1", **data}
    return Event(source="agent", name=name, at=T0 + at, data=data)


ATTRIBUTES = {"sip.callIDFull": "cid-1", "sip.callID": "SCL_abc", "sip.callStatus": "ringing",
              "sip.phoneNumber": "+15550001111", "order.id": "42"}  # fmt: skip


def events() -> list[Event]:
    """The events of the test, in order."""
    return [
        Event(source="test", name="test.started", at=T0, data={"test": "test_x"}),
        Event(source="api", name="api.request", at=T0 + 0.01, data={
            "method": "SIP/CreateSIPInboundTrunk",
            "message": {"trunk": {"numbers": ["+15550002222"], "auth_username": "user-1",
                                  "auth_password": "hunter2secret"}}}),
        Event(source="test", name="test.step", at=T0 + 0.1, data={"text": "dial"}),
        sip(0.2, "sip.sent", "INVITE sip:+15550002222@127.0.0.1 SIP/2.0", body=OFFER,
            more="X-Customer: Jane Doe\r\n"),
        sip(0.21, "sip.received", "SIP/2.0 100 Processing"),
        phone(0.211, "call.trying", status=100),
        webhook(0.3, "participant_joined", "SIP", "sip_+15550001111", attributes=ATTRIBUTES),
        agent(0.4, "job.offered"),
        agent(0.45, "job.accepted"),
        webhook(0.5, "participant_joined", "AGENT", "agent-1"),
        webhook(0.6, "track_published", identity="agent-1", track={"type": "AUDIO"}),
        sip(0.7, "sip.received", "SIP/2.0 200 OK", body=ANSWER),
        sip(0.71, "sip.sent", "ACK sip:+15550002222@127.0.0.1 SIP/2.0", "1 ACK"),
        phone(0.72, "media.started", local="127.0.0.1:4000", remote="127.0.0.1:5000"),
        phone(0.73, "rtp.first_sent"),
        agent(0.8, "job.attributes", identity="sip_+15550001111",
              changed={"sip.callStatus": "active"}),
        Event(source="test", name="test.step", at=T0 + 0.9, data={"text": "press 1"}),
        phone(1.0, "dtmf.sent", digit="1", method="rfc4733"),
        agent(1.01, "job.attributes", identity="sip_+15550001111", changed={"order.id": "43"}),
        agent(1.05, "session.message", role="user", text="Good day"),
        agent(1.07, "session.message", role="assistant", text="Hello there"),
        phone(1.1, "speech.heard", text="Hello there", started=T0 + 0.9),
        sip(2.0, "sip.sent", "BYE sip:+15550002222@127.0.0.1 SIP/2.0", "2 BYE"),
        sip(2.01, "sip.received", "SIP/2.0 200 OK", "2 BYE"),
        phone(2.02, "call.ended", status=200, stats={"codec": "PCMU"}),
        agent(2.1, "job.ended", reason="CLIENT_INITIATED"),
    ]  # fmt: skip


def rtp(sequence: int, stamp: int, payload: bytes = b"\xff" * 160) -> bytes:
    return struct.pack(">BBHII", 0x80, 0, sequence, stamp, 7) + payload


def write_capture(folder: Path, seconds: float = 1.2, missing: range = range(0)) -> Event:
    """Write what the phone keeps of a call's media; the event that tells of it."""
    folder.mkdir(parents=True, exist_ok=True)
    peer = bytes([127, 0, 0, 1]) + (5000).to_bytes(2, "big")
    records = bytearray()
    for number in range(int(seconds * 50)):
        at = T0 + 0.73 + number * 0.02
        for flags in (0, 1):
            if flags == 0 and number in missing:
                continue
            data = rtp(number, number * 160)
            records += struct.pack("<dB6sH", at, flags, peer, len(data)) + data
    (folder / "trace-l1.1.rtp").write_bytes(records)
    told: dict[str, Any] = {"packets": str(folder / "trace-l1.1.rtp"), "audio_at": T0 + 0.73}
    for name, hz in (("received", 700), ("sent", 440)):
        path = folder / f"trace-l1.1.{name}.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            count = int(seconds * 8000)
            wave_ = (int(9000 * math.sin(2 * math.pi * hz * i / 8000)) for i in range(count))
            file.writeframes(b"".join(struct.pack("<h", one) for one in wave_))
        told[name] = str(path)
    return phone(2.05, "media.captured", **told)


def endpoints(run_dir: Path) -> Endpoints:
    run_dir.mkdir(parents=True, exist_ok=True)
    return Endpoints(
        engine="native", livekit_url="ws://127.0.0.1:1", api_key="k", api_secret="s",
        sip_host="127.0.0.1", sip_port=5060, sip_service="stand-in (not livekit-sip)",
        phone_url="", phone_token="", run_dir=run_dir, server_version="v1.13.5",
    )  # fmt: skip


TEST: dict[str, Any] = {
    "name": "test_x", "nodeid": "tests/test_x.py::test_x", "doc": "A story.", "file": "test_x.py",
    "line": 3, "started": T0, "outcome": "failed", "seconds": 2.2,
}  # fmt: skip
VERDICT: dict[str, Any] = {
    "what": "expected a 486, got 200", "where": {"file": "tests/test_x.py", "line": 9,
    "text": "await call.rejected(486)"}, "phase": "call", "seen": ["-> INVITE"],
    "cause": "the rule let it in", "fix": "take the rule away",
    "why": ["call   +15550001111 -> +15550002222"], "traceback": "E   CallFailed",
}  # fmt: skip


def logs_of(run_dir: Path, told: Sequence[Event]) -> dict[str, Any]:
    return log_lines(run_dir, {}, names_of(told))
