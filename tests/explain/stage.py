"""Puts a configuration before livekit-server, places calls to it, and sees what becomes of them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from livekit import api

from sandbox import Event, Stack
from sandbox.explain import Explanation, IncomingCall, Outcome, explain
from tests.explain.caller import Dialled

#: How long a call that should be met with silence is listened to, in seconds after its 180.
SILENCE = 0.5
#: How long a call that should get somewhere may take.
PATIENCE = 4.0


@dataclass(frozen=True)
class Seen:
    """What became of a call.

    Attributes:
        outcome: in the words of the model.
        room: the room its caller joined, or `""`.
        participant: the participant as the webhook tells of it.
        statuses: what was on the wire.
    """

    outcome: Outcome | None
    room: str
    participant: dict[str, Any]
    statuses: tuple[int, ...]


async def write(
    stack: Stack,
    trunks: Sequence[api.SIPInboundTrunkInfo],
    rules: Sequence[api.SIPDispatchRuleInfo],
) -> None:
    """Make these the trunks and rules of the deployment, whatever the API would say of them.

    Straight into redis, where livekit-server reads them anew for every call: that takes a
    millisecond, and holds configurations too that Create refuses and Update lets through.
    """
    host, _, port = stack.endpoints.redis_address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    commands: list[tuple[bytes, ...]] = [(b"DEL", b"sip_inbound_trunk", b"sip_dispatch_rule")]
    commands += [
        (b"HSET", b"sip_inbound_trunk", t.sip_trunk_id.encode(), t.SerializeToString())
        for t in trunks
    ]
    commands += [
        (b"HSET", b"sip_dispatch_rule", r.sip_dispatch_rule_id.encode(), r.SerializeToString())
        for r in rules
    ]
    for command in commands:
        parts = [b"$%d\r\n%s\r\n" % (len(part), part) for part in command]
        writer.write(b"*%d\r\n%s" % (len(command), b"".join(parts)))
    for _ in commands:
        answer = await reader.readline()
        assert answer.startswith(b":"), answer
    writer.close()
    await writer.wait_closed()


def joined(stack: Stack, call_id: str, since: int) -> Event | None:
    def match(event: Event) -> bool:
        attributes = event.data.get("participant", {}).get("attributes", {})
        return (
            event.name == "webhook.participant_joined"
            and attributes.get("sip.callIDFull") == call_id
        )

    return stack.timeline.find(match, since=since)


async def place(
    stack: Stack,
    trunks: Sequence[api.SIPInboundTrunkInfo],
    rules: Sequence[api.SIPDispatchRuleInfo],
    call: IncomingCall,
) -> tuple[Explanation, Seen]:
    """Place one call; what the model says of its INVITE, and what was seen."""
    since = stack.timeline.mark()
    ends = stack.endpoints
    dialled = Dialled(call, (ends.sip_host, ends.sip_port))
    await dialled.place()
    try:
        keyed, invite = False, ""
        loop = asyncio.get_running_loop()
        placed = loop.time()
        while True:
            if invite != dialled.invite:
                # After a challenge it is the second INVITE that counts.
                invite = dialled.invite
                predicted = explain(trunks, rules, _as_sent(dialled))
            late = loop.time() - placed
            event = joined(stack, call.call_id, since)
            final = dialled.final
            if event is not None or final >= 300 or dialled.hung_up:
                break
            if final and call.pin is not None and _asked(predicted) and not keyed:
                keyed = True
                await dialled.key(f"{call.pin}#")
                placed = loop.time()
            # What should not come is waited for a while, what should come for longer.
            done = predicted.outcome is Outcome.SILENCE and 180 in dialled.statuses
            done = done or (bool(final) and predicted.outcome is Outcome.PIN_PROMPT)
            if late > (SILENCE if done else PATIENCE):
                break
            await asyncio.sleep(0.01)
        event = joined(stack, call.call_id, since)
        return predicted, _seen(dialled, event, keyed)
    finally:
        dialled.end()
        await asyncio.sleep(0.05)
        dialled.close()


def _asked(predicted: Explanation) -> bool:
    """Whether the call is asked for a PIN and has one to enter."""
    entered = predicted.call.pin is not None
    ended = predicted.outcome in (Outcome.WRONG_PIN, Outcome.ROOM, Outcome.ERROR)
    return predicted.outcome is Outcome.PIN_PROMPT or (entered and ended)


def _as_sent(dialled: Dialled) -> IncomingCall:
    sent = IncomingCall.from_invite(dialled.invite, source=dialled.call.source)
    return sent.with_changes(pin=dialled.call.pin)


def _seen(dialled: Dialled, event: Event | None, keyed: bool) -> Seen:
    statuses = tuple(dialled.statuses)
    if event is not None:
        room = event.data.get("room", {}).get("name", "")
        return Seen(Outcome.ROOM, room, event.data["participant"], statuses)
    final = dialled.final
    if 200 <= final < 300:
        outcome: Outcome | None = Outcome.PIN_PROMPT
        if keyed:
            outcome = Outcome.WRONG_PIN if dialled.hung_up else None
    else:
        outcome = {
            0: Outcome.SILENCE,
            401: Outcome.UNAUTHORIZED,
            404: Outcome.NOT_FOUND,
            407: Outcome.CHALLENGE,
            503: Outcome.ERROR,
        }.get(final)
    return Seen(outcome, "", {}, statuses)


def differences(predicted: Explanation, seen: Seen) -> list[str]:
    """What the model got wrong about a call."""
    outcome = predicted.outcome
    if outcome is Outcome.ERROR and 200 in seen.statuses:
        # An error behind the PIN prompt ends an answered call, as a wrong PIN does.
        outcome = Outcome.WRONG_PIN
    if seen.outcome is not outcome:
        return [f"outcome: predicted {outcome}, saw {seen.outcome} {seen.statuses}"]
    won = predicted.grant
    if predicted.outcome is not Outcome.ROOM or won is None:
        return []
    participant = seen.participant
    wrong = []
    pattern = re.escape(won.room).replace(re.escape("{random}"), "[A-Za-z0-9]{12}")
    if not re.fullmatch(pattern, seen.room):
        wrong.append(f"room: predicted {won.room}, saw {seen.room}")
    wrong += [
        f"{name}: predicted {getattr(won, name)!r}, saw {participant.get(name, '')!r}"
        for name in ("identity", "name", "metadata")
        if getattr(won, name) != participant.get(name, "")
    ]
    attributes = dict(participant.get("attributes", {}))
    for key in {*won.attributes, *attributes}:
        expected, found = won.attributes.get(key, ""), attributes.get(key, "")
        fits = re.escape(expected).replace(re.escape("{SCL_…}"), r"SCL_\w+")
        if not re.fullmatch(fits, found, re.DOTALL):
            wrong.append(f"attribute {key}: predicted {expected!r}, saw {found!r}")
    return wrong
