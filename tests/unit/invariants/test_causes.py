"""The likely cause of a failing test, read off made-up events."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.timeline import Event
from sandbox.trace.causes import Cause, likely_cause
from tests.unit.invariants.made_up import caller, good_call, phone, sip, webhook


def _agent(name: str, at: float = 2.0, **data: Any) -> Event:
    return Event(source="agent", name=name, at=at, data={"agent": "a", **data})


ROOM = {"name": "lobby", "sid": "RM_1"}
JOINED = webhook(0.5, "participant_joined", participant=caller(), room=ROOM)


@pytest.mark.parametrize(
    ("event", "what"),
    [
        (_agent("host.died", code=-9), "agent worker died in mid-test (signal 9)"),
        (_agent("worker.exited", code=3), "agent worker died in mid-test (exit code 3)"),
        (_agent("job.failed", error="KeyError: 'x'", job="AJ_1"), "job raised: KeyError: 'x'"),
        (Event(source="stack", name="process.died", data={"part": "sip", "code": 2}),
         "sip died (exit code 2)"),
        (Event(source="phone", name="line.crashed",
               data={"line": "l1", "code": -6, "log_path": "/l"}), "line l1 crashed (signal 6)"),
    ],
)  # fmt: skip
def test_what_died_is_the_cause(event: Event, what: str) -> None:
    cause = likely_cause([JOINED, *good_call(), event])
    assert cause is not None
    assert what in cause.what
    assert cause.fix


def test_a_worker_that_the_test_killed_died_of_the_test() -> None:
    fault = Event(source="fault", name="fault.begins", at=1.9,
                  data={"text": "the worker of a is killed (SIGKILL)", "agent": "a"})  # fmt: skip
    cause = likely_cause([JOINED, *good_call(), fault, _agent("worker.exited", code=-9)])
    assert cause is not None
    assert cause.what.startswith("the test did it: the worker of a is killed")
    assert cause.lines()[2].startswith("fault  the worker of a is killed (SIGKILL) (the test did")
    other = likely_cause([JOINED, *good_call(), fault, _agent("host.died", code=-9)])
    assert other is not None
    assert "died in mid-test" in other.what
    assert other.seen[0].startswith("fault  ")


def test_a_worker_that_ended_in_peace_is_no_cause() -> None:
    heard = phone(1.1, "rtp.first_received")
    assert likely_cause([JOINED, *good_call(), heard, _agent("worker.exited", code=0)]) is None


def test_a_call_that_is_up_and_hears_nothing_is_one_way() -> None:
    up = [JOINED, *good_call()[:7], _agent("job.dtmf", at=3.5)]
    cause = likely_cause(up)
    assert cause is not None
    assert cause.what.startswith("one-way audio: no RTP has reached the phone on call l1.1")
    assert "127.0.0.1:6000" in cause.fix
    heard = [*up[:7], phone(1.2, "rtp.first_received"), *up[7:]]
    assert likely_cause(heard) is None


def test_a_caller_that_rings_in_an_empty_room() -> None:
    cause = likely_cause([sip(0.0, "INVITE"), sip(0.1, "SIP/2.0 180 Ringing"), JOINED])
    assert cause is not None
    assert "nobody there publishes an audio track (nobody else is there)" in cause.what


def test_an_invariant_that_the_calls_break_is_a_cause() -> None:
    calls = [*good_call(packets_received=0), phone(1.2, "rtp.first_received")]
    cause = likely_cause([JOINED, *calls])
    assert cause is not None
    assert cause.what.startswith("[one-way-audio] ")


def test_a_verdict_is_six_lines_at_most_and_begins_with_cause_and_mend() -> None:
    lines = Cause("it broke", "mend it", tuple(f"seen   {n}" for n in range(9))).lines()
    assert lines[:2] == ["cause  it broke", "fix    mend it"]
    assert len(lines) == 6
