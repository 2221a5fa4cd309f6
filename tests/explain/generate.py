"""Random trunks, rules and calls, made so that near misses and collisions are common."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration
from livekit import api

from sandbox.explain import Credentials, IncomingCall

#: Spellings of few numbers, so that trunks, rules and calls meet and just miss each other.
CALLED = (
    "+15550001", "15550001", "+1 555 0001", "+1-555-0001", "(1)5550001", "1.555.0001",
    "+15550002", "15550002", "0015550001", "sales", "Sales", "+sales", "conv-8f3a", "*72",
    "+15550001;ext=3", "%2B15550001", "5550001",
)  # fmt: skip
CALLERS = (
    "+19990001", "19990001", "+1 999 0001", "+1-999-0001", "+19990002", "19990002", "anonymous",
    "bob", "Bob", "911", "99999", "zoë",
)  # fmt: skip
SOURCES = ("127.0.0.1", "127.0.0.2", "127.1.0.9")
ADDRESSES = (
    "127.0.0.1", "127.0.0.2", "127.0.0.0/24", "127.0.0.7/8", "10.0.0.0/8", "0.0.0.0/0",
    "pbx.example", "Pbx.Example", "127.0.0.*", "127.0.0.1 ", "sip:127.0.0.1", "sip://127.0.0.1",
    "127.0.0.1:5060", "127.0.0.1;x", "+127.0.0.1", "127.0.0.1/33", "192.0.2.1", "::1", "::/0",
    "127.0.0.1, 127.0.0.2", "*", "127.0.0.1/08",
)  # fmt: skip
HOSTS = ("127.0.0.1", "pbx.example", "Pbx.example", "192.0.2.1")
PINS = ("1234", "12", "1*4", "0")
HEADERS = ("X-Order", "x-order", "X-Tier", "P-Asserted-Identity", "X-Twilio-CallSid", "Subject")
AGENTS = ("alpha", "beta")


@dataclass(frozen=True)
class Case:
    """A configuration, and calls to it."""

    trunks: tuple[api.SIPInboundTrunkInfo, ...]
    rules: tuple[api.SIPDispatchRuleInfo, ...]
    calls: tuple[IncomingCall, ...]


def _some(rng: random.Random, pool: Sequence[str], chance: float, most: int = 3) -> list[str]:
    return rng.sample(pool, rng.randint(1, most)) if rng.random() < chance else []


def _trunk(rng: random.Random, number: int) -> api.SIPInboundTrunkInfo:
    trunk = api.SIPInboundTrunkInfo(
        sip_trunk_id=f"ST_{number}",
        name=f"trunk {number}",
        metadata="of the trunk",
        numbers=_some(rng, CALLED, 0.7),
        allowed_numbers=_some(rng, CALLERS, 0.3),
        allowed_addresses=_some(rng, ADDRESSES, 0.4),
    )
    draw = rng.random()
    if draw < 0.3:
        trunk.auth_username = "pbx"
    if 0.05 < draw < 0.35:
        trunk.auth_password = "right"
    if rng.random() < 0.4:
        trunk.include_headers = rng.choice((1, 1, 2))  # type: ignore[assignment]
    if rng.random() < 0.5:
        # Never two headers to one attribute: which of them wins is chance.
        names = rng.sample(("order", "tier", "sip.phoneNumber", "a"), 2)
        for header, name in zip(rng.sample(HEADERS, 2), names, strict=True):
            trunk.headers_to_attributes[header] = name
    if rng.random() < 0.2:
        trunk.ringing_timeout.CopyFrom(Duration(seconds=rng.randint(20, 90)))
    return trunk


def _rule(rng: random.Random, number: int, trunks: Sequence[str]) -> api.SIPDispatchRuleInfo:
    pin = rng.choice(PINS) if rng.random() < 0.2 else ""
    kind = rng.choice(("direct", "individual", "callee"))
    prefix = rng.choice(("", "call", "call-", "desk"))
    if kind == "direct":
        inner = api.SIPDispatchRule(
            dispatch_rule_direct=api.SIPDispatchRuleDirect(
                room_name=rng.choice(("lobby", "hall", "attic")), pin=pin
            )
        )
    elif kind == "individual":
        inner = api.SIPDispatchRule(
            dispatch_rule_individual=api.SIPDispatchRuleIndividual(
                room_prefix=prefix, pin=pin, no_randomness=rng.random() < 0.3
            )
        )
    else:
        inner = api.SIPDispatchRule(
            dispatch_rule_callee=api.SIPDispatchRuleCallee(
                room_prefix=prefix, pin=pin, randomize=rng.random() < 0.3
            )
        )
    rule = api.SIPDispatchRuleInfo(
        sip_dispatch_rule_id=f"SDR_{number}",
        name=f"rule {number}" if rng.random() < 0.7 else "",
        rule=inner,
        trunk_ids=_some(rng, [*trunks, *trunks, "ST_gone"], 0.5, 1 + bool(trunks)),
        inbound_numbers=_some(rng, CALLERS, 0.25),
        numbers=_some(rng, CALLED, 0.2),
        hide_phone_number=rng.random() < 0.15,
        metadata=rng.choice(("", "of the rule")),
        attributes=rng.choice(({}, {"tier": "gold", "order": "none"}, {"sip.phoneNumber": "rule"})),
    )
    if rng.random() < 0.25:
        names = rng.sample(AGENTS, rng.randint(1, 2))
        rule.room_config.agents.extend(
            api.RoomAgentDispatch(agent_name=name, metadata=f"for {name}") for name in names
        )
    return rule


def _fits(number: str) -> bool:
    """Whether a SIP user part carries it as it is."""
    return not set(number) & set(" ()")


def _call(
    rng: random.Random,
    number: int,
    wanted: Sequence[str],
    known: Sequence[str],
    taken: Collection[str],
) -> IncomingCall:
    called = [number for number in CALLED if _fits(number)]
    callers = [number for number in CALLERS if _fits(number)]
    to = rng.choice(wanted) if wanted and rng.random() < 0.6 else rng.choice(called)
    # No two calls of one caller at once: in one room they would throw each other out.
    free = [caller for caller in callers if caller not in taken]
    likely = [caller for caller in known if caller not in taken]
    caller = rng.choice(likely) if likely and rng.random() < 0.6 else rng.choice(free)
    headers = [(name, rng.choice(("one", "two", "Zoë"))) for name in rng.choices(HEADERS, k=3)]
    draw = rng.random()
    if draw < 0.35:
        credentials = None
    elif draw < 0.9:
        credentials = Credentials(username="pbx", password="right")
    else:
        wrong = rng.choice((("pbx", "wrong"), ("nobody", "right")))
        credentials = Credentials(username=wrong[0], password=wrong[1])
    pin = rng.choice((*PINS, "99", "")) if rng.random() < 0.4 else None
    return IncomingCall(
        from_user=caller,
        to_user=to,
        from_host=rng.choice(HOSTS),
        to_host="127.0.0.1",
        source=rng.choice(SOURCES),
        headers=tuple(headers) if rng.random() < 0.5 else (),
        credentials=credentials,
        pin=pin,
        call_id=f"call-{number}-{rng.getrandbits(40):x}",
        from_tag=f"tag{rng.getrandbits(32):x}",
    )


def case(seed: int, *, calls: int = 3) -> Case:
    """The configuration of a seed and its calls; the same each time."""
    rng = random.Random(seed)
    trunks = [_trunk(rng, i) for i in range(rng.choice((0, 1, 1, 2, 2, 3, 4)))]
    ids = [trunk.sip_trunk_id for trunk in trunks]
    rules = [_rule(rng, i, ids) for i in range(rng.choice((0, 1, 1, 2, 2, 3, 4)))]
    wanted = [n for trunk in trunks for n in trunk.numbers if _fits(n)]
    wanted += [n for one in rules for n in one.numbers if _fits(n)]
    known = [n for trunk in trunks for n in trunk.allowed_numbers if _fits(n)]
    known += [n for one in rules for n in one.inbound_numbers if _fits(n)]
    placed: list[IncomingCall] = []
    for number in range(calls):
        taken = {call.from_user for call in placed}
        placed.append(_call(rng, number, wanted, known, taken))
    return Case(tuple(trunks), tuple(rules), tuple(placed))
