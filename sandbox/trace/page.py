"""The trace of a test as one HTML file that needs nothing else: no network, no script, no font.

What a trace holds is hostile (a SIP message can say anything), so none of it becomes markup: it
goes into the page as JSON, the page's script makes text of it, and a Content-Security-Policy lets
no other script run and nothing be loaded.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from sandbox.trace.flow import Step
from sandbox.trace.sound import sound_data
from sandbox.trace.svg import ladder_svg

__all__ = ["page", "read_trace", "report_html", "steps_of", "write_page"]

_ASSETS = files("sandbox.trace") / "assets"


def page(title: str, script: str, data: Mapping[str, Any]) -> str:
    """A page with `data` and the script that shows it.

    Args:
        title: of the document.
        script: the asset's name.
        data: JSON-like.
    """
    code = (_ASSETS / "common.js").read_text("utf-8") + (_ASSETS / script).read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    # Inside <script>, only `</` and `<!--` could end it; inside a string, "<" can be written so.
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    parts = {
        "title": html.escape(title),
        "policy": f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data: blob:; media-src blob:; base-uri 'none'; form-action 'none'",
        "style": (_ASSETS / "style.css").read_text("utf-8"),
        "data": text,
        "script": code,
    }
    template = (_ASSETS / "page.html").read_text("utf-8")
    head, *rest = template.split("{{")
    pieces = [head]
    for piece in rest:
        name, _, after = piece.partition("}}")
        pieces += [parts[name], after]
    return "".join(pieces)


def read_trace(folder: Path) -> dict[str, Any]:
    """What `trace.json` in the folder of a trace holds.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not JSON.
    """
    trace: dict[str, Any] = json.loads((folder / "trace.json").read_text("utf-8"))
    return trace


def steps_of(call: Mapping[str, Any]) -> list[Step]:
    """The ladder of a call in a trace."""
    return [
        Step(
            at=s["t"], source=s["from"], target=s["to"], label=s["label"], kind=s["kind"],
            index=s["event"],
        )
        for s in call["ladder"]
    ]  # fmt: skip


def report_html(folder: Path, trace: Mapping[str, Any]) -> str:
    """The page of a trace whose files are in `folder`."""
    shown = dict(trace)
    shown["calls"] = []
    for call in trace["calls"]:
        sounds = {
            name: sound_data(folder / call["files"][name])
            for name in ("received", "sent")
            if name in call["files"] and (folder / call["files"][name]).is_file()
        }
        svg = ladder_svg(steps_of(call), columns=call["columns"])
        shown["calls"].append({**call, "svg": svg, "audio": sounds})
    return page(f"{trace['test']['name']} · {trace['test']['outcome']}", "report.js", shown)


def write_page(folder: Path) -> Path:
    """Write `report.html` for the trace in `folder`; its path.

    Raises:
        OSError: there is no trace.json, or it cannot be written.
    """
    path = folder / "report.html"
    path.write_text(report_html(folder, read_trace(folder)), encoding="utf-8")
    return path
