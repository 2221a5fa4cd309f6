"""A call's messages and states, and the waits for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sandbox.errors import CallFailed, DeadlineMissed, PhoneError
from sandbox.phone.message import SipMessage
from sandbox.phone.results import Ended, RtpStats
from sandbox.phone.sound import Hearing
from sandbox.timeline import Event

if TYPE_CHECKING:
    from sandbox.phone.client import Phone
    from sandbox.phone.line import Line

__all__ = ["Progress"]

_STATES = {
    "call.incoming": "incoming",
    "call.trying": "trying",
    "call.ringing": "ringing",
    "call.early": "early",
    "call.answered": "answered",
    "call.ended": "ended",
}


class Progress(Hearing):
    """What happens to a call; `Call` adds what it does."""

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

    async def sip(
        self,
        direction: str | None,
        test: Callable[[SipMessage], bool],
        *,
        within: float,
        expected: str,
        or_event: Callable[[Event], bool] = lambda event: False,
    ) -> SipMessage:
        """Wait for a message that passes `test`; `direction` is `sent`, `received` or None.

        Raises:
            DeadlineMissed: it did not come.
        """

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
        return await self.sip(
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
        return await self.sip(
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
        return await self.sip(
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
        return await self.sip(
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
        return await self.sip(
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
