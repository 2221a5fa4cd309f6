"""A caller made of two sockets: sends an INVITE, answers a challenge, keys a PIN, and hangs up.

Not the phone: it may send from any address of 127.0.0.0/8, any user part and any From host, and
twenty of it cost nothing. It knows just enough SIP (RFC 3261) to see what becomes of a call.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import socket
import struct
from dataclasses import dataclass, field

from sandbox.explain import Credentials, IncomingCall

_STATUS = re.compile(r"SIP/2\.0 (\d{3})")
_KEYS = "0123456789*#"


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _header(message: str, name: str) -> str:
    found = re.search(rf"^{name}\s*:\s*(.*?)\r?$", message, re.IGNORECASE | re.MULTILINE)
    return found[1] if found else ""


@dataclass
class Dialled(asyncio.DatagramProtocol):
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
        self._changed = asyncio.Event()
        self._transport: asyncio.DatagramTransport | None = None
        self._rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._rtp.bind((self.call.source, 0))

    # --- what became of it -----------------------------------------------------------------

    @property
    def final(self) -> int:
        """The final status of the INVITE that counts; 0 while there is none."""
        return next((status for status in self.statuses if status >= 200), 0)

    async def wait_final(self, within: float) -> int:
        """The final status, or 0 when the time is up."""
        deadline = asyncio.get_running_loop().time() + within
        while not self.final:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                break
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                break
        return self.final

    # --- what it does ----------------------------------------------------------------------

    async def place(self) -> None:
        """Send the INVITE."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=(self.call.source, 0)
        )
        self._send_invite("")

    async def key(self, digits: str) -> None:
        """Send digits as RFC 4733 events, each 100 ms long."""
        found = re.search(r"^m=audio (\d+)", self._sdp, re.MULTILINE)
        assert found, "no audio in the answer"
        target = (self.peer[0], int(found[1]))
        sequence, stamp, source = secrets.randbelow(1 << 15), 160, secrets.randbelow(1 << 32)
        for digit in digits:
            for step in range(1, 9):
                ends = step > 5
                head = struct.pack(
                    "!BBHII", 0x80, 101 | (0x80 if step == 1 else 0), sequence, stamp, source
                )
                event = struct.pack(
                    "!BBH", _KEYS.index(digit), (0x80 if ends else 0) | 10, min(step, 5) * 160
                )
                self._rtp.sendto(head + event, target)
                sequence += 1
                if not ends:
                    await asyncio.sleep(0.02)
            stamp += 1600
            await asyncio.sleep(0.04)

    def end(self) -> None:
        """CANCEL or BYE, as it stands."""
        if self._ended or self._transport is None:
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
        if self._transport is not None:
            self._transport.close()
        self._rtp.close()

    # --- the wire --------------------------------------------------------------------------

    def _send(self, text: str) -> None:
        assert self._transport is not None
        self._transport.sendto(text.encode(), self.peer)

    @property
    def _uri(self) -> str:
        return f"sip:{self.call.to_user}@{self.peer[0]}:{self.peer[1]}"

    def _own(self) -> tuple[str, int]:
        assert self._transport is not None
        host, port = self._transport.get_extra_info("sockname")[:2]
        return str(host), int(port)

    def _lines(self, method: str, cseq: int, branch: str) -> list[str]:
        host, port = self._own()
        call = self.call
        return [
            f"{method} {self._uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:{port};branch={branch};rport",
            "Max-Forwards: 70",
            f"From: <sip:{call.from_user}@{call.from_host}>;tag={call.from_tag}",
            f"To: {self._to or f'<sip:{call.to_user}@{call.to_host}>'}",
            f"Call-ID: {call.call_id}",
            f"CSeq: {cseq} {method}",
        ]

    def _request(self, method: str, cseq: int, branch: str) -> None:
        self._send("\r\n".join([*self._lines(method, cseq, branch), "Content-Length: 0", "", ""]))

    def _send_invite(self, authorization: str) -> None:
        host, port = self._own()
        sdp = (
            f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
            f"m=audio {self._rtp.getsockname()[1]} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\n"
            "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
        )
        self._cseq += 1
        self._branch = _branch()
        self._to = ""
        self.statuses.clear()
        lines = self._lines("INVITE", self._cseq, self._branch)
        lines.append(f"Contact: <sip:caller@{host}:{port}>")
        if authorization:
            lines.append(f"Proxy-Authorization: {authorization}")
        lines += [f"{name}: {value}" for name, value in self.call.headers]
        lines += ["Content-Type: application/sdp", f"Content-Length: {len(sdp)}", "", sdp]
        self.invite = "\r\n".join(lines)
        self._send(self.invite)

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        message = data.decode(errors="replace")
        status = _STATUS.match(message)
        if status is None:
            if message.startswith("BYE "):
                self.hung_up = True
                kept = [
                    line
                    for line in message.split("\r\n\r\n")[0].split("\r\n")[1:]
                    if line.lower().startswith(("via", "from", "to", "call-id", "cseq"))
                ]
                self._send("\r\n".join(["SIP/2.0 200 OK", *kept, "Content-Length: 0", "", ""]))
                self._changed.set()
            return
        cseq = _header(message, "CSeq").split()
        if cseq[1:] != ["INVITE"] or int(cseq[0]) < (self._cseq if not self._ended else 0):
            return
        code = int(status[1])
        first = code not in self.statuses
        self.statuses.append(code)
        if code >= 200:
            self._to = _header(message, "To")
            if code < 300:
                self._sdp = message.partition("\r\n\r\n")[2]
                self._request("ACK", int(cseq[0]), _branch())
                if first and self._ended:
                    # It was answered while the CANCEL was on its way.
                    self._cseq += 1
                    self._request("BYE", self._cseq, _branch())
            else:
                self._request("ACK", int(cseq[0]), self._branch)
                if code == 407 and first and self.call.credentials and not self._authorized:
                    self._send_invite(self._proof(message, self.call.credentials))
        self._changed.set()

    @property
    def _authorized(self) -> bool:
        return "Proxy-Authorization" in self.invite

    def _proof(self, challenge: str, credentials: Credentials) -> str:
        fields = dict(re.findall(r'(\w+)="([^"]*)"', _header(challenge, "Proxy-Authenticate")))
        user, realm, nonce = credentials.username, fields["realm"], fields["nonce"]
        secret = _md5(f"{user}:{realm}:{credentials.password}")
        response = _md5(f"{secret}:{nonce}:{_md5(f'INVITE:{self._uri}')}")
        return (
            f'Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{self._uri}", '
            f'response="{response}", algorithm=MD5'
        )


def _branch() -> str:
    return f"z9hG4bK{secrets.token_hex(8)}"
