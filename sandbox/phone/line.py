"""A line of the phone, seen from the test: dialling from it, and what it does with calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from sandbox.errors import DeadlineMissed, UsageError
from sandbox.phone import protocol
from sandbox.phone.call import Call
from sandbox.phone.link import HeaderInput, header_list
from sandbox.phone.sound import crashed
from sandbox.timeline import Event

if TYPE_CHECKING:
    from sandbox.phone.client import Phone

__all__ = ["Credentials", "Line"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """Digest credentials for a 401 or 407 (RFC 3261 section 22).

    Attributes:
        user: the user name.
        password: the password.
        realm: the realm they are for; `*` is any.
    """

    user: str
    password: str = field(repr=False)
    realm: str = "*"


class Line:
    """A number with a SIP address of its own, in a process of its own.

    Attributes:
        id: the phone's name for it.
        number: the user part of its URI.
        address: `host:port`, for UDP and TCP alike.
    """

    def __init__(self, phone: Phone, name: str, number: str, address: str) -> None:
        self.phone = phone
        self.id = name
        self.number = number
        self.address = address
        self._arrived: list[Call] = []
        self._taken = 0
        self._scripted = False
        self._mark = phone.timeline.mark()

    def __repr__(self) -> str:
        return f"<Line {self.id} {self.uri}>"

    @property
    def uri(self) -> str:
        """Its SIP URI."""
        return f"sip:{self.number}@{self.address}"

    @property
    def host(self) -> str:
        """The host of its address."""
        return self.address.rpartition(":")[0]

    @property
    def port(self) -> int:
        """The port of its address."""
        return int(self.address.rpartition(":")[2])

    async def _ask(self, op: str, request: protocol.Request) -> Mapping[str, Any]:
        return await self.phone.link.ask("POST", f"/lines/{self.id}/{op}", request)

    async def dial(
        self,
        uri: str,
        *,
        caller: str | None = None,
        display_name: str | None = None,
        from_host: str | None = None,
        headers: HeaderInput = None,
        to: str | None = None,
        request_uri: str | None = None,
        transport: protocol.TransportName = "udp",
        credentials: Credentials | None = None,
        codecs: Sequence[str] | None = None,
        tone: float | None = None,
        tone_level: float = -12.0,
        sdp: bool = True,
    ) -> Call:
        """Call `uri`; returns when the INVITE is on its way.

        Args:
            uri: where the INVITE goes; also its Request-URI and its To, unless given.
            caller: the user of the From URI; the line's number by default.
            display_name: of the From header.
            from_host: the host of the From URI; the line's own by default.
            headers: further headers of the INVITE; a list of pairs may repeat a name.
            to: the To URI.
            request_uri: the Request-URI, for a call that goes elsewhere than it says.
            transport: `udp` or `tcp`. UDP is kept for a large INVITE too, unless the line was
                made with `keep_udp=False`.
            credentials: for a 401 or 407.
            codecs: what is offered, in this order; as the line by default.
            tone: what is played from the first moment of media, in Hz; silence by default.
            tone_level: its level, in dBov.
            sdp: False for an INVITE without an offer (RFC 3261 section 13.2.1).

        Raises:
            PhoneError: the phone refused, or is gone.
        """
        answer = await self._ask(
            "dial",
            protocol.Dial(
                uri=uri,
                caller=caller or "",
                display_name=display_name or "",
                from_host=from_host or "",
                headers=header_list(headers),
                to=to or "",
                request_uri=request_uri or "",
                transport=transport,
                user=credentials.user if credentials else "",
                password=credentials.password if credentials else "",
                realm=credentials.realm if credentials else "*",
                codecs=None if codecs is None else list(codecs),
                tone=tone or 0.0,
                tone_level=tone_level,
                sdp=sdp,
            ),
        )
        call = self.phone.call(answer["call"])
        call.sip_call_id = answer["sip_call_id"]
        call.remote_uri = to or request_uri or uri
        return call

    # --- incoming ----------------------------------------------------------------------------

    async def _script(self, script: protocol.Script) -> None:
        await self._ask("script", script)
        self._scripted = True

    async def answers(
        self,
        *,
        after: float = 0.0,
        ring: bool = True,
        headers: HeaderInput = None,
        tone: float | None = None,
    ) -> None:
        """Answer every incoming call: 180 unless `ring` is False, and 200 `after` seconds.

        Args:
            after: seconds before the 200.
            ring: whether a 180 comes first.
            headers: of the 200.
            tone: what is played from the answer on, in Hz.
        """
        await self._script(
            protocol.Script(
                action="answer",
                after=after,
                ring=ring,
                headers=header_list(headers),
                tone=tone or 0.0,
            ),
        )

    async def rejects(
        self,
        status: int = 486,
        reason: str | None = None,
        *,
        after: float = 0.0,
        ring: bool = False,
        headers: HeaderInput = None,
        body: str | None = None,
        content_type: str = "text/plain",
    ) -> None:
        """Reject every incoming call with `status`, 300 to 699.

        Raises:
            UsageError: the status does not reject.
        """
        if not 300 <= status <= 699:
            raise UsageError(f"{status} does not reject a call; 300 to 699 do")
        await self._script(
            protocol.Script(
                action="reject",
                status=status,
                reason=reason or "",
                after=after,
                ring=ring,
                headers=header_list(headers),
                body=body or "",
                content_type=content_type if body else "",
            ),
        )

    async def rings(self) -> None:
        """Send 180 to every incoming call, and nothing else (PJSIP sends its 100 first)."""
        await self._script(protocol.Script(action="ring"))

    async def silent(self) -> None:
        """Do not react to an INVITE at all: no 100, nothing. It is still in the events."""
        await self._script(protocol.Script(action="silent"))

    async def redirects(self, uri: str, *, status: int = 302) -> None:
        """Redirect every incoming call to `uri` (RFC 3261 section 21.3)."""
        await self._script(protocol.Script(action="redirect", uri=uri, status=status))

    async def early_media(
        self,
        *,
        tone: float | None = None,
        after: float = 1.0,
        answer_tone: float | None = None,
        headers: HeaderInput = None,
    ) -> None:
        """Send 183 with SDP and play `tone`, then answer `after` seconds and play another."""
        await self._script(
            protocol.Script(
                action="early",
                early_tone=tone or 0.0,
                after=after,
                tone=answer_tone or 0.0,
                headers=header_list(headers),
            ),
        )

    async def manual(self) -> None:
        """Leave incoming calls to the test (`incoming`); how a new line begins."""
        await self._script(protocol.Script(action="manual"))

    async def challenges(
        self,
        username: str,
        password: str,
        *,
        realm: str = "sandbox",
        algorithm: Literal["MD5", "SHA-256"] = "MD5",
        qop: str = "auth",
        proxy: bool = False,
    ) -> None:
        """Ask every caller for digest credentials before the line does what it does otherwise.

        A line that was not told what it does answers.

        Args:
            username: the user name that is let in.
            password: its password.
            realm: told to the caller.
            algorithm: `MD5` or `SHA-256` (RFC 8760).
            qop: `auth`, or `""` for a challenge without qop.
            proxy: challenge with 407; False uses 401.
        """
        if not self._scripted:
            await self.answers()
        await self._ask(
            "challenge",
            protocol.ChallengeCalls(
                username=username,
                password=password,
                realm=realm,
                algorithm=algorithm,
                qop=qop,
                proxy=proxy,
            ),
        )

    async def refer_policy(self, status: int = 202, *, dial: bool = True) -> None:
        """How a REFER is answered (RFC 3515).

        Args:
            status: of the response; 202 by default.
            dial: whether an accepted one is followed by a call to its target and by NOTIFYs.
        """
        await self._ask("refer-policy", protocol.ReferPolicy(status=status, dial=dial))

    def arrived(self, call: Call) -> None:
        """An incoming call; the phone tells."""
        self._arrived.append(call)

    @property
    def calls(self) -> Sequence[Call]:
        """All incoming calls so far."""
        return tuple(self._arrived)

    async def incoming(self, *, within: float = 5.0) -> Call:
        """The next incoming call, in the order of their INVITEs.

        Args:
            within: in seconds.

        Raises:
            DeadlineMissed: none came.
            PhoneError: the line crashed.
        """
        position = self._taken
        try:
            await self.phone.wait(
                lambda event: len(self._arrived) > position,
                within=within,
                expected=f"a call to {self.uri}",
                since=self._mark,
                about=self._mine,
                unless=self._gone,
            )
        except DeadlineMissed:
            crash = self.phone.timeline.find(self._gone, since=self._mark)
            if crash is None:
                raise
            raise crashed(crash, f"a call to {self.uri}") from None
        self._taken = position + 1
        return self._arrived[position]

    def _mine(self, event: Event) -> bool:
        return event.source == "phone" and event.data.get("line") == self.id

    def _gone(self, event: Event) -> bool:
        return event.name == "line.crashed" and self._mine(event)

    async def close(self) -> None:
        """Give the line back; its calls end."""
        await self.phone.link.ask("DELETE", f"/lines/{self.id}")
        self.phone.forget(self)
