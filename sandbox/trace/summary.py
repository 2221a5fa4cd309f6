"""A run's index page, and its summary in Markdown for CI (`$GITHUB_STEP_SUMMARY`)."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox.trace.flow import mermaid
from sandbox.trace.page import page, read_trace, steps_of

__all__ = ["step_summary", "write_index", "write_step_summary"]

_MOST_FAILURES = 20
_MOST_STEPS = 40


def _ordered(results: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    return sorted(results.items(), key=lambda pair: (pair[1]["outcome"] != "failed", pair[0]))


def write_index(output: Path, results: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write `index.html` over the tests of a run; its path.

    Args:
        output: the folder of the run, with the folders of its traces.
        results: by node id: `outcome`, `seconds`, `engine`, `sip_service`, `what`, `cause` and
            `folder`.
    """
    tests = []
    for name, facts in _ordered(results):
        folder = facts.get("folder")
        tests.append(
            {
                "name": name,
                "outcome": facts["outcome"],
                "seconds": facts["seconds"],
                "what": str(facts.get("what", "")).split("\n", 1)[0],
                "cause": str(facts.get("cause", "")),
                "report": f"{Path(folder).name}/report.html" if folder else "",
            }
        )
    any_result = next(iter(results.values()))
    failed = sum(1 for test in tests if test["outcome"] == "failed")
    data = {
        "tests": tests,
        "engine": any_result["engine"],
        "sip_service": any_result["sip_service"],
        "finished": time.time(),
    }
    title = f"{failed} of {len(tests)} failed" if failed else f"{len(tests)} passed"
    path = output / "index.html"
    path.write_text(page(title, "index.js", data), encoding="utf-8")
    return path


def _md(text: str) -> str:
    """Text that is nothing but text in Markdown and in a table's cell."""
    text = re.sub(r"[\x00-\x1f\x7f]+", " ", text)
    return re.sub(r"([\\`*_{}\[\]<>|#~$!&@-])", lambda m: f"&#{ord(m[1])};", text)


def step_summary(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The run as Markdown: the counts, and for each failing test its verdict and its ladders."""
    any_result = next(iter(results.values()))
    failing = [(name, facts) for name, facts in _ordered(results) if facts["outcome"] == "failed"]
    passed = len(results) - len(failing)
    counts = f"{len(failing)} failed, {passed} passed"
    where = f"on {_md(any_result['sip_service'])}, engine {_md(any_result['engine'])}"
    lines = ["## LiveKit SIP sandbox", "", f"{counts}, {where}.", ""]
    if failing:
        lines += ["| test | what |", "|---|---|"]
        for name, facts in failing:
            lines.append(f"| {_md(name)} | {_md(str(facts.get('what', ''))[:300])} |")
        lines.append("")
    for name, facts in failing[:_MOST_FAILURES]:
        if facts.get("folder"):
            lines += _failure(name, Path(facts["folder"]))
    if len(failing) > _MOST_FAILURES:
        lines.append(f"… and {len(failing) - _MOST_FAILURES} more, in the artifacts.")
    return "\n".join(lines) + "\n"


def _failure(name: str, folder: Path) -> list[str]:
    try:
        trace = read_trace(folder)
    except (OSError, ValueError):
        return []
    verdict = trace["verdict"]
    lines = ["<details>", f"<summary>{_md(name)}</summary>", ""]
    where = verdict.get("where") or {}
    for title, text in (
        ("What", verdict.get("what", "")),
        ("Where", f"{Path(where['file']).name}:{where['line']}" if where else ""),
        ("Likely cause", verdict.get("cause", "")),
        ("What to do", verdict.get("fix", "")),
        ("Again", trace["run"]["command"]),
    ):
        if text:
            lines.append(f"- **{title}:** {_md(str(text)[:500])}")
    for call in trace["calls"][:3]:
        steps = steps_of(call)[:_MOST_STEPS]
        if steps:
            lines += ["", "```mermaid", mermaid(steps, call["columns"]).rstrip(), "```"]
    return [*lines, "", "</details>", ""]


def write_step_summary(path: Path, results: Mapping[str, Mapping[str, Any]]) -> None:
    """Append the summary to the file that CI shows.

    Raises:
        OSError: it cannot be written.
    """
    with path.open("a", encoding="utf-8") as file:
        file.write(step_summary(results))
