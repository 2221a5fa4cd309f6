"""The ladder of a call as SVG: in the report, where a step can be clicked, and as a file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as Xml

from sandbox.trace.flow import BANDS, COLUMNS, Step

__all__ = ["ladder_svg"]

_LEFT, _GAP, _RIGHT = 96, 236, 150
_TOP, _ROW = 44, 26
_NS = "http://www.w3.org/2000/svg"
# What XML cannot hold.
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

#: For the file alone; the report has its own.
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.column { font-weight: 600 } .time { font: 11px ui-monospace, monospace; fill: #6e7781 }
.life { stroke: #d0d7de } .arrow { stroke: #57606a; fill: none } .head { fill: #57606a }
.sip .arrow { stroke: #0969da } .sip .head { fill: #0969da }
.bad .arrow { stroke: #cf222e } .bad .head, .bad .dot, .bad text.label { fill: #cf222e }
.back { fill: #ffffff } .dot { fill: #57606a } .band { fill: #ddf4ff }
.failed .band, .fault .band { fill: #ffebe9 }
"""


def _x(column: int) -> int:
    return _LEFT + column * _GAP


def _clean(text: str, most: int) -> str:
    text = _UNFIT.sub(" ", text)
    return text if len(text) <= most else text[: most - 1] + "…"


def _add(parent: Xml.Element, tag: str, text: str = "", **attributes: object) -> Xml.Element:
    names = {name.rstrip("_").replace("_", "-"): str(v) for name, v in attributes.items()}
    element = Xml.SubElement(parent, tag, names)
    element.text = text or None
    return element


def ladder_svg(
    steps: Sequence[Step], *, columns: Sequence[str] = COLUMNS, alone: bool = False
) -> str:
    """The ladder as one `<svg>` element.

    Every text goes through an XML serialiser: what a SIP message says cannot become markup.

    Args:
        steps: of `flow`.
        columns: the titles.
        alone: with its own style, as a file.
    """
    width = _x(len(columns) - 1) + _RIGHT
    height = _TOP + _ROW * max(1, len(steps)) + 14
    svg = Xml.Element("svg", {
        "xmlns": _NS, "viewBox": f"0 0 {width} {height}", "width": str(width),
        "height": str(height), "class": "ladder", "role": "img",
        "aria-label": f"Ladder diagram of the call, {len(steps)} steps",
    })  # fmt: skip
    if alone:
        _add(svg, "style", _STYLE)
        _add(svg, "rect", width="100%", height="100%", class_="back")
    for number, title in enumerate(columns):
        x = _x(number)
        _add(svg, "text", _clean(title, 30), x=x, y=20, class_="column", text_anchor="middle")
        _add(svg, "line", x1=x, y1=30, x2=x, y2=height, class_="life")
    start = steps[0].at if steps else 0.0
    for row, step in enumerate(steps):
        _draw(svg, step, _TOP + row * _ROW, step.at - start, len(columns))
    return Xml.tostring(svg, encoding="unicode")


def _draw(svg: Xml.Element, step: Step, y: int, seconds: float, columns: int) -> None:
    refusal = step.label[:1] in "456" and step.label[1:3].isdigit()
    bad = step.kind == "log" or (step.kind == "sip" and refusal)
    group = _add(svg, "g", class_=f"step {step.kind}{' bad' if bad else ''}")
    group.set("data-event", str(step.index))
    width = _x(columns - 1) + _RIGHT
    _add(group, "title", _clean(step.label, 300))
    _add(group, "rect", x=0, y=y - 1, width=width, height=_ROW, class_="hit", fill="transparent")
    middle = y + 15
    _add(group, "text", f"{seconds:+.3f}", x=64, y=middle + 3, class_="time", text_anchor="end")
    if step.kind in BANDS:
        _add(group, "rect", x=_x(0) - 8, y=y + 2, width=_x(columns - 1) - _x(0) + 16,
             height=_ROW - 4, rx=4, class_="band")  # fmt: skip
        _add(group, "text", _clean(step.label, 110), x=(_x(0) + _x(columns - 1)) // 2,
             y=middle + 3, class_="label", text_anchor="middle")  # fmt: skip
        return
    a, b = _x(step.source), _x(step.target)
    if a == b:
        last = step.source == columns - 1
        _add(group, "circle", cx=a, cy=middle - 1, r=3.5, class_="dot")
        room = 22 if last else 34
        _add(group, "text", _clean(step.label, room), x=a + 10, y=middle + 3, class_="label")
        return
    label = _clean(step.label, 34 * abs(step.source - step.target))
    _add(group, "text", label, x=(a + b) // 2, y=y + 9, class_="label", text_anchor="middle")
    sign = 1 if b > a else -1
    _add(group, "line", x1=a, y1=middle, x2=b - 7 * sign, y2=middle, class_="arrow")
    _add(group, "path", d=f"M{b} {middle}l{-8 * sign} -4v8z", class_="head")
