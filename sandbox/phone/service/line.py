"""A line in its worker: PJSIP's endpoint and account, its script, its calls by id."""

from __future__ import annotations

import os
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pjsua2 as pj

from sandbox.phone import protocol
from sandbox.phone.digest import Challenge
from sandbox.phone.message import SipMessage
from sandbox.phone.service import pjsua_c
from sandbox.phone.service.call import Leg
from sandbox.phone.service.worker import Loop, Refused, Wire

__all__ = ["Line"]

#: RTP ports: above those of livekit-sip (10000-20000), below those the system gives out.
_RTP_FIRST, _RTP_SPAN = 20000, 12000

_SRTP = {"off": 0, "optional": 1, "mandatory": 2}


_SOCKETS_KEPT = 0.6
_CALLS_AT_ONCE = 26  # two sockets each, and some are the line's own


class _Account(pj.Account):
    def __init__(self, line: Line) -> None:
        super().__init__()
        self._line = line

    def onIncomingCall(self, prm: Any) -> None:
        try:
            self._line.incoming(prm.callId, prm.rdata.wholeMsg)
        except Exception:
            traceback.print_exc()


class Line:
    """One PJSIP endpoint with one account."""

    def __init__(self, *, host: str, log: Path, directory: Path) -> None:
        """Start PJSIP with a UDP and a TCP transport on one port of `host`.

        Args:
            host: the address for SIP and RTP.
            log: PJSIP's log.
            directory: where recordings go.
        """
        self.host = host
        self.directory = directory
        self.loop = Loop()
        self.legs: dict[str, Leg] = {}
        self._closed: deque[float] = deque()
        self.script = protocol.Script(action="manual")
        self.refer = protocol.ReferPolicy()
        self.number = ""
        self.name = "?"
        self._next_call = 1
        self._by_sip_id: dict[str, str] = {}
        #: The id for the next INVITE that PJSIP sends with a Call-ID not seen before.
        self.outgoing = ""
        self._endpoint = self._start_endpoint(log)
        self.port = self._start_transports()
        self._endpoint.libStart()
        pjsua_c.keep_udp(True)
        pjsua_c.level_g722()
        pjsua_c.no_sound_card()
        self._tap = pjsua_c.Tap(self._message)
        self.stale_headers = pjsua_c.StaleHeaders()
        self.loop.after = self._after
        self._config: Any = None
        self._account: _Account | None = None
        self._options: dict[str, int] = {}
        self.capture = False
        self._codecs: list[str] = []
        self._credentials = ("*", "", "")
        self._challenge: Challenge | None = None
        self._unfinished: set[str] = set()
        self._when_empty: Callable[[], None] | None = None
        self.wire: Wire

    def _start_endpoint(self, log: Path) -> Any:
        pjsua_c.quiet()
        endpoint = pj.Endpoint()
        endpoint.libCreate()
        pjsua_c.check(endpoint.version.full)
        config = pj.EpConfig()
        config.uaConfig.threadCnt = 0
        config.uaConfig.mainThreadOnly = False
        config.uaConfig.maxCalls = 4
        config.logConfig.level = 4
        config.logConfig.consoleLevel = 0
        config.logConfig.msgLogging = 0
        config.logConfig.filename = str(log)
        config.logConfig.fileFlags = 0x1108 if log.exists() else 0
        media = config.medConfig
        media.threadCnt = 0
        media.hasIoqueue = False
        media.channelCount = 1
        media.noVad = True
        media.ecTailLen = 0
        endpoint.libInit(config)
        return endpoint

    def _start_transports(self) -> int:
        for _ in range(20):
            udp = pj.TransportConfig()
            udp.port = 0
            udp.boundAddress = self.host
            transport = self._endpoint.transportCreate(pj.TransportType.UDP, udp)
            port = int(self._endpoint.transportGetInfo(transport).localName.rpartition(":")[2])
            tcp = pj.TransportConfig()
            tcp.port = port
            tcp.boundAddress = self.host
            try:
                self._endpoint.transportCreate(pj.TransportType.TCP, tcp)
            except Exception:
                self._endpoint.transportClose(transport)
            else:
                return port
        raise RuntimeError("no port is free for both UDP and TCP")

    # --- the loop ----------------------------------------------------------------------------

    def run(self, commands: int, events: int) -> None:
        """Serve commands until `quit`."""
        self.wire = Wire(commands, events, self._command)
        self.wire.emit("line.ready", address=f"{self.host}:{self.port}")
        self.loop.run()
        os._exit(0)

    def _after(self) -> None:
        for leg in tuple(self.legs.values()):
            leg.after_events()

    def _command(self, op: str, body: Mapping[str, Any]) -> Any:
        target, _, name = op.partition(".")
        if target == "line":
            return self._on_line(name, body)
        call = str(body["call"])
        leg = self.legs.get(call)
        if leg is None:
            raise Refused(f"call {call} has ended, or never was", 404)
        request = protocol.decode(protocol.CALL_REQUESTS[name], body["request"])
        return leg.handle(request, name)

    def _on_line(self, name: str, body: Mapping[str, Any]) -> Any:
        if name == "open":
            self.name = str(body["line"])
            self._open(protocol.decode(protocol.OpenLine, body["request"]))
            return {}
        if name == "quit":
            self._quit(float(body["within"]))
            return {}
        request = protocol.decode(protocol.LINE_REQUESTS[name], body["request"])
        if isinstance(request, protocol.Script):
            self.script = request
            return {}
        if isinstance(request, protocol.ChallengeCalls):
            self._challenge = Challenge(**protocol.encode(request))
            return {}
        if isinstance(request, protocol.ReferPolicy):
            self.refer = request
            return {}
        assert isinstance(request, protocol.Dial)
        return self._dial(request)

    def _quit(self, within: float) -> None:
        self._challenge = None
        for leg in tuple(self.legs.values()):
            leg.hang_up(protocol.EndCall())
        if not self.legs and not self._unfinished:
            self.loop.call_soon(self.loop.stop)
            return
        self._when_empty = self.loop.stop
        self.loop.call_later(within, self._give_up)

    def _give_up(self) -> None:
        """The other side does not let the calls end; what was captured is kept all the same."""
        for leg in self.legs.values():
            leg.media.close()
        self.loop.stop()

    # --- the account -------------------------------------------------------------------------

    def _open(self, request: protocol.OpenLine) -> None:
        self.number = request.number
        self.capture = request.capture
        if request.capture:
            self._packets = pjsua_c.PacketTap(self._packet)
        self._options = {
            "use_srtp": _SRTP[request.srtp],
            "srtp_secure_signaling": 0,
        }
        pjsua_c.keep_udp(request.keep_udp)
        self._use_codecs(request.codecs)
        config = pj.AccountConfig()
        config.idUri = self.uri(request.number)
        config.regConfig.registerOnAdd = False
        self._config = config
        self._account = _Account(self)
        self._account.create(config, True)
        self._set_options()

    def _use_codecs(self, codecs: list[str]) -> None:
        if codecs == self._codecs:
            return
        try:
            pjsua_c.set_codec_priorities(codecs)
        except ValueError as error:
            raise protocol.BadRequest(str(error)) from None
        self._codecs = list(codecs)

    def _set_options(self) -> None:
        assert self._account is not None
        pjsua_c.set_account_options(
            self._account.id,
            rtp_address=self.host,
            rtp_port=_RTP_FIRST + os.getpid() * 16 % _RTP_SPAN,
            options=self._options,
        )

    def uri(self, user: str, host: str = "") -> str:
        """A SIP URI at this line."""
        return f"sip:{user}@{host or f'{self.host}:{self.port}'}"

    # --- calls -------------------------------------------------------------------------------

    def new_call_id(self) -> str:
        """An id that no call of this run has."""
        call = f"{self.name}.{self._next_call}"
        self._next_call += 1
        return call

    def account(self) -> Any:
        """The PJSIP account.

        Raises:
            Refused: the line is not open.
        """
        if self._account is None:
            raise Refused("the line is not open")
        return self._account

    def add(self, leg: Leg) -> None:
        """Keep a call."""
        self.legs[leg.id] = leg

    def remove(self, leg: Leg) -> None:
        """Forget a call that has ended, once PJSIP is done with it."""
        self.legs.pop(leg.id, None)
        self._closed.append(time.monotonic())
        if not self.legs and not self._unfinished and self._when_empty is not None:
            self._when_empty()

    def _check_sockets(self) -> None:
        """PJSIP has 64 sockets, keeps those of an ended call for 0.5 s, and aborts without one."""
        while self._closed and time.monotonic() - self._closed[0] > _SOCKETS_KEPT:
            self._closed.popleft()
        if len(self.legs) + len(self._closed) >= _CALLS_AT_ONCE:
            raise Refused(
                f"{len(self._closed)} calls of this line ended within {_SOCKETS_KEPT} s, and PJSIP "
                "has not freed their sockets yet: use another line, or place fewer",
                503,
            )

    def _dial(self, request: protocol.Dial) -> Any:
        leg = self.place(request)
        return {"call": leg.id, "sip_call_id": leg.sip_call_id}

    def place(
        self,
        request: protocol.Dial,
        progress: Callable[[int, str], None] = lambda status, reason: None,
    ) -> Leg:
        """Place a call; `progress` takes the status and reason of each response to it.

        Raises:
            Refused: PJSIP did not place it.
        """
        account = self.account()
        self._check_sockets()
        if request.codecs is not None:
            self._use_codecs(request.codecs)
        self._set_route(request)
        call = self.new_call_id()
        leg = Leg(self, account, call)
        leg.progress = progress
        self.add(leg)
        self.outgoing = call
        try:
            leg.dial(request)
        except Exception:
            self.legs.pop(call, None)
            raise
        finally:
            self.outgoing = ""
        self._by_sip_id[leg.sip_call_id] = call
        return leg

    def _set_route(self, request: protocol.Dial) -> None:
        """Give the account what this call wants of it: credentials, and where to send."""
        sip = self._config.sipConfig
        proxies = [leg_route(request)] if request.request_uri else []
        credentials = (request.realm, request.user, request.password)
        if (list(sip.proxies), self._credentials) == (
            proxies,
            credentials,
        ):
            return
        sip.proxies = pj.StringVector(proxies)
        sip.authCreds = pj.AuthCredInfoVector(
            [pj.AuthCredInfo("digest", request.realm, request.user, 0, request.password)]
            if request.user
            else []
        )
        self._credentials = credentials
        self.account().modify(self._config)
        self._set_options()

    def incoming(self, pjsip_id: int, raw: str) -> None:
        """PJSIP has a new incoming call."""
        message = SipMessage.parse(raw)
        call = self._by_sip_id.get(message.call_id) or self.new_call_id()
        self._by_sip_id[message.call_id] = call
        leg = Leg(self, self.account(), call, pjsip_id)
        self.add(leg)
        leg.arrived(message)

    def _packet(self, pjsip_id: int, sent: bool, rtcp: bool, peer: bytes, data: bytes) -> None:
        """An RTP or RTCP packet of PJSIP's call `pjsip_id`."""
        for leg in self.legs.values():
            if leg.media.capture is not None and leg.call.id == pjsip_id:
                leg.media.capture.packet(sent, rtcp, peer, data)

    # --- messages ----------------------------------------------------------------------------

    def _message(self, message: pjsua_c.Message) -> bool:
        raw = message.raw.decode("utf-8", "replace")
        try:
            parsed = SipMessage.parse(raw)
        except ValueError:
            parsed = None
        swallow = False
        opens = False
        call = ""
        if parsed is not None:
            call = self._by_sip_id.get(parsed.call_id, "")
            opens = parsed.is_request and parsed.method == "INVITE" and not parsed.to_tag
            if not call and opens:
                call = self.outgoing if message.sent else self.new_call_id()
                if call:
                    self._by_sip_id[parsed.call_id] = call
            swallow = not message.sent and opens and self.script.action == "silent"
            self._follow(parsed)
        self.wire.emit(
            "sip.sent" if message.sent else "sip.received",
            at=message.at,
            call=call,
            raw=raw,
            transport=message.transport,
            peer=message.peer,
            local=f"{self.host}:{self.port}",
            line=self.name,
        )
        if parsed is None or swallow:
            return swallow
        if opens and not message.sent and self._challenged(parsed, message):
            return True
        return call in self.legs and self.legs[call].saw(parsed, message)

    def _challenged(self, invite: SipMessage, wire: pjsua_c.Message) -> bool:
        challenge = self._challenge
        if challenge is None or challenge.accepts("INVITE", invite.header(challenge.answer_header)):
            return False
        reason = "Proxy Authentication Required" if challenge.proxy else "Unauthorized"
        wire.respond(challenge.status, reason, [challenge.header])
        return True

    def _follow(self, message: SipMessage) -> None:
        """Keep book of the INVITEs and BYEs that wait for their end."""
        key = f"{message.call_id} {message.method}"
        if message.method == "ACK":
            self._unfinished.discard(f"{message.call_id} INVITE")
        elif message.is_request and message.method in ("INVITE", "BYE"):
            self._unfinished.add(key)
        elif message.status >= 200 and message.method == "BYE":
            self._unfinished.discard(key)
        if not self._unfinished and not self.legs and self._when_empty is not None:
            # The transport still has the last message to send.
            self.loop.call_soon(self._when_empty)


def leg_route(request: protocol.Dial) -> str:
    """The hidden route that takes a call somewhere else than its Request-URI says.

    PJSIP leaves a Route header out of the message when its URI has the parameter `hide`.
    """
    uri = request.uri.strip("<>")
    if request.transport == "tcp" and ";transport=" not in uri:
        uri += ";transport=tcp"
    return f"<{uri};lr;hide>"
