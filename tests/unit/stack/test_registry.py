"""The files that tell of running stacks."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from sandbox.errors import UsageError
from sandbox.stack import registry
from sandbox.stack.endpoints import Endpoints


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def _endpoints(folder: Path) -> Endpoints:
    return Endpoints(
        engine="native",
        livekit_url="ws://127.0.0.1:1",
        api_key="key",
        api_secret="secret",
        sip_host="127.0.0.1",
        sip_port=5060,
        sip_service="stand-in (not livekit-sip)",
        phone_url="http://127.0.0.1:2",
        phone_token="token",
        run_dir=folder,
    )


def _up(folder: Path) -> Path:
    path = registry.claim("main")
    registry.publish(path, "main", _endpoints(folder))
    return path


def test_of_two_that_start_one_gets_the_name(folder: Path) -> None:
    path = registry.claim("main")
    with pytest.raises(UsageError, match="up already"):
        registry.claim("main")
    (stack,) = registry.running()
    assert stack.env == {}
    registry.forget(path)
    registry.forget(registry.claim("main"))


def test_a_running_stack_is_found_with_its_endpoints(folder: Path) -> None:
    path = _up(folder)
    (stack,) = registry.running()
    assert stack.name == "main"
    assert stack.env["LIVEKIT_URL"] == "ws://127.0.0.1:1"
    assert path.stat().st_mode & 0o077 == 0
    registry.forget(path)
    assert registry.running() == []
    assert list(folder.iterdir()) == []


def test_the_file_of_a_dead_stack_is_swept(folder: Path) -> None:
    path = _up(folder)
    process = subprocess.Popen(["true"])
    process.wait()
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "pid": process.pid}))
    assert registry.running() == []
    assert not path.exists()


def test_a_pid_given_to_another_process_is_not_taken_for_the_stack(folder: Path) -> None:
    path = _up(folder)
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "started": "1"}))
    assert registry.running() == []
