"""A SIP user agent of raw sockets, for what PJSIP will not send: it says exactly what it is told.

It answers a BYE by itself; everything else is up to the scenario. What it sends and receives, and
the tones and keys that it hears, is on the timeline with source `wire`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sandbox import DeadlineMissed, Endpoints, Event, Inbound, Timeline
from tests.conformance.line import Line, TcpLine, open_line
from tests.conformance.media import DtmfSeen, Media
from tests.conformance.message import Message, sdp_audio

__all__ = ["OFFER", "Headers", "Wire", "WireCall", "media_line", "sdp"]

Headers = Mapping[str, str] | Sequence[tuple[str, str]]

#: The payload types of a plain offer and what they mean.
OFFER = ("0 101", "a=rtpmap:0 PCMU/8000", "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16")
#: livekit-sip 1.11.0 may miss an answer to its REFER that is there at once: as far away as a near
#: phone, in seconds. (So does sandbox.phone.)
_NEAR = 0.01

#: How long a request over UDP is waited for before it is sent again (RFC 3261, T1), in seconds.
_T1 = 0.5


def sdp(
    port: int,
    host: str,
    lines: Sequence[str] = OFFER,
    *,
    profile: str = "RTP/AVP",
    direction: str = "sendrecv",
    session: Sequence[str] = (),
    before: Sequence[str] = (),
) -> str:
    """An offer: `lines` are the payload types and then the attributes of the audio.

    Args:
        port: of the audio.
        host: of the session's `c=` line.
        lines: the payload types, and further lines.
        profile: `RTP/AVP` or `RTP/SAVP`.
        direction: `sendrecv`, `sendonly`, `inactive`; "" leaves it out.
        session: lines in place of `c=`.
        before: lines of a section in front of the audio.
    """
    types, *attributes = lines
    text = [
        "v=0", f"o=- 4711 1 IN IP4 {host}", "s=wire",
        *(session or (f"c=IN IP4 {host}",)), "t=0 0",
        *before,
        f"m=audio {port} {profile} {types}", *attributes,
        *((f"a={direction}",) if direction else ()),
    ]  # fmt: skip
    return "".join(f"{line}\r\n" for line in text)


def media_line(message: Message) -> str:
    """The `m=audio` line of an SDP body, with `*` for the port."""
    found = re.search(r"(?m)^m=audio \d+ (.*?)\r?$", message.body)
    assert found, f"no audio in {message.body!r}"
    return f"m=audio * {found[1]}"


def _pairs(headers: Headers | None) -> list[tuple[str, str]]:
    return list(headers.items() if isinstance(headers, Mapping) else headers or ())


class _Media(Media):
    """Media that tells the timeline what it hears."""

    def __init__(self, note: Callable[..., object], event_type: int) -> None:
        super().__init__(event_type)
        self._note = note
        self._told: set[int] = set()

    def datagram_received(self, data: bytes, addr: object) -> None:
        tones, first = len(self.tones), not self.payload_types
        super().datagram_received(data, addr)
        if first and self.payload_types:
            self._note("wire.rtp", type=next(iter(self.payload_types)), port=self.port)
        for hz in self.tones[tones:]:
            self._note("wire.tone", hz=hz)
        for stamp, seen in self.keys.items():
            if seen.ended and stamp not in self._told:
                self._told.add(stamp)
                self._note("wire.dtmf", digit=seen.key)


class Wire:
    """One address, for UDP or TCP; `open` binds it and `close` hangs up what is left.

    Attributes:
        host: the address, as the SIP service sees it.
        messages: all that was received.
        mark: where its time on the timeline begins.
    """

    def __init__(self, endpoints: Endpoints, timeline: Timeline) -> None:
        self.endpoints = endpoints
        self.timeline = timeline
        self.messages: list[Message] = []
        self.calls: list[WireCall] = []
        self.mark = timeline.mark()
        self._line: Line | None = None
        self._transport = "udp"
        self._tasks: set[asyncio.Future[Any]] = set()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((endpoints.sip_host, endpoints.sip_port))
            self.host: str = probe.getsockname()[0]

    async def open(self, transport: str = "udp") -> Wire:
        """Bind; `udp` or `tcp`."""
        self._transport = transport
        service = (self.endpoints.sip_host, self.endpoints.sip_port)
        self._line = await open_line(transport, self.host, service, self._received)
        return self

    @property
    def port(self) -> int:
        """The port of its address."""
        assert self._line is not None
        return self._line.port

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{self.host}:{self.port}"

    def disconnect(self) -> None:
        """Close the TCP connections, and go on to listen."""
        assert isinstance(self._line, TcpLine)
        self._line.disconnect()

    def note(self, name: str, /, **data: Any) -> None:
        """Put something on the timeline."""
        self.timeline.record("wire", name, **data)

    def _received(self, text: str, at: float) -> None:
        message = Message.parse(text)
        self.messages.append(message)
        self.note(
            "wire.received",
            title=message.title,
            method=message.method,
            number=len(self.messages) - 1,
        )
        if message.is_request and message.method == "BYE":
            self._spawn(self.respond(message, 200, "OK"))
        if message.method == "INVITE" and message.status >= 300:
            for call in self.calls:
                if message.call_id == call.call_id:
                    self._spawn(call.acknowledge(message))

    def _spawn(self, work: Any) -> None:
        """Run what an arrival asks for."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def send(self, text: str) -> None:
        """Send `text` as it is."""
        assert self._line is not None
        self.note("wire.sent", title=text.partition("\r\n")[0])
        await self._line.send(text)

    # --- waits -----------------------------------------------------------------------------

    async def message(
        self, match: Callable[[Message], bool], *, within: float = 3.0, expected: str, skip: int = 0
    ) -> Message:
        """Wait for a message, or take one that came already; `skip` leaves out the first ones.

        Raises:
            DeadlineMissed: it did not come.
        """

        def hit(event: Event) -> bool:
            if event.name != "wire.received" or event.data["number"] >= len(self.messages):
                return False
            return event.data["number"] >= skip and match(self.messages[event.data["number"]])

        event = await self.timeline.wait(
            hit,
            within=within,
            expected=expected,
            since=self.mark,
            about=lambda e: e.source == "wire",
        )
        return self.messages[int(event.data["number"])]

    async def event(
        self, name: str, *, within: float = 4.0, since: int | None = None, **data: Any
    ) -> Event:
        """Wait for `wire.tone`, `wire.dtmf` or `wire.rtp`; a tone is right within 12 Hz.

        What came already counts, from the mark `since` of the timeline on.

        Raises:
            DeadlineMissed: it did not come.
        """

        def hit(event: Event) -> bool:
            return event.name == name and all(
                abs(event.data[k] - v) <= 12 if k == "hz" else event.data[k] == v
                for k, v in data.items()
            )

        return await self.timeline.wait(
            hit,
            within=within,
            expected=f"{name} {data}",
            since=self.mark if since is None else since,
            about=lambda e: e.source == "wire",
        )

    # --- outside of a call -----------------------------------------------------------------

    def build(
        self,
        method: str,
        uri: str,
        *,
        to: str | None = None,
        from_: str | None = None,
        call_id: str | None = None,
        cseq: int = 1,
        headers: Headers | None = None,
        body: str = "",
        without: Sequence[str] = (),
        branch: str | None = None,
    ) -> str:
        """A request with the headers that it needs, less those named in `without`."""
        transport = self._transport.upper()
        pairs = [
            ("Via", f"SIP/2.0/{transport} {self.address};branch={branch or new_branch()};rport"),
            ("From", from_ or f"<sip:wire@{self.host}>;tag={secrets.token_hex(4)}"),
            ("To", to or f"<{uri}>"),
            ("Call-ID", call_id or f"{secrets.token_hex(8)}@wire"),
            ("CSeq", f"{cseq} {method}"),
            ("Contact", f"<sip:wire@{self.address};transport={self._transport}>"),
            ("Max-Forwards", "70"),
            *_pairs(headers),
        ]
        if body and not any(name.lower() == "content-type" for name, _ in pairs):
            pairs.append(("Content-Type", "application/sdp"))
        pairs.append(("Content-Length", str(len(body.encode()))))
        dropped = {name.lower() for name in without}
        head = [f"{method} {uri} SIP/2.0"]
        head += [f"{name}: {value}" for name, value in pairs if name.lower() not in dropped]
        return "\r\n".join(head) + "\r\n\r\n" + body

    async def ask(
        self, method: str, uri: str | None = None, *, within: float = 2.0, **parts: Any
    ) -> Message:
        """Send a request and wait for its final response; see `build` for `parts`.

        Raises:
            DeadlineMissed: there was none.
        """
        uri = uri or f"sip:{self.endpoints.sip_address}"
        return await self.exchange(self.build(method, uri, **parts), within=within)

    async def exchange(self, text: str, *, within: float = 2.0) -> Message:
        """Send `text`, over UDP once more if need be, and wait for the final response to it.

        Raises:
            DeadlineMissed: there was none.
        """
        request = Message.parse(text)

        def final(message: Message) -> bool:
            return message.status >= 200 and message.branch == request.branch

        await self.send(text)
        expected = f"a final response to {request.method}"
        with contextlib.suppress(DeadlineMissed):
            return await self.message(final, within=_T1, expected=expected)
        if self._transport == "udp":
            await self.send(text)
        return await self.message(final, within=within - _T1, expected=expected)

    async def respond(
        self,
        request: Message,
        status: int,
        reason: str = "",
        *,
        headers: Headers | None = None,
        body: str = "",
        tag: str | None = None,
    ) -> None:
        """Answer a request of the SIP service's."""
        to = request.get("to")
        if not request.to_tag and tag is not None:
            to += f";tag={tag}"
        lines = [f"SIP/2.0 {status} {reason}"]
        lines += [f"Via: {value}" for name, value in request.headers if name.lower() == "via"]
        lines += [
            f"From: {request.get('from')}",
            f"To: {to}",
            f"Call-ID: {request.call_id}",
            f"CSeq: {request.cseq}",
            f"Contact: <sip:wire@{self.address};transport={self._transport}>",
            *(f"{name}: {value}" for name, value in _pairs(headers)),
        ]
        if body:
            lines.append("Content-Type: application/sdp")
        lines.append(f"Content-Length: {len(body.encode())}")
        if request.method == "REFER":
            await asyncio.sleep(_NEAR)
        await self.send("\r\n".join(lines) + "\r\n\r\n" + body)

    # --- calls -----------------------------------------------------------------------------

    async def media(self, event_type: int = 101) -> _Media:
        """A port for RTP."""
        media = _Media(self.note, event_type)
        await media.open(self.host)
        return media

    async def invite(
        self,
        number: Inbound | str,
        *,
        body: str | None = None,
        caller: str | None = None,
        event_type: int = 101,
        headers: Headers | None = None,
        without: Sequence[str] = (),
        **offer: Any,
    ) -> WireCall:
        """Send an INVITE; returns at once.

        Args:
            number: what to call.
            body: the SDP; by default one of `sdp` with `offer`. "" sends none.
            caller: the user of the From URI; a fresh one by default.
            event_type: the payload type of telephone-event, for the keys that are pressed.
            headers: further headers.
            without: headers to leave out.
            offer: as for `sdp`.
        """
        media = await self.media(event_type)
        uri = str(number)
        if not uri.startswith("sip"):
            uri = f"sip:{uri}@{self.endpoints.sip_address}"
        caller = caller or f"+1999{secrets.randbelow(10**7):07d}"
        call = WireCall(self, media, uri, f"<sip:{caller}@{self.host}>")
        call.identity = f"sip_{caller}"
        self.calls.append(call)
        if body is None:
            body = sdp(media.port, self.host, **offer)
        call.branch = new_branch()
        call.sent = self.build(
            "INVITE",
            uri,
            to=call.remote,
            from_=call.local,
            call_id=call.call_id,
            cseq=call.cseq,
            headers=headers,
            body=body,
            without=without,
            branch=call.branch,
        )
        await self.send(call.sent)
        return call

    async def incoming(self, *, within: float = 4.0) -> WireCall:
        """Wait for the INVITE of a call out.

        Raises:
            DeadlineMissed: it did not come.
        """
        known = {call.call_id for call in self.calls}
        invite = await self.message(
            lambda m: m.is_request and m.method == "INVITE" and m.call_id not in known,
            within=within,
            expected="an INVITE",
        )
        media = await self.media()
        tag = secrets.token_hex(4)
        contact = invite.get("contact").strip("<>")
        call = WireCall(self, media, contact, f"{invite.get('to')};tag={tag}")
        call.remote, call.call_id, call.offer = invite.get("from"), invite.call_id, invite
        call.tag, call.cseq = tag, 100
        self.calls.append(call)
        return call

    async def close(self) -> None:
        """Hang up what is up, give up what is not, and give the ports back."""
        for call in self.calls:
            with contextlib.suppress(DeadlineMissed, AssertionError):
                await call.end()
            call.media.close()
        if self._line is not None:
            self._line.close()
        for task in tuple(self._tasks):
            task.cancel()


def new_branch() -> str:
    """A branch of RFC 3261."""
    return f"z9hG4bK{secrets.token_hex(6)}"


class WireCall:
    """One call of the user agent's, inbound or outbound seen from LiveKit.

    Attributes:
        media: its RTP port.
        identity: of the SIP participant, for a call that we place.
        sent: the INVITE of a call that we place, as it went out.
        offer: the INVITE of a call that LiveKit places.
        answer: the 200, once `answered` has seen it.
    """

    def __init__(self, wire: Wire, media: _Media, uri: str, local: str) -> None:
        self.wire = wire
        self.media = media
        self.uri = uri
        self.tag = secrets.token_hex(4)
        self.local = local if ";tag=" in local else f"{local};tag={self.tag}"
        self.remote = f"<{uri}>"
        self.call_id = f"{secrets.token_hex(8)}@wire"
        self.cseq = 1
        self.branch = ""
        self.sent = ""
        self.identity = ""
        self.over = False
        self.offer: Message | None = None
        self.answer: Message | None = None

    def _mine(self, message: Message) -> bool:
        return message.call_id == self.call_id

    # --- its INVITE ------------------------------------------------------------------------

    async def provisional(self, status: int = 180, *, within: float = 2.0) -> Message:
        """Wait for a provisional response.

        Raises:
            DeadlineMissed: it did not come.
        """
        return await self.wire.message(
            lambda m: self._mine(m) and m.status == status,
            within=within,
            expected=f"a {status}",
        )

    async def final(self, *, within: float = 3.0) -> Message:
        """Wait for the final response to the INVITE; a failure is acknowledged by itself.

        Raises:
            DeadlineMissed: it did not come.
        """
        final = await self.wire.message(
            lambda m: self._mine(m) and m.method == "INVITE" and m.status >= 200,
            within=within,
            expected="a final response to INVITE",
        )
        self.over = final.status >= 300
        return final

    async def answered(
        self, *, within: float = 5.0, ack: bool = True, tone: bool = True
    ) -> WireCall:
        """Wait for the 200, acknowledge it, and begin to send a tone of 440 Hz.

        Args:
            within: seconds.
            ack: whether to send the ACK.
            tone: whether to send RTP.

        Raises:
            DeadlineMissed: it did not come.
        """
        final = await self.final(within=within)
        assert final.status == 200, final.start
        self.answer = final
        self.remote = final.get("to")
        if ack:
            await self.acknowledge(final)
        if tone:
            self.speak(final)
        return self

    def speak(self, message: Message, *, packet_ms: int = 20) -> None:
        """Send RTP to where the SDP of `message` says."""
        audio = sdp_audio(message.body)
        assert audio is not None, message.body
        self.media.start((audio[0], audio[1]), audio[2][0], packet_ms=packet_ms)

    async def acknowledge(self, final: Message) -> None:
        """Send the ACK of a final response."""
        target = f"sip:{self.wire.endpoints.sip_address}" if final.status == 200 else self.uri
        await self.wire.send(
            self.wire.build(
                "ACK",
                target,
                to=final.get("to"),
                from_=final.get("from"),
                call_id=self.call_id,
                cseq=int(final.cseq.split()[0]),
                branch=new_branch() if final.status == 200 else final.branch,
            )
        )

    async def cancel(self, *, headers: Headers | None = None) -> Message:
        """Send CANCEL; returns its response."""
        text = self.wire.build(
            "CANCEL", self.uri, to=f"<{self.uri}>", from_=self.local, call_id=self.call_id,
            cseq=1, branch=self.branch, headers=headers,
        )  # fmt: skip
        await self.wire.send(text)
        return await self.wire.message(
            lambda m: self._mine(m) and m.method == "CANCEL" and m.status > 0,
            expected="a response to CANCEL",
        )

    # --- in the dialog ---------------------------------------------------------------------

    async def request(
        self, method: str, *, within: float = 2.0, ack: bool = True, **parts: Any
    ) -> Message:
        """Send a request in the dialog and wait for its final response; see `Wire.build`.

        Raises:
            DeadlineMissed: there was none.
        """
        if "cseq" not in parts:
            self.cseq += 1
        parts = {"to": self.remote, "from_": self.local, "cseq": self.cseq, **parts}
        parts.setdefault("call_id", self.call_id)
        if method == "BYE":
            self.over = True
        uri = f"sip:{self.wire.endpoints.sip_address}"
        answer = await self.wire.exchange(self.wire.build(method, uri, **parts), within=within)
        if method == "INVITE" and ack and answer.status == 200:
            await self.acknowledge(answer)
        return answer

    async def bye(self, **parts: Any) -> Message:
        """Hang up; returns the response."""
        return await self.request("BYE", **parts)

    async def received(self, method: str, *, within: float = 3.0) -> Message:
        """Wait for a request of the SIP service's in this call.

        Raises:
            DeadlineMissed: it did not come.
        """
        message = await self.wire.message(
            lambda m: self._mine(m) and m.is_request and m.method == method,
            within=within,
            expected=f"a {method}",
        )
        self.over = self.over or method in ("BYE", "CANCEL")
        return message

    def seen(self, method: str) -> list[Message]:
        """The requests of the SIP service's in this call so far."""
        return [
            m for m in self.wire.messages if self._mine(m) and m.is_request and m.method == method
        ]

    def responses(self, status: int, method: str = "INVITE") -> list[Message]:
        """The responses with `status` so far, repeated ones too."""
        return [
            m
            for m in self.wire.messages
            if self._mine(m) and (m.status, m.method) == (status, method)
        ]

    async def notify(self, status_line: str, **parts: Any) -> Message:
        """Tell of a transfer's progress (RFC 3515); returns the response."""
        headers = {
            "Event": "refer",
            "Subscription-State": "active;expires=60",
            "Content-Type": "message/sipfrag;version=2.0",
        }
        return await self.request("NOTIFY", **{"headers": headers, "body": status_line, **parts})

    async def answer_with(self, body: str | None = None, **offer: Any) -> None:
        """Answer a call that LiveKit places: 200, wait for the ACK, and send a tone."""
        assert self.offer is not None
        if body is None:
            body = sdp(self.media.port, self.wire.host, **offer)
        await self.wire.respond(self.offer, 200, "OK", body=body, tag=self.tag)
        await self.received("ACK")
        self.speak(self.offer_of(body))

    def offer_of(self, body: str) -> Message:
        """The SDP of the INVITE, with the payload types of our answer `body`."""
        assert self.offer is not None
        theirs, ours = sdp_audio(self.offer.body), sdp_audio(body)
        assert theirs is not None
        assert ours is not None
        types = " ".join(map(str, ours[2]))
        text = f"c=IN IP4 {theirs[0]}\nm=audio {theirs[1]} RTP/AVP {types}\n"
        return Message("", (), text)

    @property
    def keys(self) -> list[DtmfSeen]:
        """The DTMF keys received so far, in order."""
        return sorted(self.media.keys.values(), key=lambda seen: seen.at)

    async def end(self) -> None:
        """Hang up, or give up."""
        self.media.stop()
        if self.over or self.seen("BYE") or self.seen("CANCEL"):
            return
        self.over = True
        if self.offer is not None or self.answer is not None:
            await self.bye(within=1.0)
        elif not any(m.status >= 300 for m in self.wire.messages if self._mine(m)):
            # The room that a ringing call is about to make is taken down by the sandbox, once it
            # is there.
            if self.responses(180):
                await self.joined(within=1.0)
            await self.cancel()

    async def joined(self, *, within: float = 5.0) -> Event:
        """Wait until the caller is in a room.

        Raises:
            DeadlineMissed: it did not join.
        """
        return await self.wire.timeline.wait(
            lambda e: (
                e.name == "webhook.participant_joined"
                and e.data["participant"].get("attributes", {}).get("sip.callIDFull")
                == self.call_id
            ),
            within=within,
            expected=f"the caller of {self.uri} to join a room",
            since=self.wire.mark,
        )
