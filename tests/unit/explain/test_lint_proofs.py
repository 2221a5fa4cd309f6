"""Every lint names the scenario that proves its trap, and that scenario is there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from sandbox.explain.lints import LINTS

ROOT = Path(__file__).parents[3]
CATALOGUE = (ROOT / "tests/docs/catalogue.txt").read_text(encoding="utf-8")
DOCS = (ROOT / "docs/explain.md").read_text(encoding="utf-8")
PROOFS = {
    node.name: ast.get_docstring(node) or ""
    for node in ast.parse((ROOT / "tests/explain/test_lints.py").read_text(encoding="utf-8")).body
    if isinstance(node, ast.AsyncFunctionDef)
}


@pytest.mark.parametrize(("kind", "scenario"), [(kind, scenario) for kind, scenario, _ in LINTS])
def test_a_lint_is_proven_by_a_scenario(kind: str, scenario: str) -> None:
    assert scenario in PROOFS[f"test_{kind.replace('-', '_')}"]
    assert f"\n{scenario} " in CATALOGUE


@pytest.mark.parametrize(("kind", "scenario"), [(kind, scenario) for kind, scenario, _ in LINTS])
def test_a_lint_is_documented_with_its_scenario(kind: str, scenario: str) -> None:
    [row] = [line for line in DOCS.splitlines() if line.startswith(f"| `{kind}` |")]
    assert f"({scenario})" in row


def test_no_lint_is_documented_that_is_not_there() -> None:
    rows = [line for line in DOCS.splitlines() if line.startswith("| `") and "(S-" in line]
    assert len(rows) == len(LINTS)
