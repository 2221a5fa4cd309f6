"""`sandbox doctor`: each line's state, and the command that mends it."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from sandbox import doctor, versions
from sandbox.doctor import Finding, run_doctor

FAKE = """#!/bin/sh
case "$*" in
  "version --format {{.Server.Version}}") %s ;;
  "version --format {{.Client.Version}}") echo 28.0.0 ;;
  "compose version --short") %s ;;
  "info --format {{.NCPU}} {{.MemTotal}}") echo "%s" ;;
  "info --format {{.Architecture}}") echo %s ;;
  *) echo "unexpected: $*" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a docker command in place that answers as told."""

    def put(
        server: str = "echo 28.0.0",
        compose: str = "echo v2.40.3",
        machine: str = "4 8589934592",
        architecture: str = "x86_64",
    ) -> None:
        program = tmp_path / "docker"
        program.write_text(FAKE % (server, compose, machine, architecture))
        program.chmod(0o755)
        monkeypatch.setenv("SANDBOX_DOCKER", str(program))

    return put


def found(name: str) -> Finding:
    return next(finding for finding in doctor.diagnose() if finding.name == name)


def test_no_client_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_DOCKER", "no-such-docker")
    finding = found("Docker client")
    assert finding.state == "failed"
    assert "apt-get install" in finding.remedy


def test_no_permission_names_the_group(docker: Callable[..., None]) -> None:
    docker("echo 'permission denied while trying to connect' >&2; exit 1")
    finding = found("Docker socket")
    assert finding.state == "failed"
    assert "usermod" in finding.remedy


def test_no_daemon_says_how_to_start_it(docker: Callable[..., None]) -> None:
    docker("echo 'Is the docker daemon running?' >&2; exit 1")
    finding = found("Docker daemon")
    assert finding.state == "failed"
    assert finding.remedy


def test_an_old_daemon_is_told(docker: Callable[..., None]) -> None:
    docker("echo 19.03.1")
    assert found("Docker daemon").state == "failed"


@pytest.mark.parametrize(
    ("answer", "state"),
    [("exit 1", "failed"), ("echo 2.20.0", "failed"), ("echo v2.24.1", "ok"), ("echo 5.0.1", "ok")],
)
def test_compose(docker: Callable[..., None], answer: str, state: str) -> None:
    docker(compose=answer)
    finding = found("Docker Compose")
    assert finding.state == state
    assert bool(finding.remedy) is (state == "failed")


def test_a_small_machine_is_a_warning(docker: Callable[..., None]) -> None:
    docker(machine="1 1073741824")
    finding = found("CPU and memory")
    assert (finding.state, finding.seen) == ("warning", "1 CPUs, 1.0 GiB for containers")


def test_arm64_says_that_the_phone_is_emulated(docker: Callable[..., None]) -> None:
    docker(architecture="aarch64")
    finding = found("architecture")
    assert finding.state == "warning"
    assert "emulation" in finding.seen


@pytest.mark.parametrize(
    ("ok", "seen", "state"),
    [(True, "5 of 5", "ok"), (False, "no echo", "failed"), (False, "there is no image", "warning")],
)
def test_udp(monkeypatch: pytest.MonkeyPatch, ok: bool, seen: str, state: str) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    finding = doctor.probe_finding(ok, seen)
    assert finding.state == state
    assert bool(finding.remedy) is not ok


def test_raised_pins_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "overridden", lambda: {"SANDBOX_LIVEKIT_SIP_VERSION": "v9"})
    finding = next(one for one in doctor._versions() if one.name == "pins")
    assert finding.state == "warning"
    assert finding.remedy == "unset SANDBOX_LIVEKIT_SIP_VERSION"


def test_the_exit_status_is_that_of_the_worst_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [Finding("ok", "a", "fine"), Finding("warning", "b", "hm", "mend b")]
    monkeypatch.setattr(doctor, "diagnose", lambda: iter(lines))
    console = Console(file=io.StringIO(), width=200)
    assert run_doctor(console) == 0
    lines.append(Finding("failed", "c", "[broken]", "mend c"))
    assert run_doctor(console) == 1
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "failed" in text
    assert "[broken]" in text
    assert "mend c" in text
