"""A caller that sends an INVITE, answers a challenge, keys a PIN, and hangs up.

Not the phone: it may send from any address of 127.0.0.0/8, any user part and any From host, and
twenty of it cost nothing. It knows just enough SIP (RFC 3261) to see what becomes of a call; the
sockets, the parser and the RTP are those of the recordings' user agent.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from sandbox.explain import Credentials, IncomingCall
from tests.conformance.line import UdpLine
from tests.conformance.media import Media
from tests.conformance.message import Message, digest_fields, digest_response, sdp_audio


@dataclass
class Dialled:
    """One call to `peer`; `place`, then look at `statuses`, then `end`."""

    call: IncomingCall
    peer: tuple[str, int]
    statuses: list[int] = field(default_factory=list)
    hung_up: bool = False
    #: The INVITE that counts: the one with credentials, if there was one.
    invite: str = ""

    def __post_init__(self) -> None:
        self._cseq = 0
        self._branch = ""
        self._to = ""
        self._sdp = ""
        self._ended = False
        self._line = UdpLine(self.peer, self._received)
        self._media = Media()

    # --- what became of it -----------------------------------------------------------------

    @property
    def final(self) -> int:
        """The final status of the INVITE that counts; 0 while there is none."""
        return next((status for status in self.statuses if status >= 200), 0)

    # --- what it does ----------------------------------------------------------------------

    async def place(self) -> None:
        """Send the INVITE."""
        await self._line.open(self.call.source)
        await self._media.open(self.call.source)
        self._send_invite("")

    async def key(self, digits: str) -> None:
        """Send digits as RFC 4733 events, each 100 ms long."""
        audio = sdp_audio(self._sdp)
        assert audio, "no audio in the answer"
        for digit in digits:
            self._media.press(digit)
        self._media.start((self.peer[0], audio[1]), 0)
        await self._media.pressed.wait()
        self._media.stop()

    def end(self) -> None:
        """CANCEL or BYE, as it stands."""
        if self._ended:
            return
        self._ended = True
        if 200 <= self.final < 300:
            if not self.hung_up:
                self._cseq += 1
                self._request("BYE", self._cseq, _branch())
        elif not self.final:
            self._request("CANCEL", self._cseq, self._branch)

    def close(self) -> None:
        """Close the sockets."""
        self._line.close()
        self._media.close()

    # --- the wire --------------------------------------------------------------------------

    @property
    def _uri(self) -> str:
        return f"sip:{self.call.to_user}@{self.peer[0]}:{self.peer[1]}"

    def _lines(self, method: str, cseq: int, branch: str) -> list[str]:
        call = self.call
        return [
            f"{method} {self._uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {call.source}:{self._line.port};branch={branch};rport",
            "Max-Forwards: 70",
            f"From: <sip:{call.from_user}@{call.from_host}>;tag={call.from_tag}",
            f"To: {self._to or f'<sip:{call.to_user}@{call.to_host}>'}",
            f"Call-ID: {call.call_id}",
            f"CSeq: {cseq} {method}",
        ]

    def _request(self, method: str, cseq: int, branch: str) -> None:
        lines = self._lines(method, cseq, branch)
        self._line.post("\r\n".join([*lines, "Content-Length: 0", "", ""]))

    def _send_invite(self, authorization: str) -> None:
        host = self.call.source
        sdp = (
            f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
            f"m=audio {self._media.port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\n"
            "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
        )
        self._cseq += 1
        self._branch = _branch()
        self._to = ""
        self.statuses.clear()
        lines = self._lines("INVITE", self._cseq, self._branch)
        lines.append(f"Contact: <sip:caller@{host}:{self._line.port}>")
        if authorization:
            lines.append(f"Proxy-Authorization: {authorization}")
        lines += [f"{name}: {value}" for name, value in self.call.headers]
        lines += ["Content-Type: application/sdp", f"Content-Length: {len(sdp)}", "", sdp]
        self.invite = "\r\n".join(lines)
        self._line.post(self.invite)

    def _received(self, text: str, at: float) -> None:
        message = Message.parse(text)
        if message.is_request:
            if message.method == "BYE":
                self.hung_up = True
                kept = ("via", "from", "to", "call-id", "cseq")
                lines = [f"{k}: {v}" for k, v in message.headers if k.lower() in kept]
                lines = ["SIP/2.0 200 OK", *lines, "Content-Length: 0", "", ""]
                self._line.post("\r\n".join(lines))
            return
        cseq = int(message.cseq.split()[0])
        if message.method != "INVITE" or cseq < (self._cseq if not self._ended else 0):
            return
        code = message.status
        first = code not in self.statuses
        self.statuses.append(code)
        if code < 200:
            return
        self._to = message.get("to")
        if code < 300:
            self._sdp = message.body
            self._request("ACK", cseq, _branch())
            if first and self._ended:
                # It was answered while the CANCEL was on its way.
                self._cseq += 1
                self._request("BYE", self._cseq, _branch())
            return
        self._request("ACK", cseq, self._branch)
        credentials = self.call.credentials
        if code == 407 and first and credentials and "Proxy-Authorization" not in self.invite:
            self._send_invite(self._proof(message, credentials))

    def _proof(self, challenge: Message, credentials: Credentials) -> str:
        fields = digest_fields(challenge.get("proxy-authenticate"))
        fields |= {"username": credentials.username, "uri": self._uri}
        fields["response"] = digest_response(fields, "INVITE", credentials.password or "")
        names = ("username", "realm", "nonce", "uri", "response")
        return "Digest " + ", ".join(f'{n}="{fields[n]}"' for n in names) + ", algorithm=MD5"


def _branch() -> str:
    return f"z9hG4bK{secrets.token_hex(8)}"
