"""The user agent of a recording: it sends what was sent then, in the words of this run."""

from __future__ import annotations

import json
import re
import secrets
import string
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from .line import Line, open_line
from .media import Media
from .message import Message, digest_fields, digest_response, sdp_audio, with_content_length
from .recording import Recording
from .volatile import Names

__all__ = ["Key", "UserAgent", "collapsed", "word"]

#: A transaction as one side sees it: Call-ID, CSeq, whether it holds requests, our tag; all as
#: they were recorded.
Key = tuple[str, str, bool, str]


def collapsed(messages: list[Message]) -> list[Message]:
    """`messages` with the repetitions of a provisional response left out."""
    result: list[Message] = []
    for message in messages:
        if not (result and 100 < message.status < 200 and result[-1].status == message.status):
            result.append(message)
    return result


def word(length: int) -> str:
    """A random word of lower-case letters and digits."""
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(length))


class UserAgent:
    """All SIP and RTP addresses of a recording, under one roof.

    Attributes:
        messages: what the service sent, by transaction.
        ringing: when each 180 of a transaction came, on the monotonic clock.
        moments: when what was sent and received first, and for the how manieth time.
        media: the RTP ports, in the order of the recording's.
    """

    def __init__(self, recording: Recording, names: Names, changed: Callable[[], None]) -> None:
        self.messages: dict[Key, list[Message]] = defaultdict(list)
        self.ringing: dict[Key, list[float]] = defaultdict(list)
        self.moments: dict[str, float] = {}
        self.media: list[Media] = []
        self._counts: Counter[str] = Counter()
        self._recording = recording
        self._names = names
        self._changed = changed
        self._over = False
        self._lines: dict[str, Line] = {}
        self._line_of: dict[str, str] = {}
        self._media_of: dict[str, Media] = {}
        self._parsed = recording.messages()
        self._keys = [self._recorded_key(index) for index in range(len(self._parsed))]
        #: The recorded messages of each transaction of the service's, by their index.
        self.recorded: dict[Key, list[int]] = defaultdict(list)
        for index in self._indexes("rx"):
            self.recorded[self._keys[index]].append(index)
        self._answers_due = {_what(self._parsed[index]) for index in self._indexes("tx")}
        self._sent: dict[tuple[str, str, bool], float] = {}

    def _indexes(self, direction: str) -> list[int]:
        return [i for i, entry in enumerate(self._recording.sip) if entry["dir"] == direction]

    def _recorded_key(self, index: int) -> Key:
        message = self._parsed[index]
        theirs = message.is_request and self._recording.sip[index]["dir"] == "rx"
        tag = message.to_tag if theirs else message.from_tag
        return message.call_id, message.cseq, message.is_request, tag

    def key_of(self, index: int) -> Key:
        """The transaction that a recorded message belongs to."""
        return self._keys[index]

    def recorded_message(self, index: int) -> Message:
        """A recorded message, parsed."""
        return self._parsed[index]

    def moment(self, name: str, at: float) -> None:
        """Note when something happened: for the first time, and for the how manieth."""
        self.moments.setdefault(name, at)
        self._counts[name] += 1
        self.moments[f"{name} #{self._counts[name]}"] = at

    # --- our addresses ---------------------------------------------------------------------

    async def open(self, host: str, service: tuple[str, int]) -> None:
        """Bind ports, and name what is ours before anything is sent."""
        spoken = json.dumps(self._recording.sip)
        for recorded, transport in self._recording.own_ports().items():
            # A port that is only named in a trunk had nobody there who recorded.
            receive = self._receive if f":{recorded}" in spoken else _ignore
            line = await open_line(transport, host, service, receive)
            self._lines[recorded] = line
            self._names.learn("ua", f"127.0.0.1:{recorded}", f"{host}:{line.port}")
        for recorded in self._recording.media_ports():
            media = Media()
            await media.open(host)
            self.media.append(media)
            self._media_of[recorded] = media
        theirs = self._dialogs_of_theirs()
        for index in self._indexes("tx"):
            message = self._parsed[index]
            own_tag = message.from_tag if message.is_request else message.to_tag
            if own_tag and not own_tag.startswith("SCL_"):
                self._names.learn("tag", own_tag, word(max(8, len(own_tag))))
            if not message.is_request:
                continue
            if message.call_id not in theirs:
                self._names.learn("call-id", message.call_id, f"{word(16)}@sandbox")
            self._names.learn("branch", message.branch, f"z9hG4bK{word(12)}")
            port = re.search(r"127\.0\.0\.1:(\d+)", message.get("via"))
            if port and port[1] in self._lines:
                self._line_of.setdefault(message.call_id, port[1])

    def _dialogs_of_theirs(self) -> set[str]:
        """The Call-IDs that the service chose: those it was the first to use."""
        first: dict[str, str] = {}
        for entry, message in zip(self._recording.sip, self._parsed, strict=True):
            first.setdefault(message.call_id, entry["dir"])
        return {call_id for call_id, direction in first.items() if direction == "rx"}

    def end(self) -> None:
        """Take no more notice of what comes, and send no more RTP."""
        self._over = True
        for media in self.media:
            media.stop()

    def close(self) -> None:
        """Give the ports back."""
        for media in self.media:
            media.close()
        for line in self._lines.values():
            line.close()

    # --- what comes in ---------------------------------------------------------------------

    def _receive(self, text: str, at: float) -> None:
        if self._over:
            return
        message = Message.parse(text)
        call_id = self._names.recorded(message.call_id)
        if call_id == message.call_id and message.is_request:
            call_id = self._new_dialog(message)
        ours = message.to_tag if message.is_request else message.from_tag
        key = (call_id, message.cseq, message.is_request, self._names.recorded(ours))
        known = self.recorded.get(key, [])
        if known:
            position = min(len(self.messages[key]), len(known) - 1)
            self._pair(self._parsed[known[position]], message)
        if self._too_slow(key, text, at):
            return
        self.messages[key].append(message)
        if message.status == 180:
            self.ringing[key].append(at)
        if message.status == 200 and message.method == "INVITE":
            self._start_media(call_id, outbound=False)
        self.moment(f"rx {message.status or message.method}", at)
        self._changed()

    def _too_slow(self, key: Key, text: str, at: float) -> bool:
        """Whether this repeats what we answered when it was recorded, and have yet to answer now.

        A busy machine makes us late; the repetition is our doing.
        """
        before = self.messages[key]
        if not before or before[-1].text != text:
            return False
        call_id, cseq, is_request, _ = key
        if not is_request and before[-1].status != 200:
            return False
        number = cseq.split(" ")[0]
        wanted = (call_id, cseq, False) if is_request else (call_id, f"{number} ACK", True)
        # An answer takes a moment to arrive, too.
        return wanted in self._answers_due and at < self._sent.get(wanted, at) + 0.1

    def _new_dialog(self, message: Message) -> str:
        """The recorded Call-ID that a call out to us stands for, or its own."""
        for index in self._indexes("rx"):
            recorded = self._parsed[index]
            if recorded.method != message.method or not recorded.is_request:
                continue
            if not self._names.knows(recorded.call_id):
                self._names.learn("call-id", recorded.call_id, message.call_id)
                port = re.search(r"127\.0\.0\.1:(\d+)", recorded.uri)
                if port:
                    self._line_of[recorded.call_id] = port[1]
                return recorded.call_id
        return message.call_id

    def _pair(self, recorded: Message, live: Message) -> None:
        """Learn what the service calls things from a message and its recorded counterpart."""
        if live.is_request:
            self._names.learn("branch", recorded.branch, live.branch)
            before, now = recorded.from_tag, live.from_tag
        else:
            before, now = recorded.to_tag, live.to_tag
        self._names.learn("SCL" if before.startswith("SCL_") else "tag", before, now)
        for header in ("proxy-authenticate", "www-authenticate"):
            nonce = digest_fields(recorded.get(header)).get("nonce", "")
            self._names.learn("nonce", nonce, digest_fields(live.get(header)).get("nonce", ""))

    # --- what goes out ---------------------------------------------------------------------

    async def send(self, index: int) -> None:
        """Send a recorded message of ours."""
        recorded = self._recording.sip[index]["raw"]
        message = self._parsed[index]
        text = self._authorized(self._names.live(recorded), message)
        audio = sdp_audio(message.body)
        if audio and str(audio[1]) in self._media_of:
            port = self._media_of[str(audio[1])].port
            text = text.replace(f"m=audio {audio[1]} ", f"m=audio {port} ")
        text = with_content_length(text, recorded)
        line = self._lines[self._line_of.get(message.call_id, next(iter(self._lines)))]
        self.moment(f"tx {message.status or message.method}", time.monotonic())
        self._sent[_what(message)] = time.monotonic()
        await line.send(text)
        if message.status == 200 and audio:
            self._start_media(message.call_id, outbound=True)

    def _authorized(self, text: str, recorded: Message) -> str:
        """`text` with a digest that is right for the live challenge if the recorded one was."""
        for header in ("proxy-authorization", "authorization"):
            fields = digest_fields(recorded.get(header))
            if not fields:
                continue
            right = [
                password
                for password in self._recording.passwords()
                if digest_response(fields, recorded.method, password) == fields.get("response")
            ]
            live = digest_fields(Message.parse(text).get(header))
            response = digest_response(live, recorded.method, right[0] if right else "wrong")
            text = text.replace(live["response"], response)
        return text

    def _start_media(self, call_id: str, *, outbound: bool) -> None:
        """Send to where the other side's SDP says, if the recorded phone sent."""
        remote: Any = None
        for (known, _, is_request, _), messages in self.messages.items():
            if known == call_id and is_request == outbound:
                for message in messages:
                    remote = sdp_audio(message.body) or remote
        own: str = ""
        types: tuple[int, ...] = remote[2] if remote else ()
        for index in self._indexes("tx"):
            audio = sdp_audio(self._parsed[index].body)
            if self._parsed[index].call_id == call_id and audio and str(audio[1]) in self._media_of:
                own = own or str(audio[1])
                types = audio[2] if outbound else types
        if remote is None or not own:
            return
        streams = self._recording.rtp
        position = list(self._media_of).index(own)
        if position < len(streams) and streams[position]["sent"] > 1:
            self._media_of[own].start((remote[0], remote[1]), types[0])


def _what(message: Message) -> tuple[str, str, bool]:
    return message.call_id, message.cseq, message.is_request


def _ignore(text: str, at: float) -> None:
    """Nobody is there."""
