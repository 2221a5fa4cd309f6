"""What a replay gave against what was recorded: every difference, a line each."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from .media import CALLER_HZ
from .message import Message, digest_fields, digest_response
from .recording import Recording
from .replay import Replay
from .snapshot import NOT_COMPARED, attribute_differences
from .useragent import Key, collapsed

__all__ = ["differences"]

_STATUS_KEY = "sip.callStatus"


def differences(replay: Replay) -> list[str]:
    """All differences of a finished replay from its recording, without those to be ignored."""
    found = [f"not seen in time: {what}" for what in replay.missed]
    found += _api(replay)
    found += _sip(replay)
    found += _ringing(replay)
    for index, lines in sorted(replay.pictures.items()):
        label = replay.recording.snaps[index]["label"]
        found += [f"picture {label!r}: {line}" for line in lines]
    found += _room(replay)
    found += _media(replay)
    found += _times(replay)
    return [line for line in found if not any(part in line for part in replay.tune.ignore)]


# --- API ----------------------------------------------------------------------------------------


def _api(replay: Replay) -> Iterator[str]:
    for index, call in enumerate(replay.recording.api):
        where = f"API {index} {call['method']}"
        answer = replay.answers.get(index)
        if answer is None:
            yield f"{where}: no answer"
            continue
        if answer.http != call["http"]:
            yield (
                f"{where}: recorded http {call['http']} {json.dumps(call.get('error', ''))}, "
                f"now {answer.http} {json.dumps(answer.body)}"
            )
            continue
        if call["method"].startswith("RoomService/"):
            continue  # livekit-server's own
        recorded = _canonical(call.get("resp", call.get("error")), replay.names.recorded_view)
        live = _canonical(answer.body, replay.names.live_view)
        recorded, live = _either_order(recorded), _either_order(live)
        if recorded != live:
            yield f"{where}: recorded {recorded}, now {live}"


def _either_order(text: str) -> str:
    """`text` with two trunks or rules in conflict in one order: livekit-server's is of a map."""
    return re.sub(
        r'\\"(<[^>]+>)\\" and \\"(<[^>]+>)\\"',
        lambda match: " and ".join(sorted(match.groups())),
        text,
    )


def _canonical(value: Any, view: Any) -> str:
    """A JSON value as text: lists of messages sorted, what is unset left out."""

    def clean(item: Any) -> Any:
        if isinstance(item, Mapping):
            pairs = {key: clean(inner) for key, inner in item.items()}
            return {k: v for k, v in sorted(pairs.items()) if v not in ("", 0, False, None, [])}
        if isinstance(item, list):
            inside = [clean(inner) for inner in item]
            return sorted(inside, key=json.dumps) if isinstance(item[:1], list) else inside
        return view(item) if isinstance(item, str) else item

    return json.dumps(clean(value), sort_keys=True, ensure_ascii=False)


# --- SIP ----------------------------------------------------------------------------------------


def _sip(replay: Replay) -> Iterator[str]:
    recorded: dict[Key, list[Message]] = {}
    for index, entry in enumerate(replay.recording.sip):
        if entry["dir"] == "rx" and entry["t"] <= replay.tune.until:
            recorded.setdefault(replay.agent.key_of(index), []).append(
                Message.parse(_judged(entry["raw"], replay))
            )
    for key in recorded | replay.agent.messages:
        ours = collapsed(recorded.get(key, []))
        theirs = collapsed(replay.agent.messages.get(key, []))
        where = f"SIP {'requests' if key[2] else 'responses to'} [{key[1]}]"
        was, now = [m.title for m in ours], [m.title for m in theirs]
        if was != now:
            yield f"{where}: recorded {was}, now {now}"
            continue
        for before, after in zip(ours, theirs, strict=True):
            yield from _message(f"{where} {before.title}", before, after, replay)


def _message(where: str, recorded: Message, live: Message, replay: Replay) -> Iterator[str]:
    before = replay.names.recorded_view(recorded.start)
    after = replay.names.live_view(live.start)
    if before != after:
        yield f"{where}: recorded {before!r}, now {after!r}"
    view = Message.parse(_judged(live.text, replay))
    ours = _headers(recorded, replay.names.recorded_view)
    theirs = _headers(view, replay.names.live_view)
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            yield f"{where}, {name}: recorded {ours.get(name)}, now {theirs.get(name)}"
    body = replay.names.recorded_view(recorded.body.replace("\r\n", "\n"))
    now = replay.names.live_view(live.body.replace("\r\n", "\n"))
    if body != now:
        yield f"{where}, body: recorded {body!r}, now {now!r}"
    if live.get("content-length") not in ("", str(len(live.body.encode()))):
        yield f"{where}: Content-Length is {live.get('content-length')}, the body is not"


def _headers(message: Message, view: Any) -> dict[str, list[str]]:
    result: dict[str, list[str]] = {}
    for name, value in message.headers:
        if name.lower() != "content-length":
            # The name decides for some patterns, so they are seen together.
            result.setdefault(name.lower(), []).append(view(f"{name}: {value}").partition(": ")[2])
    return result


def _judged(text: str, replay: Replay) -> str:
    """`text` with its digest response as whether it is right."""
    message = Message.parse(text)
    for header in ("authorization", "proxy-authorization"):
        fields = digest_fields(message.get(header))
        if fields.get("response"):
            right = any(
                digest_response(fields, message.method, password) == fields["response"]
                for password in replay.recording.passwords()
            )
            text = text.replace(fields["response"], "right" if right else "wrong")
    return text


def _ringing(replay: Replay) -> Iterator[str]:
    """A 180 that was repeated each second is repeated each second."""
    recording = replay.recording
    recorded: dict[Key, list[float]] = {}
    for index, entry in enumerate(recording.sip):
        if entry["dir"] == "rx" and entry["raw"].startswith("SIP/2.0 180"):
            recorded.setdefault(replay.agent.key_of(index), []).append(entry["t"])
    for key, times in recorded.items():
        if all(0.9 < gap < 1.1 for gap in _gaps(times)):
            live = _gaps(replay.agent.ringing.get(key, []))
            if not all(0.85 < gap < 1.15 for gap in live):
                yield f"SIP 180 of [{key[1]}]: recorded each second, now after {live}"


def _gaps(times: list[float]) -> list[float]:
    return [round(b - a, 2) for a, b in pairwise(times)]


# --- rooms --------------------------------------------------------------------------------------


def _callers(recording: Recording) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The SIP participants that were seen to come, each with the room events about it."""
    events = recording.room_events
    seen: list[str] = []
    for event in events:
        if event.get("kind") == 3 and event["identity"] not in seen:
            seen.append(event["identity"])
            yield event["identity"], [e for e in events if e.get("identity") == event["identity"]]


def _room(replay: Replay) -> Iterator[str]:
    for identity, events in _callers(replay.recording):
        where = f"participant {replay.names.recorded_view(identity)}"
        came = next(
            (e for e in replay.witness.about(identity) if e.name == "room.participant_connected"),
            None,
        )
        if came is None:
            continue  # not seen in time: said already
        first = next(e for e in events if e.get("kind") == 3)
        for key in ("name", "kind", "metadata"):
            if came.data[key] != first.get(key):
                yield f"{where}, {key}: recorded {first.get(key)!r}, now {came.data[key]!r}"
        # Attributes go on while a peer learns of the participant: _values looks at their way.
        later = {_STATUS_KEY}.union(*(event.get("changed", {}) for event in events))
        ours, theirs = (
            {key: value for key, value in attributes.items() if key not in later}
            for attributes in (first["attributes"], came.data["attributes"])
        )
        yield from attribute_differences(f"{where} on joining", ours, theirs, replay.names)
        yield from _values(where, identity, events, replay)
        gone = [e for e in events if e["event"] == "participant_disconnected"]
        reason = gone[-1].get("disconnect_reason") if gone else None
        left = replay.witness.webhook("participant_left", identity)
        if reason and left and left.get("disconnect_reason", "UNKNOWN_REASON") != reason:
            yield f"{where} left: recorded {reason}, now {left.get('disconnect_reason')}"
    recorded = [(e["digit"], e["code"]) for e in replay.recording.room_events
                if e["event"] == "sip_dtmf"]  # fmt: skip
    if recorded != replay.witness.digits():
        yield f"DTMF in the room: recorded {recorded}, now {replay.witness.digits()}"


def _values(
    where: str, identity: str, events: list[dict[str, Any]], replay: Replay
) -> Iterator[str]:
    """The values an attribute went through, in order."""
    recorded: dict[str, list[str]] = {}
    for event in events:
        for key, value in (event.get("changed") or event.get("attributes") or {}).items():
            if event["event"] != "participant_disconnected":
                recorded.setdefault(key, []).append(value)
    for key, before in recorded.items():
        ours = [replay.names.recorded_view(value) for value in before]
        theirs = [replay.names.live_view(value) for value in replay.witness.values(identity, key)]
        if key == _STATUS_KEY:
            yield from _hangup(where, identity, events, ours, theirs, replay)
            joined = replay.witness.webhook("participant_joined", identity) or {}
            if _same_way(ours, theirs, joined.get("attributes", {}).get(_STATUS_KEY, "")):
                continue
        if ours != theirs and key not in NOT_COMPARED:
            yield f"{where}, {key} over time: recorded {ours}, now {theirs}"


def _way(values: list[str]) -> list[str]:
    """The way of callStatus up to the hang-up, repetitions left out."""
    return [
        value
        for before, value in zip(["", *values], values, strict=False)
        if value not in (before, "", "hangup")
    ]


def _same_way(ours: list[str], theirs: list[str], joined: str) -> bool:
    """Whether callStatus went the same way.

    A peer learns of a participant a moment after it came, so on either side the first value may
    be missing. The webhook that told of the participant may know it.
    """
    recorded, live = _way(ours), _way([joined, *theirs])
    if recorded.count(recorded[0]) > 1:
        # One identity came several times for a moment each; a peer may miss one of them.
        return set(recorded) == set(live)
    return recorded in (live, live[1:], _way(theirs)) or live == recorded[1:]


def _hangup(
    where: str,
    identity: str,
    events: list[dict[str, Any]],
    ours: list[str],
    theirs: list[str],
    replay: Replay,
) -> Iterator[str]:
    """Whether callStatus became `hangup`, where somebody stayed long enough to see it."""
    left = replay.witness.webhook("participant_left", identity) or {}
    last = left.get("attributes", {}).get(_STATUS_KEY)
    now = "hangup" in theirs or last == "hangup"
    watched = any(e["event"] == "participant_disconnected" for e in events)
    if "hangup" in ours and not now:
        yield f"{where}, {_STATUS_KEY}: recorded hangup at the end, now {last}"
    elif watched and "hangup" not in ours and now:
        yield f"{where}, {_STATUS_KEY}: hangup at the end, recorded without"


# --- media and time -----------------------------------------------------------------------------


def _media(replay: Replay) -> Iterator[str]:
    for index, (stream, media) in enumerate(
        zip(replay.recording.rtp, replay.agent.media, strict=False)
    ):
        where = f"RTP at the phone ({index})"
        if stream["rx"] < 10:
            continue
        before, now = sorted(map(int, stream["pts"])), sorted(media.payload_types)
        if before != now:
            yield f"{where}, payload types: recorded {before}, now {now}"
        lengths = sorted(map(int, stream["payload_lens"]))
        if lengths != sorted(media.payload_lengths) and 9 not in now:
            yield f"{where}, payload sizes: recorded {lengths}, now {sorted(media.payload_lengths)}"
        if stream.get("first_loud") is None and "9" not in stream["pts"] and media.loud_at:
            yield f"{where}: recorded silence, now {sorted(set(media.tones))} Hz"
        keys = [(k["ev"], k["vol"], k["dur"], k["n"], k["end"]) for k in stream["dtmf_rx"]]
        live = [(k.key, k.volume, k.duration, k.packets, k.ended) for k in media.keys.values()]
        if keys != live:
            yield f"{where}, telephone-events: recorded {keys}, now {live}"
        starts = [k["t"] for k in stream["dtmf_rx"]]
        for was, seen in zip(
            _gaps(starts), _gaps([k.at for k in media.keys.values()]), strict=False
        ):
            if abs(was - seen) > 0.2:
                yield f"{where}, telephone-events: recorded {was} s apart, now {seen} s"
    expected = list(replay.tune.hears)
    audible = any(e["event"] == "first_audible_audio" for e in replay.recording.room_events)
    if audible and replay.caller_is_audible():
        expected.append(CALLER_HZ)
    for hz in expected:
        if not replay.witness.heard(hz):
            yield f"the room hears {sorted(set(replay.witness.tones()))} Hz, recorded {hz:g} Hz too"


def _times(replay: Replay) -> Iterator[str]:
    recorded = _moments(replay)
    moments = replay.moments()
    for first, second, *exact in replay.tune.times:
        if first not in moments or second not in moments:
            yield f"time from {first} to {second}: not seen"
            continue
        before = float(exact[0]) if exact else recorded[second] - recorded[first]
        now = moments[second] - moments[first]
        if abs(now - before) > 0.3 + before / 10:
            yield f"time from {first} to {second}: recorded {before:.2f} s, now {now:.2f} s"


def _moments(replay: Replay) -> dict[str, float]:
    moments: dict[str, float] = {}
    counts: Counter[str] = Counter()
    for index, entry in enumerate(replay.recording.sip):
        message = replay.agent.recorded_message(index)
        name = f"{entry['dir']} {message.status or message.method}"
        counts[name] += 1
        moments.setdefault(name, entry["t"])
        moments[f"{name} #{counts[name]}"] = entry["t"]
    for event in replay.recording.room_events:
        if event.get("kind") == 3 or event["event"] == "published":
            moments.setdefault("joined" if "kind" in event else "published", event["t"])
    for index, call in enumerate(replay.recording.api):
        moments[f"api {index}"] = call["t"]
        moments[f"answered {index}"] = call["t"] + call["dur"]
    for number, (at, _) in enumerate(replay.tune.do, start=1):
        moments.setdefault("key", at)
        moments[f"key #{number}"] = at
    return moments
