"""A recorded case as data: what was done and what was seen, in one order."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .message import Message, sdp_audio

__all__ = ["FOLDER", "PEER_HZ", "SERVICE", "Recording", "Step", "names"]

FOLDER = Path(__file__).with_name("recordings")

#: The address of the SIP service that was recorded.
SERVICE = "127.0.0.1:5270"

#: The tone that the recorded peers and agents made, in Hz.
PEER_HZ = 700.0


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of a recording.

    Attributes:
        at: seconds since the recording began.
        kind: what we do: `api`, `join`, `publish`, `leave`, `tx`, `snap`, `do`; or what we see:
            `rx`, `answered` (an API call), `room` (an event at a peer), `hears` and
            `keys` (the phone).
        data: the entry itself.
        index: of `api` and `answered`: which call; of `tx` and `rx`: which message.
    """

    at: float
    kind: str
    data: Any
    index: int = 0

    @property
    def ours(self) -> bool:
        """Whether it is something that we do."""
        return self.kind in ("api", "join", "publish", "leave", "tx", "snap", "do")


#: Seconds by which a kind is taken to be earlier than noted: its time was noted when it was over,
#: and to the millisecond only.
_EARLIER = {"snap": 0.001, "join": 0.001, "publish": 0.001}


@dataclass(slots=True)
class Recording:
    """One recorded case; see `trim.py` for what is kept of it."""

    case: str
    group: str
    doc: str
    number: str
    room: str
    api: list[dict[str, Any]] = field(default_factory=list)
    sip: list[dict[str, Any]] = field(default_factory=list)
    room_events: list[dict[str, Any]] = field(default_factory=list)
    snaps: list[dict[str, Any]] = field(default_factory=list)
    rtp: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def load(cls, name: str, change: Mapping[str, str] | None = None) -> Recording:
        """Read a case; `change` replaces texts of the file (a shorter timeout, say)."""
        text = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
        for old, new in (change or {}).items():
            assert old in text, f"{name}: {old} is not in the recording"
            text = text.replace(old, new)
        return cls(**json.loads(text))

    def messages(self) -> list[Message]:
        """The SIP messages, parsed, in the order of `sip`."""
        return [Message.parse(entry["raw"]) for entry in self.sip]

    def own_ports(self) -> dict[str, str]:
        """The ports at which the recorded user agents spoke SIP, and the transport of each."""
        ports: dict[str, str] = {}
        for entry, message in zip(self.sip, self.messages(), strict=True):
            text = message.get("via") if entry["dir"] == "tx" else ""
            if entry["dir"] == "rx" and message.is_request:
                text = message.uri
            found = re.search(r"127\.0\.0\.1:(\d+)", text)
            if found and found[1] != SERVICE.partition(":")[2]:
                tcp = "SIP/2.0/TCP" in text or "transport=tcp" in text
                ports.setdefault(found[1], "tcp" if tcp else "udp")
        for port in re.findall(r'"127\.0\.0\.1:(\d+)"', json.dumps([a["req"] for a in self.api])):
            ports.setdefault(port, "udp")
        return ports

    def media_ports(self) -> list[str]:
        """The ports at which the recorded user agents took RTP, in the order of `rtp`."""
        ports: list[str] = []
        for entry, message in zip(self.sip, self.messages(), strict=True):
            audio = sdp_audio(message.body) if entry["dir"] == "tx" else None
            if audio and audio[1] and str(audio[1]) not in ports:
                ports.append(str(audio[1]))
        return ports

    def answered(self, by: float) -> bool:
        """Whether a call had been answered at that time."""
        return any(
            message.status == 200 and message.method == "INVITE" and entry["t"] < by
            for entry, message in zip(self.sip, self.messages(), strict=True)
        )

    def passwords(self) -> list[str]:
        """The passwords that trunks of this case have."""
        return re.findall(r'"auth_password": "([^"]+)"', json.dumps([a["req"] for a in self.api]))

    def steps(self, more: Iterable[Step] = ()) -> list[Step]:
        """Everything that was done or seen, and `more`, in order."""
        return sorted([*self._steps(), *more], key=lambda s: s.at - _EARLIER.get(s.kind, 0.0))

    def _last_audible(self) -> Iterator[Step]:
        """The room hears the caller before the caller hangs up, if it ever did."""
        for event in self.room_events:
            if event["event"] == "first_audible_audio" and "BYE sip" in str(self.sip):
                yield Step(self._last_bye() - 0.01, "room", {**event, "event": "audible"})
                return

    def _heard_peer(self, stream: Mapping[str, Any]) -> bool:
        """Whether the phone heard the tone of the peer; above 1 kHz the recorder was misled."""
        tone = stream.get("freq_last_1s") or 0
        return abs(tone - PEER_HZ) < 10 or tone > 1000

    def _last_bye(self) -> float:
        return max(float(entry["t"]) for entry in self.sip if entry["raw"].startswith("BYE "))

    def _steps(self) -> Iterator[Step]:
        for index, call in enumerate(self.api):
            yield Step(call["t"], "api", call, index)
            # Times are rounded: an answer came before what was asked next.
            done = max(call["t"], call["t"] + call["dur"] - 0.002)
            yield Step(done, "answered", call, index)
        for index, entry in enumerate(self.sip):
            yield Step(entry["t"], entry["dir"], entry, index)
        for event in self.room_events:
            kind = {"joined": "join", "published": "publish", "left": "leave"}.get(event["event"])
            yield Step(event["t"], kind or "room", event)
        yield from self._last_audible()
        for index, snap in enumerate(self.snaps):
            yield Step(snap["t"], "snap", snap, index)
        for index, stream in enumerate(self.rtp):
            if stream.get("first_loud") is not None:
                tone = PEER_HZ if self._heard_peer(stream) else None
                prompted = '"pin":' in json.dumps(self.api)
                yield Step(stream["first_loud"], "hears", None if prompted else tone, index)
                if prompted and tone:
                    yield Step(self._last_bye() - 0.01, "hears", tone, index)
            for count, key in enumerate(stream["dtmf_rx"], start=1):
                yield Step(key["t_last"], "keys", count, index)


def names() -> list[str]:
    """All recorded cases, by name."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))
