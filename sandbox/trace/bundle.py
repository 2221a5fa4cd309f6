"""A trace as a zip for a bug report: everything of it, redacted, with the text of an issue."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sandbox.trace.flow import mermaid
from sandbox.trace.page import read_trace, steps_of, write_page
from sandbox.trace.pcap import Frame, pcapng, read_frames
from sandbox.trace.redact import Redactor
from sandbox.trace.svg import ladder_svg

__all__ = ["Bundle", "issue_text", "write_bundle"]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was written.

    Attributes:
        path: of the zip.
        issue: the text of the issue.
        hidden: how many different values have a placeholder.
        media: whether there is audio or RTP in it, which nothing can redact.
    """

    path: Path
    issue: str
    hidden: int
    media: bool


def issue_text(trace: Mapping[str, Any]) -> str:
    """The text of an issue about a trace, to be completed by who files it."""
    test, verdict, run = trace["test"], trace["verdict"], trace["run"]
    lines = [f"# {str(verdict.get('what') or test['name']).splitlines()[0]}", ""]
    if test.get("doc"):
        lines += [f"The test wants: {test['doc']}", ""]
    lines += ["## What happened", ""]
    for title, key in (("Likely cause", "cause"), ("Suggested", "fix")):
        if verdict.get(key):
            lines.append(f"- {title}: {verdict[key]}")
    where = verdict.get("where") or {}
    if where:
        lines.append(f"- At: `{where['text']}` ({Path(where['file']).name}:{where['line']})")
    for block in (verdict.get("why"), verdict.get("seen")):
        if block:
            lines += ["", "```", *block, "```"]
    for call in trace["calls"]:
        lines += ["", f"## Call {call['caller']} → {call['callee']}", "", "```mermaid"]
        lines += [mermaid(steps_of(call), call["columns"]).rstrip(), "```"]
    lines += ["", "## What was expected", "", "(say it here)", "", "## To see it again", ""]
    lines += ["```", run["command"], "```", "", "## What ran", "", "| | |", "|---|---|"]
    facts = {"SIP service": run["sip_service"], "engine": run["engine"], **run["versions"]}
    lines += [f"| {name} | {value} |" for name, value in facts.items()]
    lines += ["", "The zip beside this text has the report, the pcap and the logs, redacted.", ""]
    return "\n".join(lines)


def _event_payloads(trace: Mapping[str, Any], call: str) -> set[int]:
    """The RTP payload types of telephone-events: what was pressed."""
    return {
        int(event["data"]["dtmf_payload_type"])
        for event in trace["events"]
        if call in event["calls"] and event["data"].get("dtmf_payload_type")
    }


def _frames(
    raw: bytes, redactor: Redactor, *, media: bool, hidden_payloads: set[int]
) -> Iterable[Frame]:
    for frame in read_frames(raw):
        if frame.tcp or (frame.data[:1] and frame.data[0] < 0x80):
            text = frame.data.decode("utf-8", "surrogateescape")
            yield replace(frame, data=redactor.message(text).encode("utf-8", "surrogateescape"))
        elif media and not (len(frame.data) > 1 and frame.data[1] & 0x7F in hidden_payloads):
            yield frame


def write_bundle(
    folder: Path, target: Path, *, headers: Iterable[str] = (), media: bool = True
) -> Bundle:
    """Write the trace in `folder` as a zip.

    Numbers, credentials, the digits that were pressed and the chosen headers are replaced; audio
    and RTP cannot be, but for the telephone-events, which are left out.

    Args:
        folder: of the trace.
        target: the zip.
        headers: names of SIP headers (or attributes) whose values go too.
        media: whether audio and RTP are in it.

    Raises:
        OSError: there is no trace, or the zip cannot be written.
    """
    original = read_trace(folder)
    redactor = Redactor(headers)
    redactor.learn(original)
    trace = redactor.trace(original)
    has_media = False
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary)
        for call, before in zip(trace["calls"], original["calls"], strict=True):
            files = dict(before["files"])
            for name in ("received", "sent"):
                if name in files and media and (folder / files[name]).is_file():
                    shutil.copyfile(folder / files[name], made / files[name])
                    has_media = True
                else:
                    files.pop(name, None)
            if "pcap" in files:
                frames = list(
                    _frames(
                        (folder / files["pcap"]).read_bytes(),
                        redactor,
                        media=media,
                        hidden_payloads=_event_payloads(original, before["id"]),
                    )
                )
                has_media = has_media or any(f.data[:1] >= b"\x80" for f in frames)
                (made / files["pcap"]).write_bytes(pcapng(frames, comment="redacted"))
            steps = steps_of(call)
            stem = f"call-{call['id']}"
            svg = ladder_svg(steps, columns=call["columns"], alone=True)
            (made / f"{stem}.svg").write_text(svg, encoding="utf-8")
            (made / f"{stem}.mmd").write_text(mermaid(steps, call["columns"]), encoding="utf-8")
            call["files"] = files
        (made / "trace.json").write_text(json.dumps(trace), encoding="utf-8")
        write_page(made)
        issue = issue_text(trace)
        (made / "ISSUE.md").write_text(issue, encoding="utf-8")
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(made.iterdir()):
                archive.write(path, path.name)
    return Bundle(target, issue, redactor.count, has_media)
