"""A call, seen from the test: what it does, what happens to it, what it hears."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sandbox.errors import CallFailed, DeadlineMissed, PhoneError
from sandbox.phone import protocol
from sandbox.phone.link import HeaderInput, header_list
from sandbox.phone.message import SipMessage
from sandbox.phone.sound import Hearing
from sandbox.timeline import Event

if TYPE_CHECKING:
    from sandbox.phone.client import Line, Phone

__all__ = ["Call", "Ended", "Recording", "RtpStats"]

_STATES = {
    "call.incoming": "incoming",
    "call.trying": "trying",
    "call.ringing": "ringing",
    "call.early": "early",
    "call.answered": "answered",
    "call.ended": "ended",
}


def _absolute(path: str | Path) -> str:
    return os.path.abspath(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class RtpStats:
    """What the phone counted of a call's RTP (RFC 3550).

    Attributes:
        codec: its name in SDP.
        clock_rate: of its RTP timestamps, in Hz.
        packets_sent: RTP packets sent.
        packets_received: RTP packets received.
        bytes_sent: their payload.
        bytes_received: their payload.
        lost: packets that were to come and did not.
        reordered: packets that came out of order.
        duplicated: packets that came twice.
        discarded: packets that came too late to be played.
        jitter_ms: the mean interarrival jitter, in milliseconds.
        rtt_ms: the mean round trip by RTCP, in milliseconds; 0 until a report has come.
        first_sent_at: when the first packet was sent, in Unix seconds; 0 if none was.
        first_received_at: when the first packet came, in Unix seconds; 0 if none did.
    """

    codec: str = ""
    clock_rate: int = 0
    packets_sent: int = 0
    packets_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    lost: int = 0
    reordered: int = 0
    duplicated: int = 0
    discarded: int = 0
    jitter_ms: float = 0.0
    rtt_ms: float = 0.0
    first_sent_at: float = 0.0
    first_received_at: float = 0.0

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> RtpStats:
        """The statistics in an event or an answer."""
        names = {f.name for f in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in names})


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended.

    Attributes:
        by: `local` (the phone) or `remote`.
        status: the SIP status it ended with; 200 for a BYE, 408 for no answer at all.
        reason: its reason phrase.
        at: when, in Unix seconds.
        stats: the statistics of its media.
    """

    by: str
    status: int
    reason: str
    at: float
    stats: RtpStats


@dataclass(frozen=True, slots=True)
class Recording:
    """The WAV files of a recording, one for each direction: 16-bit mono, at the codec's rate."""

    received: Path
    sent: Path


class Call(Hearing):
    """A call of the phone, incoming or outgoing.

    Attributes:
        id: the phone's id of it; `Event.call` of its events.
        line: the line it is on; None if that was given back.
        sip_call_id: its Call-ID.
        remote_uri: the other side's URI.
        state: `calling`, `incoming`, `trying`, `ringing`, `early`, `answered` or `ended`.
    """

    def __init__(self, phone: Phone, line: Line | None, name: str) -> None:
        super().__init__(phone, name)
        self.line = line
        self.sip_call_id = ""
        self.remote_uri = ""
        self.state = "calling"
        self._messages: list[SipMessage] = []
        self._digits: list[str] = []
        self._digits_read = 0
        self._ended: Event | None = None

    def __repr__(self) -> str:
        return f"<Call {self.id} {self.remote_uri} {self.state}>"

    def learn(self, event: Event) -> None:
        """Take an event of this call; the phone tells."""
        name, data = event.name, event.data
        if name in ("sip.sent", "sip.received"):
            try:
                message = SipMessage.parse(
                    data["raw"],
                    direction=name.removeprefix("sip."),
                    at=event.at,
                    transport=data["transport"],
                    peer=data["peer"],
                )
            except ValueError:
                return
            self._messages.append(message)
        elif name == "dtmf.received":
            self._digits.append(data["digit"])
        elif name in _STATES:
            if self.state != "ended":
                self.state = _STATES[name]
            if name == "call.ended":
                self._ended = event
            elif name == "call.incoming":
                self.sip_call_id = data["sip_call_id"]
                self.remote_uri = data["from"]
                if self.line is not None:
                    self.line.arrived(self)

    async def _ask(self, op: str, request: protocol.Request) -> Mapping[str, Any]:
        return await self.phone.link.ask("POST", f"/calls/{self.id}/{op}", request)

    # --- its messages ------------------------------------------------------------------------

    @property
    def messages(self) -> Sequence[SipMessage]:
        """All its SIP messages so far, resent ones too, in the order of the wire."""
        return tuple(self._messages)

    def request_seen(self, method: str) -> SipMessage:
        """The first request `method` so far, sent or received.

        Raises:
            PhoneError: there was none.
        """
        for message in self._messages:
            if message.is_request and message.method == method:
                return message
        raise PhoneError(
            f"call {self.id} has no {method} so far", seen=[str(m) for m in self._messages]
        )

    @property
    def invite(self) -> SipMessage:
        """The INVITE it began with.

        Raises:
            PhoneError: there was none yet.
        """
        return self.request_seen("INVITE")

    @property
    def is_answered(self) -> bool:
        """Whether the call is up."""
        return self.state == "answered"

    def _message_of(self, event: Event) -> SipMessage:
        at, raw = event.at, event.data["raw"]
        return next(m for m in self._messages if m.at == at and m.raw == raw)

    async def _sip(
        self,
        direction: str | None,
        test: Callable[[SipMessage], bool],
        *,
        within: float,
        expected: str,
        or_event: Callable[[Event], bool] = lambda event: False,
    ) -> SipMessage:
        def match(event: Event) -> bool:
            if not self.mine(event):
                return False
            if event.name not in ("sip.sent", "sip.received"):
                return or_event(event)
            if direction is not None and event.name != f"sip.{direction}":
                return False
            try:
                return test(SipMessage.parse(event.data["raw"]))
            except ValueError:
                return False

        event = await self.wait(match, within=within, expected=expected, also_after_end=True)
        if event.name == "call.ended":
            return [m for m in self._messages if m.status][-1]
        return self._message_of(event)

    async def response(
        self, status: int, *, method: str = "INVITE", within: float = 5.0
    ) -> SipMessage:
        """Wait for a response with `status` to a request `method`, sent or received.

        Raises:
            DeadlineMissed: it did not come.
        """
        return await self._sip(
            None,
            lambda m: m.status == status and m.method == method,
            within=within,
            expected=f"a {status} to {method}",
        )

    async def response_to(self, method: str, *, within: float = 5.0) -> SipMessage:
        """Wait for the final response to a request `method`, sent or received.

        Raises:
            DeadlineMissed: it did not come.
        """
        return await self._sip(
            None,
            lambda m: m.status >= 200 and m.method == method,
            within=within,
            expected=f"a final response to {method}",
        )

    async def final_response(self, *, within: float = 5.0) -> SipMessage:
        """Wait for the final response to the INVITE; a challenge that was answered is none.

        Raises:
            DeadlineMissed: it did not come.
        """
        return await self._sip(
            None,
            lambda m: m.method == "INVITE" and m.status >= 200 and m.status not in (401, 407),
            within=within,
            expected="a final response to INVITE",
            or_event=lambda e: e.name == "call.ended" and e.data["status"] in (401, 407),
        )

    async def request(
        self, method: str, *, direction: str | None = None, within: float = 5.0
    ) -> SipMessage:
        """Wait for a request `method`; `direction` is `sent`, `received`, or either.

        Raises:
            DeadlineMissed: it did not come.
        """
        return await self._sip(
            direction,
            lambda m: m.is_request and m.method == method,
            within=within,
            expected=f"a {method}" + (f" {direction}" if direction else ""),
        )

    async def reply(self, request: SipMessage, *, within: float = 5.0) -> SipMessage:
        """Wait for the final response to `request`, told by its CSeq.

        Raises:
            DeadlineMissed: it did not come.
        """
        return await self._sip(
            None,
            lambda m: m.status >= 200 and (m.method, m.cseq) == (request.method, request.cseq),
            within=within,
            expected=f"a final response to {request.method} {request.cseq}",
        )

    # --- its progress ------------------------------------------------------------------------

    async def trying(self, *, within: float = 2.0) -> Event:
        """Wait for 100.

        Raises:
            CallFailed: the call ended first.
            DeadlineMissed: it did not come.
        """
        return await self._until("call.trying", within, "100 Trying")

    async def ringing(self, *, within: float = 5.0) -> Event:
        """Wait for 180.

        Raises:
            CallFailed: the call ended first.
            DeadlineMissed: it did not come.
        """
        return await self._until("call.ringing", within, "180 Ringing")

    async def early(self, *, within: float = 5.0) -> Event:
        """Wait for 183, or any provisional response with SDP.

        Raises:
            CallFailed: the call ended first.
            DeadlineMissed: it did not come.
        """
        return await self._until("call.early", within, "183 Session Progress")

    async def answered(self, *, within: float = 5.0) -> Event:
        """Wait until the call is up: 200 and ACK.

        Raises:
            CallFailed: the call ended first; has its status.
            DeadlineMissed: neither happened.
        """
        try:
            return await self._until("call.answered", within, "200 OK")
        except DeadlineMissed as error:
            statuses = [m.status for m in self._messages if m.status and m.direction == "received"]
            if statuses and max(statuses) < 200:
                error.cause = (
                    f"the other side sent {', '.join(map(str, dict.fromkeys(statuses)))} and then "
                    "nothing: livekit-sip does this when no dispatch rule matches, and when "
                    "nobody in the room publishes audio"
                )
            raise

    async def _until(self, name: str, within: float, what: str) -> Event:
        try:
            return await self.wait(
                lambda e: self.mine(e) and e.name == name, within=within, expected=what
            )
        except DeadlineMissed as error:
            ended = self._ended
            if ended is None:
                raise
            raise CallFailed(
                f"expected {what}, but the call ended with "
                f"{ended.data['status']} {ended.data['reason']}",
                status=ended.data["status"],
                reason=ended.data["reason"],
                seen=error.seen,
                evidence=error.evidence,
            ) from None

    async def ended(self, *, within: float = 5.0) -> Ended:
        """Wait until the call is over.

        Raises:
            DeadlineMissed: it is still up.
        """
        event = await self.wait(
            lambda e: self.mine(e) and e.name == "call.ended",
            within=within,
            expected="the call to end",
            also_after_end=True,
        )
        data = event.data
        return Ended(
            data["by"], data["status"], data["reason"], event.at, RtpStats.of(data["stats"])
        )

    async def rejected(self, status: int | None = None, *, within: float = 5.0) -> SipMessage:
        """Wait until the INVITE is answered with a failure; the response.

        Args:
            status: which one; any by default.
            within: in seconds.

        Raises:
            CallFailed: it was answered, or failed with another status.
            DeadlineMissed: there was no final response.
        """
        final = await self.final_response(within=within)
        if final.status < 300 or (status is not None and final.status != status):
            wanted = str(status) if status is not None else "a rejection"
            raise CallFailed(
                f"expected {wanted}, got {final.status} {final.reason}",
                status=final.status,
                reason=final.reason,
                seen=[str(m) for m in self._messages],
            )
        return final

    # --- answering ---------------------------------------------------------------------------

    async def respond(
        self,
        status: int,
        reason: str | None = None,
        *,
        headers: HeaderInput = None,
        body: str | None = None,
        content_type: str = "text/plain",
        tone: float | None = None,
    ) -> None:
        """Answer the INVITE of an incoming call with `status`, provisional or final."""
        await self._ask(
            "respond",
            protocol.Respond(
                status=status,
                reason=reason or "",
                headers=header_list(headers),
                body=body or "",
                content_type=content_type if body else "",
                tone=tone,
            ),
        )

    async def ring(self, *, headers: HeaderInput = None) -> None:
        """Send 180."""
        await self.respond(180, headers=headers)

    async def early_media(self, *, tone: float | None = None, headers: HeaderInput = None) -> None:
        """Send 183 with SDP, and play `tone`."""
        await self.respond(183, headers=headers, tone=tone)

    async def answer(self, *, headers: HeaderInput = None, tone: float | None = None) -> None:
        """Send 200; `tone` is played from the first moment of media, in Hz."""
        await self.respond(200, headers=headers, tone=tone)

    async def reject(
        self,
        status: int = 486,
        reason: str | None = None,
        *,
        headers: HeaderInput = None,
        body: str | None = None,
        content_type: str = "text/plain",
    ) -> None:
        """Send a final failure response."""
        await self.respond(status, reason, headers=headers, body=body, content_type=content_type)

    async def redirect(self, uri: str, *, status: int = 302) -> None:
        """Send a redirection to `uri`."""
        await self.respond(status, headers=[("Contact", f"<{uri.strip('<>')}>")])

    # --- ending and changing -----------------------------------------------------------------

    async def hang_up(self, *, headers: HeaderInput = None, reason: str | None = None) -> None:
        """End the call: CANCEL before the answer, BYE after it; 603 for an incoming one.

        Args:
            headers: of the BYE or CANCEL.
            reason: the value of a Reason header (RFC 3326), as `Q.850;cause=16`.
        """
        if self._ended is not None:
            return
        pairs = header_list(headers)
        if reason:
            pairs.append(("Reason", reason))
        try:
            await self._ask("end", protocol.EndCall(headers=pairs))
        except PhoneError:
            if self._ended is None:
                raise

    async def cancel(self, *, headers: HeaderInput = None) -> None:
        """Give up a call that was not answered yet (CANCEL, RFC 3261 section 9)."""
        await self.hang_up(headers=headers)

    async def reinvite(self, *, headers: HeaderInput = None) -> None:
        """Send a re-INVITE that changes nothing."""
        await self._ask("reinvite", protocol.Reinvite(headers=header_list(headers)))

    async def hold(self) -> None:
        """Put the other side on hold: a re-INVITE with `a=sendonly` (RFC 3264 section 8.4)."""
        await self._ask("reinvite", protocol.Reinvite(kind="hold"))

    async def unhold(self) -> None:
        """Resume: a re-INVITE with `a=sendrecv`."""
        await self._ask("reinvite", protocol.Reinvite(kind="unhold"))

    async def transfer(self, uri: str, *, headers: HeaderInput = None) -> None:
        """Ask the other side to call `uri` instead (REFER, RFC 3515)."""
        await self._ask("transfer", protocol.Transfer(uri=uri, headers=header_list(headers)))

    async def transfer_to(self, other: Call, *, headers: HeaderInput = None) -> None:
        """Ask the other side to replace `other`, a call of the same line (RFC 3891)."""
        await self._ask(
            "transfer", protocol.Transfer(replaces=other.id, headers=header_list(headers))
        )

    async def transfer_requested(self, *, within: float = 5.0) -> SipMessage:
        """Wait for a REFER; the line's `refer_policy` answers it.

        Raises:
            DeadlineMissed: it did not come.
        """
        return await self.request("REFER", direction="received", within=within)

    async def transferred(self, *, within: float = 5.0) -> Call:
        """Wait for the call that an accepted REFER made on this line.

        Raises:
            DeadlineMissed: none was made.
        """
        event = await self.wait(
            lambda e: self.mine(e) and e.name == "transfer.dialed",
            within=within,
            expected="a call to the transfer's target",
            also_after_end=True,
        )
        return self.phone.call(event.data["new_call"])

    async def send_request(
        self,
        method: str,
        *,
        headers: HeaderInput = None,
        body: str | None = None,
        content_type: str = "text/plain",
    ) -> None:
        """Send any request in the dialog: INFO, MESSAGE, OPTIONS."""
        await self._ask(
            "request",
            protocol.SendRequest(
                method=method,
                headers=header_list(headers),
                body=body or "",
                content_type=content_type if body else "",
            ),
        )

    # --- DTMF --------------------------------------------------------------------------------

    @property
    def digits(self) -> str:
        """All digits received so far."""
        return "".join(self._digits)

    async def send_dtmf(
        self,
        digits: str,
        *,
        method: protocol.DtmfMethod = "rfc4733",
        duration_ms: int = 160,
        gap_ms: int = 80,
    ) -> None:
        """Send digits; returns at once, they follow one another.

        Args:
            digits: of `0123456789*#ABCD`.
            method: `rfc4733` (telephone-event in RTP) or `info` (SIP INFO).
            duration_ms: how long each is, in milliseconds.
            gap_ms: the silence behind each, in milliseconds.
        """
        await self._ask(
            "dtmf",
            protocol.SendDtmf(digits=digits, method=method, duration_ms=duration_ms, gap_ms=gap_ms),
        )

    async def dtmf(self, digits: str, *, within: float = 5.0) -> None:
        """Wait until exactly `digits` have been received, since the last such wait.

        Raises:
            DeadlineMissed: others came, or fewer; the error shows which.
        """
        start = self._digits_read

        def got() -> str:
            return "".join(self._digits[start:])

        def wrong(event: Event) -> bool:
            return event.name == "dtmf.received" and not digits.startswith(got())

        try:
            await self.wait(
                lambda e: self.mine(e) and e.name == "dtmf.received" and got() == digits,
                within=within,
                expected=f"the DTMF digits {digits!r}",
                unless=wrong,
                about=lambda e: e.name.startswith("dtmf."),
            )
        except DeadlineMissed as error:
            error.cause = f"received {got()!r}"
            raise
        self._digits_read = start + len(digits)

    # --- media -------------------------------------------------------------------------------

    async def play_tone(self, hz: float, *, level_dbov: float = -12.0) -> None:
        """Play a sine until told otherwise.

        Args:
            hz: its frequency, in Hz.
            level_dbov: its level, in dBov.
        """
        await self._ask("tone", protocol.PlayTone(hz=hz, level_dbov=level_dbov))

    async def stop_tone(self) -> None:
        """Play silence; packets go on."""
        await self._ask("tone", protocol.PlayTone(hz=0.0))

    async def silence(self) -> None:
        """Play silence; packets go on."""
        await self.stop_tone()

    async def play_wav(self, path: str | Path, *, loop: bool = False) -> None:
        """Play a 16-bit WAV file; the event `media.played` tells its end."""
        await self._ask("wav", protocol.PlayWav(path=_absolute(path), loop=loop))

    async def record(self) -> Recording:
        """Begin to record both directions; the files grow until the call ends."""
        return self._recording(await self._ask("record", protocol.Record()))

    async def stop_recording(self) -> Recording:
        """End the recording."""
        return self._recording(await self._ask("record", protocol.Record(on=False)))

    @staticmethod
    def _recording(answer: Mapping[str, Any]) -> Recording:
        return Recording(Path(answer["received"]), Path(answer["sent"]))

    async def level_in(self) -> float:
        """The level of the last 20 ms received, in dBov."""
        return float((await self._ask("levels", protocol.Simple()))["in"])

    async def level_out(self) -> float:
        """The level of the last 20 ms sent, in dBov."""
        return float((await self._ask("levels", protocol.Simple()))["out"])

    async def stats(self) -> RtpStats:
        """The statistics of its media so far, or at its end."""
        if self._ended is not None:
            return RtpStats.of(self._ended.data["stats"])
        return RtpStats.of(await self._ask("stats", protocol.Simple()))
