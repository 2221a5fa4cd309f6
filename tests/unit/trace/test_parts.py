"""The parts of a trace: SDP, RTP quality, logs, attributes, audio, the pcap."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest

from sandbox.timeline import Event
from sandbox.trace.attributes import attribute_changes
from sandbox.trace.joined import sip_message
from sandbox.trace.logs import log_events, log_lines, log_sizes
from sandbox.trace.packets import read_packets
from sandbox.trace.pcap import Frame, call_frames, pcapng
from sandbox.trace.quality import rtp_events, rtp_quality
from sandbox.trace.sdp import sdp_marks
from sandbox.trace.sound import read_mono, sound_data, to_mulaw

from .story import ANSWER, OFFER, T0, events, sip, write_capture

# --- SDP --------------------------------------------------------------------------------------


def _marks(told: list[Event]) -> dict[int, dict[str, object]]:
    numbered = [(i, m) for i, e in enumerate(told) if (m := sip_message(e)) is not None]
    return sdp_marks(numbered)


def test_offer_and_answer_are_paired_and_their_differences_marked() -> None:
    told = events()
    marks = _marks(told)
    offer, answer = sorted(marks)
    assert (marks[offer]["role"], marks[offer]["other"]) == ("offer", answer)
    assert (marks[answer]["role"], marks[answer]["other"]) == ("answer", offer)
    found = dict(marks[offer]["marks"])  # type: ignore[call-overload]
    assert found["a=rtpmap:9 G722/8000"] == "only"
    assert found["a=rtpmap:0 PCMU/8000"] == "same"
    # The same codec under another payload type (RFC 3264 section 5.1).
    assert found["a=rtpmap:101 telephone-event/8000"] == "changed"
    assert found["m=audio 4000 RTP/AVP 9 0 101"] == "changed"
    assert found["o=- 1 1 IN IP4 127.0.0.1"] == "own"


def test_an_answer_sent_again_is_still_the_answer_and_a_lone_offer_has_no_other() -> None:
    told = [
        sip(0, "sip.sent", "INVITE sip:a@b SIP/2.0", body=OFFER),
        sip(1, "sip.received", "SIP/2.0 183 Session Progress", body=ANSWER),
        sip(2, "sip.received", "SIP/2.0 200 OK", body=ANSWER),
        sip(3, "sip.received", "INVITE sip:a@b SIP/2.0", body=OFFER),
    ]
    marks = _marks(told)
    assert [marks[n]["role"] for n in range(4)] == ["offer", "answer", "answer", "offer"]
    assert marks[2]["other"] == 0
    assert marks[3]["other"] is None


# --- RTP --------------------------------------------------------------------------------------


def test_quality_counts_losses_and_pauses_in_their_half_second(tmp_path: Path) -> None:
    event = write_capture(tmp_path, seconds=2, missing=range(30, 45))
    packets = list(read_packets(Path(event.data["packets"])))
    received, sent = rtp_quality(packets, sent=False), rtp_quality(packets, sent=True)
    assert (sent["total"], sent["total_lost"]) == (100, 0)
    assert (received["total"], received["total_lost"]) == (85, 15)
    # Packet 45 came 0.9 s after the first: in the second slot of 0.5 s.
    assert received["lost"] == [0, 15, 0, 0]
    assert received["pause_ms"][1] == pytest.approx(320, abs=1)
    assert max(sent["jitter_ms"]) < 1
    told = rtp_events(packets, "l1.1")
    (gap,) = [e for e in told if e.name == "rtp.gap"]
    (lost,) = [e for e in told if e.name == "rtp.lost"]
    assert lost.data == {"direction": "received", "packets": 15}
    assert lost.at == pytest.approx(T0 + 0.73 + 1.0)
    assert gap.data == {"direction": "received", "seconds": pytest.approx(0.32, abs=0.001)}
    stopped = {e.data["direction"]: e.data for e in told if e.name == "rtp.stopped"}
    assert (stopped["sent"]["packets"], stopped["sent"]["lost"]) == (100, 0)
    assert (stopped["received"]["packets"], stopped["received"]["lost"]) == (85, 15)
    assert stopped["received"]["longest_pause_ms"] == pytest.approx(320, abs=1)


def test_a_long_call_has_statistics_every_five_seconds(tmp_path: Path) -> None:
    event = write_capture(tmp_path, seconds=12, missing=range(300, 310))
    packets = list(read_packets(Path(event.data["packets"])))
    told = [e for e in rtp_events(packets, "l1.1") if e.name == "rtp.stats"]
    rows = [(e.data["direction"], e.data["packets"], e.data["lost"]) for e in told]
    assert rows == [("sent", 250, 0), ("sent", 250, 0), ("received", 250, 0), ("received", 240, 10)]
    assert [round(e.at - T0 - 0.73, 3) for e in told] == [5.0, 10.0, 5.0, 10.0]


def test_no_packets_have_no_quality() -> None:
    assert rtp_quality([], sent=True) == {}


def test_a_capture_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    event = write_capture(tmp_path, seconds=0.2)
    path = Path(event.data["packets"])
    path.write_bytes(path.read_bytes()[:-5])
    assert len(list(read_packets(path))) == 19


# --- audio ------------------------------------------------------------------------------------


def test_mulaw_is_itu_t_g711() -> None:
    samples = np.array([0, -1, 8, 32767, -32768, 1000, -1000], dtype=np.int16)
    assert to_mulaw(samples) == bytes([0xFF, 0x7F, 0xFE, 0x80, 0x00, 0xCE, 0x4E])


def test_mulaw_keeps_the_signal_within_its_step() -> None:
    samples = np.arange(-32000, 32000, 7, dtype=np.int16)
    coded = ~np.frombuffer(to_mulaw(samples), dtype=np.uint8)
    value = ((((coded & 15).astype(int) << 3) + 132) << ((coded >> 4) & 7)) - 132
    back = np.where(coded & 128, -value, value)
    assert np.all(np.abs(back - samples) <= np.maximum(8, np.abs(samples.astype(int)) / 16))


def test_a_sound_has_its_outline_and_its_tone_in_the_spectrogram(tmp_path: Path) -> None:
    import base64

    event = write_capture(tmp_path)
    data = sound_data(Path(event.data["received"]))
    assert (data["rate"], data["seconds"]) == (8000, 1.2)
    spectrum = np.frombuffer(base64.b64decode(data["spectrum"]), dtype=np.uint8)
    column = spectrum.reshape(data["columns"], data["bins"])[3]
    assert abs(int(np.argmax(column)) * 8000 / 128 - 700) < 63
    outline = np.frombuffer(base64.b64decode(data["outline"]), dtype=np.int8)
    assert outline.max() == pytest.approx(9000 >> 8, abs=1)


def test_an_empty_recording_is_silence(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
    assert sound_data(path)["level"] == 0
    assert read_mono(path)[0].size == 0


# --- logs -------------------------------------------------------------------------------------


def test_logs_are_those_of_the_test_that_warn_or_name_its_calls(tmp_path: Path) -> None:
    server, slog, text = (tmp_path / f"{n}.log" for n in ("livekit-server", "sip", "other"))
    server.write_text('{"level":"error","ts":1.5,"msg":"of the test before"}\n')
    sizes = log_sizes(tmp_path)
    with server.open("a") as log:
        log.write('{"level":"info","ts":1700000000.5,"msg":"about room-1","room":"room-1"}\n')
        log.write('{"level":"info","ts":2.5,"msg":"about nothing"}\n{"level":"warn","msg":"hm"}\n')
    slog.write_text(
        '{"ts":"2023-11-14T22:13:20.123456789Z","level":"debug","msg":"x","callID":"SCL_abc"}\n'
    )
    text.write_text("2023-11-14T22:13:20.5Z INFO fine\n2023-11-14T22:13:21Z WARNING too hot\n")
    (tmp_path / "agent.log").write_text("Traceback (most recent call last):\n")
    found = log_lines(tmp_path, sizes, {"room-1", "SCL_abc"})
    assert [line["text"] for line in found["livekit-server"]] == ["about room-1", "hm"]
    assert found["livekit-server"][0]["fields"] == {"room": "room-1"}
    assert [line["names"] for line in found["livekit-server"]] == [["room-1"], []]
    assert found["livekit-server"][0]["at"] == 1700000000.5
    assert found["sip"][0]["at"] == pytest.approx(1700000000.123456)
    assert [(line["level"], line["at"]) for line in found["other"]] == [("warning", 1700000001.0)]
    # The agent is the test's own program.
    assert len(found["agent"]) == 1


def test_a_log_that_was_started_anew_is_read_from_its_beginning(tmp_path: Path) -> None:
    (tmp_path / "sip.log").write_text('{"level":"warn","msg":"x"}\n')
    assert log_lines(tmp_path, {"sip.log": 10_000}, [])["sip"][0]["text"] == "x"


def test_a_name_is_no_part_of_a_longer_one(tmp_path: Path) -> None:
    lines = ['{"level":"info","room":"room-10"}', '{"level":"info","room":"room-1-a"}',
             '{"level":"info","msg":"in room-1."}', "sip_+1555 has left",
             "2026-01-01 00:00:00 INFO sip_+15551 has left"]  # fmt: skip
    (tmp_path / "sip.log").write_text("\n".join(lines))
    found = log_lines(tmp_path, {}, {"room-1", "sip_+1555"})
    assert [line["names"] for line in found["sip"]] == [["room-1"], ["sip_+1555"]]


def test_of_too_many_lines_those_that_warn_are_kept(tmp_path: Path) -> None:
    lines = ['{"level":"error","ts":1,"msg":"first"}']
    lines += [f'{{"level":"debug","ts":2,"msg":"d{n}","room":"room-1"}}' for n in range(500)]
    lines += [f'{{"level":"info","ts":3,"msg":"i{n}","room":"room-1"}}' for n in range(300)]
    (tmp_path / "sip.log").write_text("\n".join(lines))
    found = log_lines(tmp_path, {}, {"room-1"})["sip"]
    assert found[0]["text"] == "… 401 more lines about this test in sip.log"
    kept = [line["text"] for line in found[1:]]
    assert kept == ["first", *(f"d{n}" for n in range(401, 500)), *(f"i{n}" for n in range(300))]


def test_a_long_line_is_still_json_and_its_fields_are_cut(tmp_path: Path) -> None:
    line = {"level": "warn", "ts": 5, "msg": "x", "offer": {"sdp": "v=0 " * 1000}, "n": 3}
    (tmp_path / "livekit-server.log").write_text(json.dumps(line))
    (found,) = log_lines(tmp_path, {}, [])["livekit-server"]
    assert (found["text"], found["fields"]["n"]) == ("x", 3)
    assert len(found["fields"]["offer"]) == 800


def test_a_line_of_the_allow_list_says_why_it_is_no_fault(tmp_path: Path) -> None:
    ping = '{"level":"warn","ts":1,"msg":"Failed to ping without candidate pairs. Not yet."}\n'
    (tmp_path / "sip-2.log").write_text(ping + '{"level":"error","ts":2,"msg":"boom"}\n')
    harmless, bad = log_lines(tmp_path, {}, [], service="livekit-sip")["sip-2"]
    assert harmless["no_fault"].startswith("said while ICE")
    assert "no_fault" not in bad
    # It is livekit-sip's: of the stand-in it would be news.
    assert "no_fault" not in log_lines(tmp_path, {}, [], service="stand-in")["sip-2"][0]


def test_the_lines_with_a_time_are_events_of_whose_log_it_is(tmp_path: Path) -> None:
    (tmp_path / "livekit-server.log").write_text('{"level":"info","ts":5,"msg":"a","r":"room-1"}\n')
    (tmp_path / "sip-2.log").write_text('{"level":"warn","ts":6,"msg":"b"}\n{"level":"warn"}\n')
    (tmp_path / "agent-desk-1.log").write_text(
        '{"message": "c", "level": "WARNING", "timestamp": "1970-01-01T00:00:07+00:00"}\nplain\n'
    )
    logs = log_lines(tmp_path, {}, ["room-1"])
    rows = {e.at: (e.source, e.name, e.data["log"], e.data["text"]) for _, e in log_events(logs)}
    assert rows == {
        5.0: ("server", "log.info", "livekit-server", "a"),
        6.0: ("sip", "log.warn", "sip-2", "b"),
        7.0: ("agent", "log.warn", "agent-desk-1", "c"),
    }


# --- attributes -------------------------------------------------------------------------------


def test_attributes_have_their_step_and_the_value_before() -> None:
    changes = attribute_changes(events())
    first = [c for c in changes if c["before"] is None]
    assert {c["key"] for c in first} >= {"order.id", "sip.callStatus"}
    status = next(c for c in changes if c["after"] == "active")
    assert (status["before"], status["step"], status["by"]) == ("ringing", "dial", "agent")
    order = next(c for c in changes if c["after"] == "43")
    assert (order["before"], order["step"]) == ("42", "press 1")


def test_an_empty_value_takes_an_attribute_away() -> None:
    told = events()
    told.append(
        Event(source="agent", name="job.attributes", at=T0 + 3,
              data={"room": "room-1", "identity": "sip_+15550001111", "changed": {"order.id": ""}})
    )  # fmt: skip
    last = attribute_changes(told)[-1]
    assert (last["key"], last["before"], last["after"]) == ("order.id", "43", None)


# --- pcap -------------------------------------------------------------------------------------

_TSHARK = shutil.which("tshark")
needs_tshark = pytest.mark.skipif(_TSHARK is None, reason="tshark is not installed (apt)")


def _tshark(path: Path, *arguments: str) -> list[str]:
    assert _TSHARK is not None
    run = subprocess.run(
        [_TSHARK, "-n", "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE",
         "-r", str(path), *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


@needs_tshark
def test_wireshark_reads_the_calls_sip_and_finds_its_rtp(tmp_path: Path) -> None:
    event = write_capture(tmp_path)
    packets = list(read_packets(Path(event.data["packets"])))
    path = tmp_path / "call.pcapng"
    path.write_bytes(pcapng(call_frames(events(), "l1.1", packets), comment="a ⇒ b"))
    assert (
        _tshark(path, "-Y", "_ws.malformed || ip.checksum.status == 0 || udp.checksum.status == 0")
        == []
    )
    fields = ("-T", "fields", "-e", "_ws.col.Info")
    sip_lines = _tshark(path, "-Y", "sip", *fields)
    assert len(sip_lines) == 6
    assert "INVITE" in sip_lines[0]
    # Found by the SDP, not by a port.
    assert len(_tshark(path, "-Y", "rtp", *fields)) == len(packets)
    streams = [line for line in _tshark(path, "-q", "-z", "rtp,streams") if "127.0.0.1" in line]
    assert len(streams) == 2
    assert all("g711U" in line for line in streams)


@needs_tshark
def test_wireshark_reads_sip_over_tcp(tmp_path: Path) -> None:
    told = events()
    for event in told:
        if "raw" in event.data:
            event.data["transport"] = "tcp"  # type: ignore[index]
    path = tmp_path / "call.pcapng"
    path.write_bytes(pcapng(call_frames(told, "l1.1")))
    assert _tshark(path, "-Y", "_ws.malformed") == []
    assert len(_tshark(path, "-Y", "sip && tcp")) == 6


def test_pcapng_is_whole_blocks() -> None:
    frame = Frame(at=T0, source=("10.0.0.1", 1), target=("10.0.0.2", 2), data=b"odd")
    raw = pcapng([frame, frame], comment="c")
    position, kinds = 0, []
    while position < len(raw):
        kind, length = struct.unpack_from("<II", raw, position)
        assert struct.unpack_from("<I", raw, position + length - 4) == (length,)
        kinds.append(kind)
        position += length
    assert kinds == [0x0A0D0D0A, 1, 6, 6]


def test_a_message_without_an_address_is_left_out() -> None:
    event = sip(0, "sip.sent", "INVITE sip:a@b SIP/2.0")
    assert call_frames([event], "l1.1")
    bare = Event(source="phone", name="sip.sent", at=T0, call="l1.1", data={"raw": "x"})
    assert call_frames([bare], "l1.1") == []


def test_everything_of_a_trace_is_json(tmp_path: Path) -> None:
    from sandbox.trace.record import write_trace

    from .story import TEST, VERDICT, endpoints, logs_of

    told = [*events(), write_capture(tmp_path / "phone")]
    run = tmp_path / "run"
    run.mkdir()
    (run / "sip.log").write_text(
        '{"level":"info","ts":1700000000.5,"msg":"x","callID":"SCL_abc"}\n'
        '{"level":"error","ts":1700000000.6,"msg":"y"}\n{"level":"error","msg":"when?"}\n'
    )
    folder = tmp_path / "trace"
    trace = write_trace(
        folder, test=TEST, verdict=VERDICT, events=told, endpoints=endpoints(run),
        logs=logs_of(run, told),
    )  # fmt: skip
    assert json.loads((folder / "trace.json").read_text())["calls"][0]["scl"] == "SCL_abc"
    (call,) = trace["calls"]
    assert all((folder / name).is_file() for name in call["files"].values())
    assert set(call["files"]) == {"pcap", "received", "sent"}
    assert trace["run"]["command"].startswith("pytest tests/test_x.py::test_x ")
    heard = next(e for e in trace["events"] if e["name"] == "speech.heard")
    assert heard["calls"] == ["l1.1"]
    # A line with a time is a row, and joined to its call; one without stays in its log.
    row, other, last = trace["logs"]["sip"]
    assert trace["events"][row["event"]]["data"]["text"] == "x"
    assert trace["events"][row["event"]]["calls"] == ["l1.1"]
    assert trace["events"][other["event"]]["calls"] == []
    assert last["text"] == "when?"
