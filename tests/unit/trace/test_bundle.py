"""The bundle of a trace: nothing private is left in it, and the rest still fits together."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from sandbox.cli import main
from sandbox.errors import UsageError
from sandbox.trace.folders import find_trace, trace_folder
from sandbox.trace.page import write_page
from sandbox.trace.pcap import read_frames
from sandbox.trace.record import write_trace
from sandbox.trace.redact import Redactor

from .story import TEST, VERDICT, endpoints, events, logs_of, sip, write_capture

AUTH = 'Proxy-Authorization: Digest username="user-1",realm="r",nonce="n",response="0123abcd"\r\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run = endpoints(tmp_path / "run")
    log = '{"level":"warn","msg":"15550001111 called +15550002222","callID":"SCL_abc"}\n'
    (tmp_path / "run" / "sip.log").write_text(log)
    told = [*events(), write_capture(tmp_path / "phone")]
    told.insert(5, sip(0.22, "sip.sent", "INVITE sip:+15550002222@127.0.0.1 SIP/2.0", more=AUTH))
    path = trace_folder(tmp_path / "test-results", TEST["nodeid"])
    logs = logs_of(run.run_dir, told)
    write_trace(path, test=TEST, verdict=VERDICT, events=told, endpoints=run, logs=logs)
    write_page(path)
    return path


PRIVATE = ("5550001111", "5550002222", "hunter2secret", "user-1", "0123abcd", "Jane Doe")


def _bundle(folder: Path, tmp_path: Path, *options: str) -> dict[str, bytes]:
    target = tmp_path / "b.zip"
    result = CliRunner().invoke(main, ["bundle", str(folder), "-o", str(target), *options])
    assert result.exit_code == 0, result.output
    with zipfile.ZipFile(target) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_bundle_has_everything_and_nothing_private(folder: Path, tmp_path: Path) -> None:
    files = _bundle(folder, tmp_path, "--header", "X-Customer")
    assert set(files) == {
        "ISSUE.md", "call-l1.1.mmd", "call-l1.1.pcapng", "call-l1.1.received.wav",
        "call-l1.1.sent.wav", "call-l1.1.svg", "report.html", "trace.json",
    }  # fmt: skip
    for name, content in files.items():
        for word in PRIVATE:
            assert word.encode() not in content, (name, word)


def test_the_same_value_has_the_same_placeholder_everywhere(folder: Path, tmp_path: Path) -> None:
    files = _bundle(folder, tmp_path)
    trace = json.loads(files["trace.json"])
    (call,) = trace["calls"]
    assert call["identity"] == f"sip_{call['caller']}"
    assert call["caller"] != call["callee"]
    line = trace["logs"]["sip"][0]["text"]
    assert line.startswith(f"{call['caller']} called {call['callee']}")
    invite = next(e for e in trace["events"] if e["name"] == "sip.sent")
    assert f"sip:{call['callee']}@127.0.0.1" in invite["data"]["raw"]
    # A header that was not chosen stays.
    assert "Jane Doe" in invite["data"]["raw"]
    pressed = [e["data"]["digit"] for e in trace["events"] if e["name"] == "dtmf.sent"]
    assert pressed == ["•"]


def test_sip_in_the_pcap_is_redacted_and_its_lengths_are_right(
    folder: Path, tmp_path: Path
) -> None:
    raw = _bundle(folder, tmp_path)["call-l1.1.pcapng"]
    frames = list(read_frames(raw))
    sip_texts = [f.data.decode() for f in frames if f.data[:1] < b"\x80"]
    assert len(sip_texts) == 7
    for text in sip_texts:
        head, _, body = text.partition("\r\n\r\n")
        assert f"Content-Length: {len(body)}" in head
    assert len(frames) > 50


def test_without_media_there_is_no_audio_and_no_rtp(folder: Path, tmp_path: Path) -> None:
    files = _bundle(folder, tmp_path, "--no-media")
    assert not [name for name in files if name.endswith(".wav")]
    assert all(f.data[:1] < b"\x80" for f in read_frames(files["call-l1.1.pcapng"]))


def test_the_issue_says_what_ran_and_how_to_see_it_again(folder: Path, tmp_path: Path) -> None:
    text = _bundle(folder, tmp_path)["ISSUE.md"].decode()
    assert text.startswith("# expected a 486, got 200\n")
    for part in ("sequenceDiagram", "stand-in (not livekit-sip)", "pytest tests/test_x.py::test_x",
                 "the rule let it in", "## What was expected"):  # fmt: skip
        assert part in text


def test_a_short_header_goes_where_it_stands_and_nowhere_else() -> None:
    redactor = Redactor(["X-Order"])
    raw = "INVITE sip:a@b SIP/2.0\r\nX-Order: 42\r\nContent-Length: 0\r\n\r\n"
    trace = {
        "events": [
            {"data": {"raw": raw}},
            {"data": {"headers_to_attributes": {"X-Order": "order.id"}}},
            {"data": {"attributes": {"order.id": "42", "sip.h.x-order": "42", "other": "42"}}},
        ],
        "attributes": [{"key": "order.id", "before": None, "after": "42"}],
    }
    redactor.learn(trace)
    made = redactor.trace(trace)
    assert "42" not in made["events"][0]["data"]["raw"]
    assert made["events"][2]["data"]["attributes"] == {
        "order.id": "hidden", "sip.h.x-order": "hidden", "other": "42",
    }  # fmt: skip
    assert made["attributes"][0]["after"] == "hidden"


def test_srtp_keys_and_tokens_go() -> None:
    redactor = Redactor()
    text = redactor.text("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0a2V5|2^31")
    assert text == "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:key-hidden|2^31"
    assert "eyJ" not in redactor.text("token=eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl")


# --- finding a trace --------------------------------------------------------------------------


def test_show_trace_prints_the_path_where_there_is_no_browser(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    for arguments in (["--last"], [], ["test_x"], [str(TEST["nodeid"])]):
        monkeypatch.chdir(folder.parent.parent)
        result = CliRunner().invoke(main, ["show-trace", *arguments])
        assert result.exit_code == 0, (arguments, result.output)
        assert result.output.strip() == str(folder / "report.html")


def test_show_trace_opens_a_browser(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setenv("BROWSER", "x")
    monkeypatch.setattr("webbrowser.open", opened.append)
    result = CliRunner().invoke(main, ["show-trace", str(folder / "report.html")])
    assert result.exit_code == 0
    assert opened == [(folder / "report.html").as_uri()]


def test_what_is_not_there_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no trace in"):
        find_trace(tmp_path / "nowhere", None)
    with pytest.raises(UsageError, match="no trace is named 'other'"):
        find_trace(folder.parent, "other")
    result = CliRunner().invoke(main, ["bundle", "other", "--output", str(folder.parent)])
    assert result.exit_code == 1
    assert folder.name in result.output
