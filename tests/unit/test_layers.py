"""The direction of imports, as docs/design.md draws it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "sandbox"
GROUND = (
    "sandbox.timeline",
    "sandbox.audio",
    "sandbox.talk",
    "sandbox.errors",
    "sandbox.versions",
    "sandbox.volatile",
)


def _modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(part for part in parts if part != "__init__"), path


def _imports(path: Path) -> set[str]:
    """The modules that `path` imports anywhere in it, type checking aside."""
    found: set[str] = set()
    nodes: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            nodes.extend(node.orelse)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        else:
            nodes.extend(ast.iter_child_nodes(node))
    return found


def test_the_phones_process_alone_imports_pjsip() -> None:
    outside = [
        name
        for name, path in _modules()
        if not name.startswith("sandbox.phone.service")
        and any(module.split(".")[0] == "pjsua2" for module in _imports(path))
    ]
    assert not outside, "PJSIP is GPL and aborts its process: see LICENSES.md and docs/design.md"


@pytest.mark.parametrize("module", GROUND)
def test_the_ground_imports_nothing_from_above(module: str) -> None:
    path = dict(_modules())[module]
    above = [m for m in _imports(path) if m.startswith("sandbox") and not m.startswith(GROUND)]
    assert not above


@pytest.mark.parametrize(
    ("layer", "not_from"),
    [
        ("sandbox.stack", ("trace", "agents", "speech", "telephony", "pytest_plugin", "cli")),
        ("sandbox.phone", ("trace", "agents", "speech", "telephony", "pytest_plugin", "cli")),
        ("sandbox.telephony", ("trace", "agents", "speech", "pytest_plugin", "cli")),
        ("sandbox.speech", ("trace", "agents", "pytest_plugin", "cli")),
        ("sandbox.agents", ("trace", "pytest_plugin", "cli")),
        ("sandbox.trace", ("pytest_plugin", "cli")),
    ],
)
def test_a_package_imports_only_from_below_it(layer: str, not_from: tuple[str, ...]) -> None:
    forbidden = tuple(f"sandbox.{name}" for name in not_from)
    upward = {
        f"{name} imports {module}"
        for name, path in _modules()
        if name == layer or name.startswith(f"{layer}.")
        for module in _imports(path)
        if any(module == up or module.startswith(f"{up}.") for up in forbidden)
    }
    assert not upward
