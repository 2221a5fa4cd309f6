"""The side that is transferred: answers a REFER, calls its target, reports with NOTIFYs (RFC 3515).

PJSIP would do it, but the binding hands its callback a copy of the parameters: neither the status
nor the new call that it sets arrives, and PJSIP then mixes up the old call with the new one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox.phone import protocol
from sandbox.phone.message import SipMessage
from sandbox.phone.service import pjsua_c
from sandbox.phone.service.worker import Refused

if TYPE_CHECKING:
    from sandbox.phone.service.line import Line

__all__ = ["NETWORK", "Transferee"]

#: livekit-sip 1.11.0 may miss a final answer that is there at once: a transfer fails as `canceled`,
#: a call out with "transaction failed to complete". No network is that fast: what the phone answers
#: by itself takes as long as over a short one, in seconds.
NETWORK = 0.01


class Transferee:
    """Handles the REFERs that a call receives."""

    def __init__(self, line: Line, tell: Callable[..., None], pjsip_id: Callable[[], int]) -> None:
        """Make one.

        Args:
            line: the line of the call, which has the policy.
            tell: tells an event of the call.
            pjsip_id: PJSIP's number of the call; -1 once it has ended.
        """
        self._line = line
        self._tell = tell
        self._pjsip_id = pjsip_id
        self._answered: dict[int, int] = {}

    def refer(self, message: SipMessage, wire: pjsua_c.Message) -> None:
        """Answer a REFER as the line's policy says, and follow it."""
        policy = self._line.refer
        again = message.cseq in self._answered
        status = self._answered.setdefault(message.cseq, policy.status)
        silent = (message.header("Refer-Sub") or "").strip().lower() == "false"
        time.sleep(NETWORK)
        wire.respond(status, "", [("Refer-Sub", "false")] if silent and status < 300 else ())
        if again:
            return
        target = (message.header("Refer-To") or "").strip()
        self._tell("transfer.requested", uri=target.strip("<>"), status=status)
        if status < 300 and policy.dial:
            notify = (lambda *_: None) if silent else self._notify
            referred_by = message.header("Referred-By")
            self._line.loop.call_soon(lambda: self._follow(target, referred_by, notify))

    def _follow(
        self, target: str, referred_by: str | None, notify: Callable[[int, str], None]
    ) -> None:
        notify(100, "Trying")
        headers = [("Referred-By", referred_by)] if referred_by else []
        try:
            leg = self._line.place(
                protocol.Dial(uri=target.strip("<>"), headers=headers),
                progress=lambda status, reason: self._line.loop.call_soon(
                    lambda: notify(status, reason)
                ),
            )
        except Refused as error:
            self._tell("transfer.failed", reason=str(error))
            notify(503, "Service Unavailable")
            return
        self._tell("transfer.dialed", new_call=leg.id)

    def _notify(self, status: int, reason: str) -> None:
        if self._pjsip_id() < 0:
            self._tell("transfer.failed", reason="NOTIFY was not sent: the call has ended")
            return
        state = "active;expires=60" if status < 200 else "terminated;reason=noresource"
        try:
            pjsua_c.send_request(
                self._pjsip_id(),
                "NOTIFY",
                [("Event", "refer"), ("Subscription-State", state)],
                f"SIP/2.0 {status} {reason}\r\n",
                "message/sipfrag;version=2.0",
            )
        except pjsua_c.PjError as error:
            self._tell("transfer.failed", reason=f"NOTIFY was not sent: {error}")
