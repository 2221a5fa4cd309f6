"""One call in its worker: PJSIP's call, its script, and what is told about it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import pjsua2 as pj

from sandbox.phone import protocol
from sandbox.phone.message import SipMessage
from sandbox.phone.service import pjsua_c
from sandbox.phone.service.dtmf import DtmfReceiver, DtmfSender
from sandbox.phone.service.media import Media
from sandbox.phone.service.transfer import NETWORK, Transferee
from sandbox.phone.service.worker import Refused

if TYPE_CHECKING:
    from sandbox.phone.service.line import Line

__all__ = ["Leg"]

_UNHOLD = 1  # PJSUA_CALL_UNHOLD
_NO_SDP_OFFER = 8  # PJSUA_CALL_NO_SDP_OFFER
_CONFIRMED, _DISCONNECTED = pj.InvState.CONFIRMED, pj.InvState.DISCONNECTED


def _prm(
    *,
    status: int = 0,
    reason: str = "",
    headers: protocol.HeaderList | None = None,
    body: str = "",
    content_type: str = "",
) -> Any:
    prm = pj.CallOpParam(True)
    if status:
        prm.statusCode = pj.StatusCode(status)
    prm.reason = reason
    for name, value in headers or ():
        header = pj.SipHeader()
        header.hName, header.hValue = name, value
        prm.txOption.headers.append(header)
    if body:
        prm.txOption.msgBody = body
        prm.txOption.contentType = content_type or "text/plain"
    prm.opt.audioCount = 1
    prm.opt.videoCount = 0
    return prm


#: The methods that PJSIP's INVITE session takes for its own.
_KEPT = frozenset({"INVITE", "ACK", "BYE", "CANCEL", "PRACK", "UPDATE"})


class _Call(pj.Call):
    """PJSIP's call; hands its callbacks on, and lets no exception through to C++."""

    def __init__(self, leg: Leg, account: Any, pjsip_id: int) -> None:
        super().__init__(account, pjsip_id)
        self._leg = leg

    def _pass(self, function: Any, *arguments: Any) -> None:
        try:
            function(*arguments)
        except Exception:
            traceback.print_exc()

    def onCallState(self, prm: Any) -> None:
        self._pass(self._leg.state_changed)

    def onCallMediaState(self, prm: Any) -> None:
        self._pass(self._leg.media.changed)

    def onStreamDestroyed(self, prm: Any) -> None:
        self._pass(self._leg.media.stream_ends)

    def onDtmfDigit(self, prm: Any) -> None:
        if prm.method == pj.DtmfMethod.SIP_INFO:
            self._pass(self._leg.heard_dtmf.info, prm.digit)

    def onDtmfEvent(self, prm: Any) -> None:
        if prm.method == pj.DtmfMethod.RFC2833:
            self._pass(
                self._leg.heard_dtmf.event, prm.digit, prm.timestamp, prm.duration, prm.flags
            )


class Leg:
    """A call, incoming or outgoing."""

    def __init__(self, line: Line, account: Any, call: str, pjsip_id: int = -1) -> None:
        self.id = call
        self.line = line
        self.sip_call_id = ""
        self.media = Media(line, self.tell, call)
        self.heard_dtmf = DtmfReceiver(self.tell)
        self._dtmf = DtmfSender(line.loop, self._send_digit)
        self._by = ""
        self._confirmed = False
        self._ended = False
        self._told: set[str] = set()
        self._response_headers: set[str] = set()
        #: Takes each response to the INVITE: status and reason.
        self.progress: Callable[[int, str], None] = lambda status, reason: None
        self.call: Any = _Call(self, account, pjsip_id)
        self.media.pjsip_call = self.call
        self._transferee = Transferee(line, self.tell, lambda: self.call.id if self.call else -1)

    def tell(self, name: str, **data: Any) -> None:
        """Tell an event of this call."""
        self.line.wire.emit(name, call=self.id, **data)

    # --- outgoing ----------------------------------------------------------------------------

    def dial(self, request: protocol.Dial) -> None:
        """Send the INVITE.

        Raises:
            Refused: PJSIP did not.
        """
        line = self.line
        if request.tone:
            self.media.voice.tone(request.tone, request.tone_level)
        prm = _prm(headers=request.headers)
        if not request.sdp:
            prm.opt.flag |= _NO_SDP_OFFER
        local = line.uri(request.caller or line.number, request.from_host)
        name = request.display_name.replace("\\", "\\\\").replace('"', '\\"')
        prm.txOption.localUri = f'"{name}" <{local}>' if name else f"<{local}>"
        target = request.request_uri or request.uri.strip("<>")
        if request.transport == "tcp" and not request.request_uri and ";transport=" not in target:
            target += ";transport=tcp"
        if request.to:
            prm.txOption.targetUri = target
        to = request.to or target
        try:
            self.call.makeCall(to if "<" in to else f"<{to}>", prm)
        except Exception as error:
            raise Refused(
                f"PJSIP did not place the call to {target}: {_words(error)}", 422
            ) from None
        self.sip_call_id = str(self.call.info.callIdString)

    # --- incoming ----------------------------------------------------------------------------

    def arrived(self, invite: SipMessage) -> None:
        """Tell of an incoming call, and do what the line's script says."""
        self.tell(
            "call.incoming",
            line=self.line.name,
            request_uri=invite.request_uri,
            **{
                "from": invite.header("From") or "",
                "to": invite.header("To") or "",
                "sip_call_id": invite.call_id,
            },
        )
        script = self.line.script
        if script.action == "manual":
            return
        if script.action == "early":
            self._tone(script.early_tone or None)
            self._respond(protocol.Respond(status=183))
        elif script.ring or script.action == "ring":
            self._respond(protocol.Respond(status=180))
        if script.action == "ring":
            return
        self.line.loop.call_later(max(script.after, NETWORK), lambda: self._finish(script))

    def _finish(self, script: protocol.Script) -> None:
        if self._ended or self._confirmed:
            return
        headers = list(script.headers)
        status = script.status
        if script.action == "redirect":
            status = status if 300 <= status < 400 else 302
            headers.insert(0, ("Contact", f"<{script.uri.strip('<>')}>"))
        self._respond(
            protocol.Respond(
                status=status,
                reason=script.reason,
                headers=headers,
                body=script.body,
                content_type=script.content_type,
                tone=script.tone or (0.0 if script.early_tone else None),
            )
        )

    def _tone(self, hz: float | None) -> None:
        if hz:
            self.media.voice.tone(hz, -12.0)
        elif hz is not None:
            self.media.voice.silence()

    def _respond(self, request: protocol.Respond) -> None:
        self._tone(request.tone)
        prm = _prm(
            status=request.status,
            reason=request.reason,
            headers=request.headers,
            body=request.body,
            content_type=request.content_type,
        )
        try:
            with self._fresh(request.headers):
                self.call.answer(prm)
        except Exception as error:
            raise Refused(f"PJSIP did not send {request.status}: {_words(error)}") from None

    def _fresh(self, headers: protocol.HeaderList) -> AbstractContextManager[None]:
        """While inside, a response has `headers`, and none of those before it."""
        names = [name.lower() for name, _ in headers]
        stale = {name: names.count(name) for name in self._response_headers}
        self._response_headers |= set(names)
        return self.line.stale_headers.kept(stale)

    # --- requests ----------------------------------------------------------------------------

    def handle(self, request: protocol.Request, name: str) -> Any:
        """Do what the client asks."""
        match request:
            case protocol.Respond():
                self._respond(request)
            case protocol.EndCall():
                self.hang_up(request)
            case protocol.Reinvite():
                self._reinvite(request)
            case protocol.Transfer():
                self._transfer(request)
            case protocol.SendRequest():
                self._send_request(request)
            case protocol.SendDtmf():
                return {"seconds": self._dtmf.send(request)}
            case protocol.PlayTone():
                self._tone(request.hz) if not request.hz else self.media.voice.tone(
                    request.hz, request.level_dbov
                )
            case protocol.PlayWav():
                self.media.play(request)
            case protocol.PlaySamples():
                self.media.play_samples(request)
            case protocol.Listen():
                self.media.tap.listen(request.on)
            case protocol.Record():
                return self.media.record(request.on, self.id)
            case protocol.Simple() if name == "stats":
                return self.media.stats()
            case protocol.Simple():
                return self.media.levels()
            case _:
                raise Refused(f"no {name} for a call", 400)
        return {}

    def hang_up(self, request: protocol.EndCall) -> None:
        """End the call; CANCEL, BYE or a final response."""
        if self._ended or self.call.id < 0:
            return
        self._by = self._by or "local"
        prm = _prm(status=request.status, reason=request.reason, headers=request.headers)
        with self._fresh(request.headers):
            self.call.hangup(prm)

    def _reinvite(self, request: protocol.Reinvite) -> None:
        prm = _prm(headers=request.headers)
        try:
            if request.kind == "hold":
                self.call.setHold(prm)
            else:
                prm.opt.flag = _UNHOLD if request.kind == "unhold" else 0
                self.call.reinvite(prm)
        except Exception as error:
            raise Refused(f"PJSIP did not send the re-INVITE: {_words(error)}") from None

    def _transfer(self, request: protocol.Transfer) -> None:
        prm = _prm(headers=request.headers)
        try:
            if request.replaces:
                other = self.line.legs.get(request.replaces)
                if other is None:
                    raise Refused(f"call {request.replaces} is not on this line", 404)
                self.call.xferReplaces(other.call, prm)
            else:
                self.call.xfer(f"<{request.uri.strip('<>')}>", prm)
        except Refused:
            raise
        except Exception as error:
            raise Refused(f"PJSIP did not send the REFER: {_words(error)}") from None

    def _send_request(self, request: protocol.SendRequest) -> None:
        if request.method.upper() in _KEPT:
            raise Refused(
                f"PJSIP sends {request.method} only by itself (another's aborts its process): "
                "use hold(), reinvite() or hang_up()",
                400,
            )
        try:
            pjsua_c.send_request(
                self.call.id, request.method, request.headers, request.body, request.content_type
            )
        except pjsua_c.PjError as error:
            raise Refused(f"PJSIP did not send {request.method}: {error}") from None

    def _send_digit(self, digit: str, request: protocol.SendDtmf) -> None:
        if self._ended:
            return
        prm = pj.CallSendDtmfParam()
        prm.digits = digit
        prm.duration = request.duration_ms
        if request.method == "info":
            prm.method = pj.DtmfMethod.SIP_INFO
        else:
            prm.method = pj.DtmfMethod.RFC2833
            pjsua_c.set_dtmf_duration(self.call.id, request.duration_ms)
        self.call.sendDtmf(prm)
        self.tell("dtmf.sent", digit=digit, method=request.method)

    # --- callbacks ---------------------------------------------------------------------------

    def state_changed(self) -> None:
        """PJSIP's call changed its state."""
        info = self.call.info
        if info.state == _CONFIRMED and not self._confirmed:
            self._confirmed = True
            self._by = ""
            self.tell("call.answered", status=200, **self.media.codec())
        elif info.state == _DISCONNECTED and not self._ended:
            self._ended = True
            stats = self.media.stats()
            self.media.ear.close()
            self.media.tap.close()
            self.tell(
                "call.ended",
                status=int(info.lastStatusCode),
                reason=info.lastReason,
                by=self._by or "local",
                answered=self._confirmed,
                stats=stats,
            )
            self.line.loop.call_soon(self._clean_up)

    def _clean_up(self) -> None:
        self.media.close()
        self.line.remove(self)
        # PJSIP gives the number of an ended call to a later one, and the binding's destructor hangs
        # up whatever call has that number: the object goes now, not when the collector finds it.
        self.call = self.media.pjsip_call = None

    def saw(self, message: SipMessage, wire: pjsua_c.Message) -> bool:
        """A message of this call passed the transport; True keeps it from PJSIP."""
        if message.is_request:
            return self._saw_request(message, wire)
        if message.method == "INVITE" and not self._confirmed:
            self._saw_response(message, sent=wire.sent)
        return False

    def _saw_request(self, message: SipMessage, wire: pjsua_c.Message) -> bool:
        if message.method == "INFO" and not wire.sent:
            self.heard_dtmf.relay(message.body)
        elif message.method in ("BYE", "CANCEL"):
            self._by = self._by or ("local" if wire.sent else "remote")
        elif message.method == "OPTIONS" and not wire.sent:
            # PJSIP answers 500 inside a dialog ("Unhandled by dialog usages").
            wire.respond(200, "OK", ())
            return True
        elif message.method == "REFER" and not wire.sent:
            self._transferee.refer(message, wire)
            return True
        elif message.method == "NOTIFY" and not wire.sent and message.body.startswith("SIP/2.0 "):
            self.tell("transfer.progress", status=int(message.body.split()[1]))
        return False

    def _saw_response(self, message: SipMessage, *, sent: bool) -> None:
        status = message.status
        if status not in (401, 407):
            self.progress(status, message.reason)
        if status >= 300:
            if status not in (401, 407):
                self._by = self._by or ("local" if sent else "remote")
            return
        sdp = bool(message.body)
        for name, wanted in (
            ("call.trying", status == 100),
            ("call.ringing", status == 180),
            ("call.early", 100 < status < 200 and (status == 183 or sdp)),
        ):
            if wanted and name not in self._told:
                self._told.add(name)
                self.tell(name, status=status, sdp=sdp, sent=sent)

    def after_events(self) -> None:
        """Called after each round of events."""
        if not self._ended:
            self.media.after_events()


def _words(error: Exception) -> str:
    """PJSIP's own words out of a binding's exception."""
    return " ".join(str(error).split())
