"""A call, seen from the test: what it does, what happens to it, what it hears."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sandbox.errors import CallFailed, DeadlineMissed, PhoneError
from sandbox.phone import protocol
from sandbox.phone.ladder import Ladder, awaited
from sandbox.phone.link import HeaderInput, header_list
from sandbox.phone.message import SipMessage
from sandbox.phone.results import Ended, Recording, RtpStats
from sandbox.phone.sounding import Sounding
from sandbox.timeline import Event

__all__ = ["Call", "Ended", "Recording", "RtpStats"]


def _absolute(path: str | Path) -> str:
    return os.path.abspath(path)


class Call(Sounding):
    """A call of the phone, incoming or outgoing.

    Attributes:
        id: the phone's id of it; `Event.call` of its events.
        line: the line it is on; None if that was given back.
        sip_call_id: its Call-ID.
        remote_uri: the other side's URI.
        state: `calling`, `incoming`, `trying`, `ringing`, `early`, `answered` or `ended`.
    """

    def ladder(self, *, headers: Sequence[str] = ()) -> Ladder:
        """Its SIP messages so far, without what differs from run to run.

        Args:
            headers: the headers whose values are shown, by name.
        """
        return Ladder.of(self.messages, headers=headers)

    async def whole_ladder(self, *, headers: Sequence[str] = (), within: float = 5.0) -> Ladder:
        """Its ladder once it is over: every request has its answer, every 2xx its ACK.

        Raises:
            DeadlineMissed: it is not over, or an answer did not come.
        """
        await self.ended(within=within)
        if awaited(self.messages):
            await self.wait(
                lambda event: not awaited(self.messages),
                within=within,
                expected=awaited(self.messages),
                also_after_end=True,
            )
        return self.ladder(headers=headers)

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

    async def reinvite(self, *, headers: HeaderInput = None, within: float = 5.0) -> SipMessage:
        """Send a re-INVITE that changes nothing; returns when it was answered.

        Raises:
            CallFailed: it was refused.
            DeadlineMissed: it was not answered.
        """
        return await self._reinvite(protocol.Reinvite(headers=header_list(headers)), within)

    async def hold(self, *, within: float = 5.0) -> SipMessage:
        """Put the other side on hold: a re-INVITE with `a=sendonly` (RFC 3264 section 8.4).

        Raises:
            CallFailed: it was refused.
            DeadlineMissed: it was not answered.
        """
        return await self._reinvite(protocol.Reinvite(kind="hold"), within)

    async def unhold(self, *, within: float = 5.0) -> SipMessage:
        """Resume: a re-INVITE with `a=sendrecv`.

        Raises:
            CallFailed: it was refused.
            DeadlineMissed: it was not answered.
        """
        return await self._reinvite(protocol.Reinvite(kind="unhold"), within)

    async def _reinvite(self, request: protocol.Reinvite, within: float) -> SipMessage:
        ours = [m.cseq for m in self.messages if m.direction == "sent" and m.is_request]
        before = max(ours, default=0)
        await self._ask("reinvite", request)
        answer = await self.sip(
            "received",
            lambda m: m.method == "INVITE" and m.status >= 200 and m.cseq > before,
            within=within,
            expected="an answer to the re-INVITE",
        )
        if answer.status >= 300:
            raise CallFailed(
                f"the re-INVITE was refused with {answer.status} {answer.reason}",
                status=answer.status,
                reason=answer.reason,
            )
        return answer

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
        """Send a request in the dialog: INFO, MESSAGE, OPTIONS or a method of your own.

        Raises:
            PhoneError: it is one that PJSIP's session keeps to itself (INVITE, ACK, BYE, CANCEL,
                PRACK, UPDATE).
        """
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
