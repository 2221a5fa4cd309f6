"""participant-gone, room-gone, job-ended, calls-active and log-line, each broken and each kept."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sandbox.timeline import Event
from sandbox.trace.invariants.log_lines import LogLine, LogTail, allowed_lines, loud_line
from tests.unit.invariants.made_up import broken, caller, good_call, webhook

ROOM = {"sid": "RM_1", "name": "lobby"}
JOINED = webhook(0.5, "participant_joined", participant=caller(), room=ROOM)


def _left(at: float) -> Event:
    return webhook(at, "participant_left", participant=caller(), room=ROOM)


def test_a_participant_that_leaves_with_its_call() -> None:
    assert broken("participant-gone", [JOINED, *good_call(), _left(5.1)]) == []


def test_a_participant_that_stays_when_its_call_is_over() -> None:
    [what] = broken("participant-gone", [JOINED, *good_call(), _left(8.2)])
    assert what == "participant sip_+1555 was still in its room 3 s after call l1.1 was over"


def test_a_participant_that_never_leaves() -> None:
    assert broken("participant-gone", [JOINED]) == [
        "participant sip_+1555 was still in its room at the end"
    ]


@pytest.mark.parametrize(("published", "told"), [(4.95, 0), (5.05, 0), (4.8, 1), (5.2, 1)])
def test_a_participant_whom_the_server_keeps_as_its_track_comes(
    published: float, told: int
) -> None:
    track = webhook(published, "track_published", participant=caller(), room=ROOM)
    assert len(broken("participant-gone", [JOINED, track, *good_call(), _left(9.0)])) == told


def test_a_webrtc_participant_is_nobodys_call() -> None:
    peer = webhook(0.5, "participant_joined", participant={"sid": "PA_2"}, room=ROOM)
    assert broken("participant-gone", [peer]) == []


def test_a_room_that_is_still_there() -> None:
    started = webhook(0.1, "room_started", room=ROOM)
    assert broken("room-gone", [started]) == ["room lobby is still there"]
    assert broken("room-gone", [started, webhook(0.2, "room_finished", room=ROOM)]) == []


def test_a_job_that_does_not_end() -> None:
    entered = Event(source="agent", name="job.entered", data={"job": "AJ_1", "room": "lobby"})
    over = Event(source="agent", name="job.ended", data={"job": "AJ_1", "reason": ""})
    assert broken("job-ended", [entered]) == ["job AJ_1 of room lobby did not end"]
    assert broken("job-ended", [entered, over]) == []


def test_the_job_of_a_host_that_died_cannot_tell() -> None:
    entered = Event(source="agent", name="job.entered", data={"job": "AJ_1", "room": "lobby"})
    died = Event(source="agent", name="host.died", data={"code": -9})
    assert broken("job-ended", [entered, died]) == []


def test_a_job_that_failed_or_whose_process_died_is_over() -> None:
    data = {"job": "AJ_1", "room": "lobby", "agent": "a"}
    entered = Event(source="agent", name="job.entered", data=data)
    failed = Event(source="agent", name="job.failed", data={**data, "error": "E"})
    exited = Event(source="agent", name="worker.exited", data={"agent": "a", "code": -9})
    assert broken("job-ended", [entered, failed]) == []
    assert broken("job-ended", [entered, exited]) == []
    status = Event(source="agent", name="job.status", data={**data, "status": "failed"})
    running = Event(source="agent", name="job.status", data={**data, "status": "running"})
    assert broken("job-ended", [entered, running, status]) == []
    assert len(broken("job-ended", [entered, running])) == 1


def test_a_call_that_is_still_counted() -> None:
    assert broken("calls-active", [], active={"inbound": 1.0, "outbound": 0.0}) == [
        "the SIP service still counts 1 inbound call(s)"
    ]
    assert broken("calls-active", [], active={"inbound": 0.0}) == []
    assert broken("calls-active", [], active=None) == []


def test_a_line_that_complains() -> None:
    line = LogLine("sip", "ERROR", "no media port err=in use", "/run/sip.log")
    assert broken("log-line", [], lines=[line, line]) == [
        "sip ERROR: no media port err=in use (2 times)"
    ]
    assert broken("log-line", []) == []


# --- reading logs -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "level", "message"),
    [
        ('{"level":"warn","ts":1,"msg":"odd","error":"why"}', "WARN", "odd error=why"),
        ('{"ts":"t","level":"error","msg":"bad","err":"eof"}', "ERROR", "bad err=eof"),
        ("2026-01-31 12:00:00,000 WARNING livekit.agents slow", "WARN", "livekit.agents slow"),
        ("panic: runtime error", "ERROR", "panic: runtime error"),
    ],
)
def test_lines_of_warn_and_error_are_told(text: str, level: str, message: str) -> None:
    found = loud_line("sip", text)
    assert found is not None
    assert (found.level, found.text) == (level, message)


@pytest.mark.parametrize(
    "text",
    [
        '{"level":"info","msg":"no error"}',
        '{"level":"debug","msg":"warn me"}',
        "20695:M 24 Nov 2026 20:22:53.234 # WARNING Memory overcommit must be enabled!",
        "an ordinary line that ends in error",
    ],
)
def test_other_lines_are_not(text: str) -> None:
    assert loud_line("sip", text) is None


def test_only_what_a_log_grew_by_is_read(tmp_path: Path) -> None:
    log = tmp_path / "sip.log"
    log.write_text('{"level":"error","msg":"before"}\n')
    tail = LogTail(tmp_path)
    with log.open("a") as file:
        file.write('{"level":"info","msg":"fine"}\n{"level":"error","msg":"after"}\n')
        file.write('{"level": "warn", "msg": "with a gap"}\nlast words: panic: no newline')
    (tmp_path / "agent.log").write_text("2026-01-31 12:00:00,000 ERROR root new file\n")
    (tmp_path / "redis.log").write_text("2026-01-31 12:00:00,000 ERROR not judged\n")
    (tmp_path / "agent-desk-1.log").write_text('{"message": "not judged", "level": "ERROR"}\n')
    assert [str(line) for line in tail.lines()] == [
        "agent ERROR: root new file",
        "sip ERROR: after",
        "sip WARN: with a gap",
    ]


def test_a_line_of_before_that_comes_late_is_not_about_now(tmp_path: Path) -> None:
    log = tmp_path / "sip.log"
    log.touch()
    tail = LogTail(tmp_path)
    now = time.time()
    with log.open("a") as file:
        for at in (now - 1, f"{datetime.fromtimestamp(now - 1, UTC):%Y-%m-%dT%H:%M:%S.%f}000Z"):
            file.write(json.dumps({"ts": at, "level": "error", "msg": "late"}) + "\n")
        for at in (now + 1, f"{datetime.fromtimestamp(now + 1, UTC):%Y-%m-%dT%H:%M:%S.%f}000Z"):
            file.write(json.dumps({"ts": at, "level": "error", "msg": "now"}) + "\n")
    assert [str(line) for line in tail.lines()] == ["sip ERROR: now"] * 2


def test_every_allowed_line_has_a_reason() -> None:
    entries = allowed_lines()
    assert entries
    assert all(len(entry.reason) > 10 for entry in entries)


def test_an_allowed_line_is_that_of_its_log_and_service() -> None:
    known = LogLine("livekit-server", "WARN", "client error error=request timed out", "")
    assert any(entry.covers(known, "stand-in") for entry in allowed_lines())
    elsewhere = LogLine("sip", "WARN", known.text, "")
    assert not any(entry.covers(elsewhere, "stand-in") for entry in allowed_lines())
    theirs = LogLine("sip", "WARN", "Failed to ping without candidate pairs. Not yet.", "")
    assert any(entry.covers(theirs, "livekit-sip") for entry in allowed_lines())
    assert not any(entry.covers(theirs, "stand-in") for entry in allowed_lines())


@pytest.mark.parametrize(
    "text",
    [
        "Closing inbound call with error reason=media-timeout",
        "Cannot publish track error=track is too loud",
        "Cannot create LiveKit participant error=unauthorized: invalid token",
        "Cannot start media error=failed to listen on udp port",
    ],
)
def test_what_the_real_livekit_sip_complains_of_in_earnest_is_not_allowed(text: str) -> None:
    line = LogLine("sip", "WARN", text, "")
    assert not any(entry.covers(line, "livekit-sip") for entry in allowed_lines())


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("sip", "could not create answer err=InvalidStateError: connection closed"),
        ("sip", "could not send ICE candidate err=write tcp 127.0.0.1:1->127.0.0.1:2: broken pipe"),
        ("livekit-server", "error reading data channel error=dtls timeout"),
        ("livekit-server", "trying to create offer on closed peer connection"),
        ("livekit-server", "Failed to write packet: io: read/write on closed pipe"),
        ("livekit-server", "cannot create sip participant error=INVITE failed: sip status: 486"),
        ("agent", "livekit livekit_signaling:661:livekit_signaling - dropping signal, send failed"),
    ],
)
def test_what_every_run_says_is_allowed(part: str, text: str) -> None:
    assert any(
        entry.covers(LogLine(part, "WARN", text, ""), "stand-in") for entry in allowed_lines()
    )


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("sip", "no media port err=address already in use"),
        ("livekit-server", "could not join room error=room has exceeded its max participants"),
        ("agent", "livekit.agents unhandled exception while running the job task"),
    ],
)
def test_what_is_somebodys_fault_is_not(part: str, text: str) -> None:
    line = LogLine(part, "ERROR", text, "")
    assert not any(entry.covers(line, "stand-in") for entry in allowed_lines())
