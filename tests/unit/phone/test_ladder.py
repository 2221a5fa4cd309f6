"""A call's ladder has what it means and nothing of its run; it is compared with a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.errors import GoldenMismatch
from sandbox.phone.ladder import Ladder, awaited
from sandbox.phone.message import SipMessage

SDP = (
    "v=0\r\no=- 1 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\n"
    "m=audio {} RTP/AVP 9 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"
)


def _call(run: int, *, status: str = "486 Busy Here") -> list[SipMessage]:
    """One call, as two runs have it: other numbers, ports and tags."""
    caller, called, port = f"+1555{run}", f"+1666{run}", 5000 + run

    def message(direction: str, first: str, cseq: str, body: str = "") -> SipMessage:
        raw = (
            f"{first}\r\nVia: SIP/2.0/UDP 10.0.0.2:{port};branch=z9hG4bK{run}{cseq[-6:]}\r\n"
            f"From: <sip:{caller}@10.0.0.2>;tag=f{run}\r\nTo: <sip:{called}@10.0.0.1>\r\n"
            f"Call-ID: id{run}\r\nCSeq: {cseq}\r\nContact: <sip:x@10.0.0.2:{port}>\r\n\r\n{body}"
        )
        return SipMessage.parse(raw, direction=direction, peer=f"10.0.0.1:{port + 1}")

    uri = f"sip:{called}@10.0.0.1:{port + 1}"
    invite = message("sent", f"INVITE {uri} SIP/2.0", f"{run} INVITE", SDP.format(port + 2))
    again = [invite] * (run % 3)
    return [
        invite,
        *again,
        message("received", "SIP/2.0 100 Trying", f"{run} INVITE"),
        message("received", f"SIP/2.0 {status}", f"{run} INVITE"),
        message("sent", f"ACK {uri} SIP/2.0", f"{run} ACK"),
    ]


def test_two_runs_of_one_call_have_one_ladder() -> None:
    one, other = Ladder.of(_call(1), headers=["From"]), Ladder.of(_call(2), headers=["From"])
    assert one == other
    assert str(one).splitlines() == [
        "-> INVITE sip:<called>@<SIP service>  [audio RTP/AVP G722 PCMU telephone-event sendrecv]",
        "     From: <sip:<caller>@<host>>;tag=<tag>",
        "<- 100 Trying (INVITE)",
        "     From: <sip:<caller>@<host>>;tag=<tag>",
        "<- 486 Busy Here (INVITE)",
        "     From: <sip:<caller>@<host>>;tag=<tag>",
        "-> ACK",
        "     From: <sip:<caller>@<host>>;tag=<tag>",
    ]


@pytest.mark.parametrize("first", ["200", "487"])
def test_the_answer_to_a_cancel_stands_behind_it(first: str) -> None:
    invite, *_ = _call(1)

    def message(direction: str, line: str, method: str) -> SipMessage:
        raw = f"{line}\r\nVia: SIP/2.0/UDP h;branch={line}\r\nCSeq: {invite.cseq} {method}\r\n\r\n"
        return SipMessage.parse(raw, direction=direction, peer=invite.peer)

    answers = [
        message("received", "SIP/2.0 200 OK", "CANCEL"),
        message("received", "SIP/2.0 487 Request Terminated", "INVITE"),
    ]
    cancel = message("sent", f"CANCEL {invite.request_uri} SIP/2.0", "CANCEL")
    ladder = Ladder.of([invite, cancel, *(answers if first == "200" else reversed(answers))])
    assert ladder.lines[1:] == (
        "-> CANCEL",
        "<- 200 OK (CANCEL)",
        "<- 487 Request Terminated (INVITE)",
    )


def test_a_ladder_that_differs_shows_the_difference(tmp_path: Path) -> None:
    golden = tmp_path / "ladders" / "busy.txt"
    Ladder.of(_call(1)).matches_golden(golden, update=True)
    Ladder.of(_call(2)).matches_golden(golden)
    with pytest.raises(GoldenMismatch, match=r"the call is not as in busy\.txt") as error:
        Ladder.of(_call(2, status="603 Decline")).matches_golden(golden)
    assert "-<- 486 Busy Here (INVITE)" in error.value.seen
    assert "+<- 603 Decline (INVITE)" in error.value.seen
    assert "--sandbox-update-golden" in error.value.remedy
    assert error.value.evidence == str(golden)


def test_a_ladder_without_a_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(GoldenMismatch, match=r"there is no golden ladder new\.txt yet"):
        Ladder.of(_call(1)).matches_golden(tmp_path / "new.txt")


def test_a_call_without_messages_has_an_empty_ladder() -> None:
    assert str(Ladder.of([])) == ""


def test_a_ladder_is_whole_when_every_request_has_its_answer() -> None:
    call = _call(1)
    assert awaited(call) == ""
    assert awaited(call[:-1]) == "the ACK of the 486"
    assert awaited(call[:2]) == "the final response to INVITE"
    assert awaited([]) == ""
