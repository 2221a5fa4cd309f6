"""What an error prints."""

from __future__ import annotations

from sandbox.errors import CallFailed, DeadlineMissed, SandboxError, SetupError


def test_an_error_says_what_was_seen_why_what_to_do_and_where_to_look() -> None:
    error = SandboxError(
        "it broke",
        seen=["one", "two"],
        cause="a reason",
        remedy="do this",
        evidence="/a/log",
    )
    assert str(error).splitlines() == [
        "it broke",
        "  seen     one",
        "           two",
        "  cause    a reason",
        "  fix      do this",
        "  look at  /a/log",
    ]


def test_parts_that_are_not_known_are_left_out() -> None:
    assert str(SetupError("redis-server is missing")) == "redis-server is missing"


def test_a_failed_call_carries_its_sip_status() -> None:
    error = CallFailed("refused", status=486, reason="Busy Here")
    assert (error.status, error.reason) == (486, "Busy Here")


def test_a_wait_that_was_cut_short_says_by_what() -> None:
    error = DeadlineMissed(expected="an answer", within=2, ended_by="call.ended")
    assert error.what == "expected an answer, but before it came: call.ended"
