"""What a recording alone does not tell: keys that were pressed, and the cases left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sandbox.agents.protocol import Behaviour

__all__ = ["LEFT_OUT", "SLOW", "FallSilent", "Press", "Publish", "Tune", "tune_of"]


@dataclass(frozen=True, slots=True)
class Press:
    """The phone presses keys (RFC 4733), each for as many milliseconds."""

    keys: str
    milliseconds: int = 100


@dataclass(frozen=True, slots=True)
class Publish:
    """The peer in the room publishes DTMF, one message for each digit."""

    digits: str


@dataclass(frozen=True, slots=True)
class FallSilent:
    """The phone sends no more RTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tune:
    """How one recording is replayed, where it differs from all others.

    Attributes:
        do: what was done besides API calls, SIP and joining, and when in the recording.
        change: texts of the recording replaced before it is replayed, such as a timeout.
        pace: the longest pause before a step, in seconds; None keeps the recorded pauses.
        times: pairs of moments whose distance must be as recorded, or as a number behind them
            says, within 0.3 s and 10 %: `tx INVITE`, `rx 486`, `rx BYE`, `api 2` (asked),
            `answered 2`, `key` (down), `pressed` (all keys), `joined`, `published`; the first of
            that name, or the third as `rx 200 #3`.
        hears: tones that the peer must have heard besides the caller's, in Hz.
        until: what was recorded later than this is not replayed, nor compared.
        alike: texts of which the service may choose any.
        window: how long silence is watched, in seconds.
        grants: of the token of each API call, in their order; all by default.
        ignore: differences that are no differences, as parts of their text, and why.
        agent: an agent worker that was registered as `rec-agent`, and what it does.
    """

    do: tuple[tuple[float, Press | Publish | FallSilent], ...] = ()
    change: Mapping[str, str] = field(default_factory=dict)
    pace: float | None = 0.03
    times: tuple[tuple[str, str] | tuple[str, str, float], ...] = ()
    hears: tuple[float, ...] = ()
    until: float = float("inf")
    alike: tuple[str, ...] = ()
    window: float = 0.4
    grants: tuple[Mapping[str, bool], ...] = ()
    ignore: Mapping[str, str] = field(default_factory=dict)
    agent: Behaviour | None = None


_TUNES: dict[str, Tune] = {
    # --- one answer or the other, by how soon livekit-sip has closed the call
    "bye_twice": Tune(ignore={"SIP responses to [3 BYE]: recorded ['200 OK'], now ['481": "late"}),
    # --- time is what they are about
    "in_join_later": Tune(pace=None, times=(("published", "rx 200"),)),
    "out_answer_4s": Tune(pace=None, times=(("api 1", "answered 1"),)),
    "max_call_duration": Tune(change={'"5s"': '"2s"'}, times=(("tx INVITE", "rx BYE", 2.0),)),
    "max_call_duration_ringing": Tune(
        change={'"4s"': '"2s"'}, times=(("tx INVITE", "rx 486", 2.0),)
    ),
    "out_max_duration": Tune(change={'"4s"': '"2s"'}, times=(("rx INVITE", "rx BYE", 2.0),)),
    "out_no_answer": Tune(change={'"3s"': '"1s"'}, times=(("rx INVITE", "rx CANCEL", 1.0),)),
    "out_no_answer_nowait": Tune(change={'"3s"': '"1s"'}, times=(("rx INVITE", "rx CANCEL", 1.0),)),
    "xfer_ring_timeout": Tune(change={'"3s"': '"1s"'}, times=(("api 2", "answered 2", 1.0),)),
    "invite_no_ack": Tune(times=(("rx 200", "rx 200 #2"), ("rx 200", "rx 200 #3"))),
    "in_drop_long": Tune(pace=None),
    "media_timeout_initial": Tune(pace=None, times=(("rx 200", "rx BYE"),)),
    "out_media_timeout": Tune(
        pace=None, do=((1.529, FallSilent()),), times=(("tx 200", "rx BYE"),)
    ),
    "out_api_timeout_nowait_ring60": Tune(pace=None, times=(("api 1", "answered 1"),)),
    "xfer_refer_silent": Tune(
        pace=None, times=(("rx REFER", "rx REFER #5"), ("api 2", "answered 2"))
    ),
    "pin_none": Tune(pace=None),
    # --- keys
    "dtmf_in": Tune(do=((1.496, Press("12#*AD0")),)),
    "dtmf_in_long": Tune(do=((1.383, Press("5", 1000)), (2.984, Press("6", 40)))),
    "dtmf_out": Tune(do=((1.487, Publish("15#")),), pace=0.5),
    "dtmf_out_no_te": Tune(do=((1.4, Publish("1")),), window=0.5),
    "out_dtmf_room": Tune(do=((1.4, Press("77#")), (1.401, Publish("3"))), pace=0.5),
    "out_dtmf": Tune(times=(("api 1", "answered 1"),)),
    "out_dtmf_short": Tune(times=(("api 1", "answered 1"),)),
    "out_dtmf_bad": Tune(times=(("api 1", "answered 1"),)),
    # --- PIN
    "pin_right": Tune(do=((3.163, Press("1234#")),), times=(("pressed", "joined", 1.23),)),
    "pin_wrong": Tune(do=((2.52, Press("9999#")),), times=(("pressed", "rx BYE", 1.93),)),
    "pin_wrong_generic": Tune(do=((2.5, Press("#")),)),
    "pin_timing": Tune(do=((3.2, Press("1234#")), (9.4, Press("9999#")))),
    # --- grants
    "authz": Tune(grants=({"call": True}, {"admin": True}, {"admin": True, "call": True})),
    # --- agents
    "agent_explicit": Tune(agent=Behaviour()),
    "agent_two": Tune(agent=Behaviour()),
    "agent_fail": Tune(agent=Behaviour(raises="on purpose")),
    "agent_existing_room": Tune(agent=Behaviour(), pace=1.0),
    "agent_with_pin": Tune(agent=Behaviour(), do=((6.1, Press("12#")),)),
    # --- what else needs a word
    "dup_callid": Tune(
        until=2.72,
        ignore={"sip_+15550003, sip.callStatus": "active a second after the 200, where it ends"},
    ),
    "out_numbers_multi": Tune(alike=("+111", "+222", "+333")),
    "out_dialtone": Tune(hears=(425.0,)),
}

#: Cases that take their time, replayed only with SANDBOX_CONFORMANCE_SLOW=1, and why.
SLOW: dict[str, str] = {
    "in_drop_long": "35 s of silence; in_no_trunk and others watch the same for a moment",
    "media_timeout_initial": "17 s: the service's default, which no API field shortens",
    "out_media_timeout": "15 s: the service's default, which no API field shortens",
    "out_api_timeout_nowait_ring60": "45 s of ringing; out_answer_4s shows the same in 4 s",
    "xfer_refer_silent": "30 s: livekit-server's own RPC deadline",
    "pin_none": "60 s of silence at the prompt; pin_right shows the prompt",
}

#: Cases that are not replayed, and why.
LEFT_OUT: dict[str, str] = {
    "agent_crash": "a worker dies in a call: needs a process of its own, see tests/e2e/agents",
    "agent_shutdown": "the worker calls ctx.shutdown(): see tests/e2e/agents",
    "agent_explicit_process": "measures how fast the process executor starts: see benchmarks",
}


def tune_of(name: str) -> Tune:
    """How the case `name` is replayed."""
    return _TUNES.get(name, Tune())
