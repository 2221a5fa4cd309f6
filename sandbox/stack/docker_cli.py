"""The Docker command line: found, asked with a deadline, its failures as our errors."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sandbox.errors import SetupError, StackError

__all__ = ["Docker", "docker_command", "find_docker"]

RUN_LABEL = "dev.sandbox.run"
"""The label of every container, network and volume: the id of the run it belongs to."""

OWNER_LABEL = "dev.sandbox.owner"
"""The label that names the process which brought it up."""


def find_docker() -> Path | None:
    """The `docker` client on PATH (or `SANDBOX_DOCKER`), or None."""
    found = shutil.which(os.environ.get("SANDBOX_DOCKER") or "docker")
    return Path(found) if found else None


def docker_command() -> str:
    """The `docker` client.

    Raises:
        SetupError: there is none.
    """
    found = find_docker()
    if found is None:
        raise SetupError(
            "there is no docker command",
            remedy="install Docker (`sandbox doctor` says what is needed), or use ENGINE=native",
        )
    return str(found)


class Docker:
    """The Docker client with our way of failing."""

    def __init__(self) -> None:
        """Find the client.

        Raises:
            SetupError: there is none.
        """
        self.program = docker_command()

    def ask(
        self,
        *arguments: str,
        within: float = 30.0,
        environ: Mapping[str, str] | None = None,
        stdin: str | None = None,
    ) -> str:
        """What `docker ARGUMENTS` prints.

        Args:
            arguments: of the client.
            within: seconds it may take.
            environ: its environment; ours if None.
            stdin: what it reads; nothing if None.

        Raises:
            StackError: it failed, or took longer.
        """
        command = f"docker {' '.join(arguments)}"
        try:
            answer = subprocess.run(
                [self.program, *arguments],
                input=stdin if stdin is not None else "",
                capture_output=True,
                text=True,
                errors="replace",
                timeout=within,
                env=environ,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise StackError(
                f"Docker did not answer within {within:g} s",
                seen=[command],
                remedy="see whether the daemon is well: docker info",
            ) from None
        if answer.returncode != 0:
            raise StackError(
                "Docker refused",
                seen=[command, *answer.stderr.strip().splitlines()[-6:]],
                remedy="run `sandbox doctor`",
            )
        return answer.stdout

    def try_ask(self, *arguments: str, within: float = 30.0) -> str | None:
        """The same, or None where it fails."""
        try:
            return self.ask(*arguments, within=within)
        except StackError:
            return None

    def lines(self, *arguments: str, within: float = 30.0) -> list[str]:
        """The lines it prints, without empty ones."""
        return [line for line in self.ask(*arguments, within=within).splitlines() if line.strip()]

    def inspect(self, kind: str, names: Sequence[str]) -> list[dict[str, Any]]:
        """`docker KIND inspect`, of those that exist."""
        if not names:
            return []
        answer = subprocess.run(
            [self.program, kind, "inspect", *names],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return list(json.loads(answer.stdout or "[]"))

    def server_version(self, within: float = 2.0) -> str:
        """The daemon's version.

        Raises:
            StackError: no daemon answers.
        """
        return self.ask("version", "--format", "{{.Server.Version}}", within=within).strip()

    def compose_version(self, within: float = 5.0) -> str:
        """The version of the Compose plugin, without its `v`.

        Raises:
            StackError: there is no such plugin.
        """
        return self.ask("compose", "version", "--short", within=within).strip().lstrip("v")
