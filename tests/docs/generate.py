"""Make docs/answers.md and docs/coverage.md from the scenarios: `make docs`.

The answers are the scenarios of tests/e2e/answers: name, docstring, code. The coverage is the
catalogue (catalogue.txt) with the tests whose docstrings have its ids, and what is not proved with
the reason (reasons.txt).
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ANSWERS = ROOT / "docs" / "answers.md"
COVERAGE = ROOT / "docs" / "coverage.md"
_HERE = Path(__file__).parent

_WORDS = {
    "sip": "SIP", "id": "id", "x": "X", "uri": "URI", "dtmf": "DTMF", "ttl": "TTL",
    "create_sip_participant": "CreateSIPParticipant", "update_participant": "UpdateParticipant",
    "attributes_to_headers": "`attributes_to_headers`", "include_headers": "`include_headers`",
    "room_config_agents": "`room_config.agents`", "can_publish_data": "`can_publish_data`",
    "room_join": "`room_join`", "auto_subscribe_audio_only": "AutoSubscribe.AUDIO_ONLY",
    "sip_id_at_host": "`sip:ID@host`", "request_uri": "Request-URI", "to_header": "To header",
    "x_header": "X-header",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scenario:
    """A test function, as it is written."""

    path: str
    name: str
    line: int
    docstring: str
    source: str

    @property
    def ids(self) -> set[str]:
        """The ids of the catalogue that its docstring has; short forms written out."""
        found: set[str] = set()
        pattern = (
            r"(?<![\w-])S-([A-Z]+)-(\d+(?:\.\d+)?)((?:(?:,| to| and)\s+\d+(?:\.\d+)?(?![\w-]))*)"
        )
        for section, first, more in re.findall(pattern, " ".join(self.docstring.split())):
            found.add(f"S-{section}-{first}")
            last = first
            for joint, number in re.findall(r"(,| to| and)\s+(\d+(?:\.\d+)?)", more):
                numbers = range(int(last) + 1, int(number)) if joint == " to" else ()
                found |= {f"S-{section}-{n:02d}" for n in numbers}
                found.add(f"S-{section}-{number}")
                last = number
        return found

    @property
    def answer(self) -> str:
        """The docstring without its ids, a paragraph a line."""
        paragraphs = [" ".join(p.split()) for p in self.docstring.split("\n\n")]
        return "\n\n".join(p for p in paragraphs if not re.fullmatch(r"\([SQ]-?.*\)", p))

    @property
    def question(self) -> str:
        """The name as a question: `test_q03_is_it_so` is `Q3. Is it so?`."""
        match = re.fullmatch(r"test_q(\d+)_(\w+)", self.name)
        assert match, f"{self.name} is no question"
        text = f"_{match[2]}_"
        for name in sorted(_WORDS, key=len, reverse=True):
            text = text.replace(f"_{name}_", f"_{_WORDS[name].replace('_', chr(0))}_")
        text = text.strip("_").replace("_", " ").replace(chr(0), "_")
        return f"Q{int(match[1])}. {text[0].upper()}{text[1:]}?"


def scenarios(folder: Path) -> Iterator[Scenario]:
    """The tests of `folder`, in the order of the files and of their lines."""
    for path in sorted(folder.rglob("test_*.py")):
        text = path.read_text()
        lines = text.splitlines()
        for node in ast.parse(text).body:
            if not isinstance(node, (ast.AsyncFunctionDef, ast.FunctionDef)):
                continue
            if node.name.startswith("test_"):
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                yield Scenario(
                    path=path.relative_to(ROOT).as_posix(),
                    name=node.name,
                    line=node.lineno,
                    docstring=ast.get_docstring(node) or "",
                    source="\n".join(lines[first - 1 : node.end_lineno]),
                )


def _without_docstring(source: str) -> str:
    return re.sub(r'\n    """.*?"""(?=\n)', "", source, count=1, flags=re.DOTALL)


def answers() -> str:
    """The text of docs/answers.md."""
    parts = [
        "# Questions about LiveKit telephony, and the answers",
        (
            "Made by `make docs` from tests/e2e/answers: do not edit. Each answer is proved by the "
            "code below it, which runs with every `make test-e2e`."
        ),
    ]
    for scenario in scenarios(ROOT / "tests" / "e2e" / "answers"):
        code = _without_docstring(scenario.source)
        parts += [
            f"## {scenario.question}",
            scenario.answer,
            f"<details><summary>the proof: {scenario.name}</summary>",
            f"```python\n{code}\n```",
            "</details>",
        ]
    return "\n\n".join(parts) + "\n"


def catalogue() -> dict[str, dict[str, str]]:
    """The texts of the catalogue, by section and id."""
    sections: dict[str, dict[str, str]] = {}
    for line in (_HERE / "catalogue.txt").read_text().splitlines():
        if line.startswith("## "):
            sections[line[3:]] = {}
        elif line and not line.startswith("#"):
            key, _, text = line.partition(" ")
            sections[list(sections)[-1]][key] = text
    return sections


def reasons() -> dict[str, str]:
    """Why what is not proved is not, by id or by its beginning and `*`."""
    result = {}
    for line in (_HERE / "reasons.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            key, _, text = line.partition(" ")
            result[key] = text
    return result


def reason_for(key: str) -> str:
    """Why `key` is not proved, or ""."""
    known = reasons()
    beginning = key.rpartition("-")[0] + "-*"
    return known.get(key) or known.get(beginning, "")


def proofs() -> dict[str, list[Scenario]]:
    """The tests that prove each id."""
    result: dict[str, list[Scenario]] = defaultdict(list)
    for folder in ("e2e", "phone", "conformance"):
        for scenario in scenarios(ROOT / "tests" / folder):
            for key in scenario.ids:
                result[key].append(scenario)
    return result


def _proving(key: str, proved: dict[str, list[Scenario]]) -> list[Scenario]:
    # S-OUT-10 in a docstring stands for all its statuses.
    return proved.get(key, []) or proved.get(key.partition(".")[0], [])


def coverage() -> str:
    """The text of docs/coverage.md."""
    proved = proofs()
    sections = catalogue()
    every = [key for section in sections.values() for key in section]
    done = [key for key in every if _proving(key, proved)]
    parts = [
        "# Which scenarios of the catalogue are proved",
        "Made by `make docs` from the ids in the docstrings: do not edit.",
        f"**{len(done)} of {len(every)}** are proved; of the others the reason is given.",
    ]
    for title, section in sections.items():
        rows = ["| scenario | about | proved by |", "|---|---|---|"]
        for key, text in section.items():
            tests = _proving(key, proved)
            if tests:
                cell = "<br>".join(f"[{t.name.removeprefix('test_')}](../{t.path})" for t in tests)
            else:
                cell = f"*not proved:* {reason_for(key) or 'to be written'}"
            rows.append(f"| {key} | {text} | {cell} |")
        parts += [f"## {title}", "\n".join(rows)]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Write both files."""
    ANSWERS.write_text(answers())
    COVERAGE.write_text(coverage())
    print(f"{ANSWERS.relative_to(ROOT)}, {COVERAGE.relative_to(ROOT)}", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    main()
