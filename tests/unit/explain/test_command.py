"""`sandbox explain` on exports and captured INVITEs, and what may be imported where."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import sandbox.explain
from sandbox.errors import UsageError
from sandbox.explain.command import explain_command
from sandbox.explain.sources import Deployment, as_export, read_export
from tests.unit.explain.parts import NUMBER, direct, trunk

EXPORT = {
    "trunks": {"items": [{"sipTrunkId": "ST_a", "numbers": [NUMBER], "authPassword": "x"}]},
    "rules": [
        {
            "sip_dispatch_rule_id": "SDR_a",
            "rule": {"dispatchRuleDirect": {"roomName": "lobby"}},
            "trunk_ids": ["ST_a"],
        }
    ],
    "rooms": ["lobby"],
}


@pytest.fixture
def export(tmp_path: Path) -> Path:
    path = tmp_path / "export.json"
    path.write_text(json.dumps(EXPORT))
    return path


def _run(*arguments: object, **env: str) -> Result:
    clean = {"LIVEKIT_URL": "", "LIVEKIT_API_KEY": "", "LIVEKIT_API_SECRET": "", **env}
    return CliRunner().invoke(explain_command, [str(a) for a in arguments], env=clean)


def test_a_call_by_options(export: Path) -> None:
    result = _run("--from", "+1", "--to", NUMBER, "--export", export, "--no-lints",
                  "--header", "X-Twilio-CallSid: CA1")  # fmt: skip
    assert result.exit_code == 0
    assert "room      lobby (exists already)" in result.output
    assert "sip.twilio.callSid = CA1" in result.output
    assert "lint" not in result.output


def test_a_refused_call_exits_with_3(export: Path) -> None:
    result = _run("--from", "+1", "--to", "+2", "--export", export, "-o", "json")
    assert result.exit_code == 3
    data = json.loads(result.output)
    assert data["outcome"] == "silence"
    assert [found["id"] for found in data["lints"]] == ["half-auth"]


def test_a_captured_invite(export: Path, tmp_path: Path) -> None:
    invite = tmp_path / "invite.txt"
    invite.write_text(
        f"INVITE sip:x@lk SIP/2.0\nFrom: <sip:+1@pbx>;tag=t\nTo: <sip:{NUMBER}@lk>\nCall-ID: c\n\n"
    )
    result = _run("--invite", invite, "--export", export, "--server-version", "v1.13.9")
    assert result.exit_code == 0
    assert "sip.callIDFull = c" in result.output
    assert "livekit-server 1.13.9" in result.output


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--from", "+1"], "no call is given"),
        (["--to", "1", "--header", "nonsense"], "is no header"),
        (["--to", "1", "--source", "pbx"], "no IP address"),
        (["--to", "1", "--server-version", "x"], "no release"),
    ],
)
def test_what_makes_no_sense_is_said(export: Path, arguments: list[str], part: str) -> None:
    result = _run("--export", export, *arguments)
    assert result.exit_code == 1
    assert part in result.output


def test_a_deployment_needs_a_key() -> None:
    result = _run("--to", "1", "--url", "ws://127.0.0.1:1")
    assert result.exit_code == 1
    assert "needs a key and a secret" in result.output


def test_an_export_comes_back_without_passwords(tmp_path: Path) -> None:
    path = tmp_path / "saved.json"
    made = Deployment(
        trunks=[trunk(numbers=[NUMBER], auth_password="secret")],
        rules=[direct()],
        rooms=frozenset({"lobby"}),
    )
    path.write_text(as_export(made))
    assert "secret" not in path.read_text()
    again = read_export(path)
    assert again.rules == made.rules
    assert again.rooms == made.rooms
    assert again.trunks[0].numbers == [NUMBER]


@pytest.mark.parametrize(
    ("content", "rules"),
    [
        ([{"trunk": {"numbers": ["1"]}}, {"dispatch_rule": {"trunk_ids": ["ST_a"]}}], 1),
        ({"inbound_trunks": [], "dispatch_rules": [{"name": "r"}]}, 1),
    ],
)
def test_other_shapes_of_an_export(tmp_path: Path, content: object, rules: int) -> None:
    path = tmp_path / "export.json"
    path.write_text(json.dumps(content))
    assert len(read_export(path).rules) == rules


@pytest.mark.parametrize("content", ["{", "3", '{"a": 1}', '["x"]', '{"trunks": [{"numbers": 3}]}'])
def test_what_is_no_export_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "export.json"
    path.write_text(content)
    with pytest.raises(UsageError):
        read_export(path)


def test_the_model_knows_neither_phone_nor_stack() -> None:
    folder = Path(sandbox.explain.__file__).parent
    allowed = ("sandbox.errors", "sandbox.timeline", "sandbox.explain")
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sandbox"):
                wired = path.name == "command.py" and node.module == "sandbox.stack"
                assert wired or str(node.module).startswith(allowed), (path.name, node.module)
