"""One Compose project: testcontainers' DockerCompose with a name and errors of its own."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testcontainers.compose import DockerCompose

from sandbox import versions
from sandbox.errors import StackError
from sandbox.stack.docker_cli import RUN_LABEL, Docker

__all__ = ["ComposeProject", "Container", "env_text"]


@dataclass(frozen=True, slots=True)
class Container:
    """A container of the project.

    Attributes:
        id: its id.
        service: the name of its service.
        state: `running`, `exited`, …
        exit_code: of its process, 0 while it runs.
        health: `starting`, `healthy`, `unhealthy` or `""`.
        addresses: its address in each network, by the network's name.
        ports: what it publishes: (port, protocol) to (host address, host port).
        one_off: whether it was started beside the service's own (`docker compose run`).
        health_log: the output of its last health checks.
        detail: the error of the engine, or that it ran out of memory.
    """

    id: str
    service: str
    state: str
    exit_code: int
    health: str
    addresses: Mapping[str, str]
    ports: Mapping[tuple[int, str], tuple[str, int]]
    one_off: bool = False
    health_log: Sequence[str] = ()
    detail: str = ""

    @property
    def address(self) -> str:
        """Its address in its (first) network, or `""`."""
        return next(iter(self.addresses.values()), "")

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Container:
        """From an element of `docker container inspect`."""
        state = raw["State"]
        labels = raw["Config"].get("Labels") or {}
        health = state.get("Health") or {}
        networks = raw["NetworkSettings"]["Networks"] or {}
        ports: dict[tuple[int, str], tuple[str, int]] = {}
        # By protocol: testcontainers cannot tell 5060/udp and 5060/tcp apart.
        for name, bindings in (raw["NetworkSettings"].get("Ports") or {}).items():
            number, _, protocol = name.partition("/")
            for binding in bindings or ():
                ports.setdefault(
                    (int(number), protocol), (binding["HostIp"], int(binding["HostPort"]))
                )
        return cls(
            id=raw["Id"],
            service=labels.get("com.docker.compose.service", ""),
            state=state["Status"],
            exit_code=state["ExitCode"],
            health=health.get("Status", ""),
            addresses={
                name: net["IPAddress"] for name, net in networks.items() if net.get("IPAddress")
            },
            ports=ports,
            one_off=labels.get("com.docker.compose.oneoff") == "True",
            health_log=[
                f"health check: exit {entry['ExitCode']} {entry['Output'].strip()[:200]}"
                for entry in (health.get("Log") or [])[-3:]
            ],
            detail="killed: out of memory" if state.get("OOMKilled") else state.get("Error", ""),
        )


def env_text(values: Mapping[str, str]) -> str:
    """`values` as a Compose env file: quoted, so that nothing in them is interpolated."""
    lines = []
    for name, value in values.items():
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        lines.append(f"{name}='{escaped}'")
    return "\n".join(lines) + "\n"


@dataclass
class _Compose(DockerCompose):  # type: ignore[misc]  # testcontainers has no type information
    """DockerCompose with the environment and the failures of a `ComposeProject`."""

    environ: dict[str, str] = field(default_factory=dict)

    def _run_command(
        self, cmd: str | list[str], context: str | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        words = [cmd] if isinstance(cmd, str) else cmd
        answer = subprocess.run(
            [*_die_with_parent(), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=context or str(self.context),
            env=self.environ,
            check=False,
        )
        if answer.returncode != 0:
            text = answer.stderr.decode(errors="replace").strip()
            raise StackError(
                "Docker Compose failed",
                seen=[" ".join(words[words.index("compose") :])[-300:], *text.splitlines()[-8:]],
                remedy="run `sandbox doctor`",
            )
        return answer


class ComposeProject:
    """A project that is ours alone: named, labelled, and removed by its label."""

    def __init__(
        self,
        docker: Docker,
        *,
        name: str,
        run: str,
        files: Sequence[Path],
        folder: Path,
        values: Mapping[str, str],
        profiles: Sequence[str] = (),
    ) -> None:
        """Nothing is started yet.

        Args:
            docker: the client.
            name: the project's name.
            run: the value of the run label.
            files: the Compose files, the later over the earlier.
            folder: where the project's env file is written, readable by us alone.
            values: the variables of the Compose files.
            profiles: the profiles to enable.
        """
        self.docker = docker
        self.name = name
        self.run = run
        env_file = folder / "compose.env"
        env_file.touch(mode=0o600)
        env_file.write_text(env_text({"COMPOSE_PROJECT_NAME": name, **values}))
        # The shell's variables would win over the file's.
        environ = {
            key: value
            for key, value in os.environ.items()
            if key not in values and not key.startswith(("COMPOSE_", "SANDBOX_"))
        }
        environ |= {"COMPOSE_PROJECT_NAME": name, "COMPOSE_BAKE": "false"}
        self.environ = environ
        self._compose = functools.partial(
            _Compose,
            context=str(files[0].parent),
            compose_file_name=[str(path) for path in files],
            env_file=[str(versions.PINS_FILE), str(env_file)],
            docker_command_path=docker.program,
            profiles=list(profiles) or None,
        )
        self.command: list[str] = list(self._make().compose_command_property)

    def _make(self, values: Mapping[str, str] | None = None, **options: Any) -> _Compose:
        return self._compose(environ={**self.environ, **(values or {})}, **options)

    def up(self, *services: str, wait: bool = False) -> None:
        """Start services (all if none is named); with `wait`, until they are healthy.

        Raises:
            StackError: Compose failed.
        """
        self._make(services=list(services) or None, wait=wait).start()

    def run_another(self, service: str, values: Mapping[str, str]) -> Container:
        """Start one more container of a service, with other values of some variables.

        It has everything else of the service: image, network, labels, lock-down. It answers at its
        own address alone, not to the service's name.

        Raises:
            StackError: Compose failed.
        """
        answer = self.compose("run", "--detach", "--no-deps", "-T", service, values=values)
        started = answer.split()[-1:]
        found = self.docker.inspect("container", started)
        if not found:
            raise StackError(
                f"Compose started another {service}, and it is not there",
                seen=started,
                remedy="run `sandbox doctor`",
            )
        return Container.parse(found[0])

    def compose(self, *arguments: str, values: Mapping[str, str] | None = None) -> str:
        """What `docker compose ARGUMENTS` prints, in this project; `values` replace variables.

        Raises:
            StackError: it failed.
        """
        answer = self._make(values)._run_command([*self.command, *arguments])
        return str(answer.stdout.decode(errors="replace"))

    def containers(self) -> dict[str, Container]:
        """The containers of the project's services, stopped ones included.

        Raises:
            StackError: Docker does not answer.
        """
        ids = self.docker.lines("ps", "-aq", "--filter", f"label={RUN_LABEL}={self.run}")
        found = [Container.parse(raw) for raw in self.docker.inspect("container", ids)]
        return {one.service: one for one in found if one.service and not one.one_off}

    def gateway(self) -> str:
        """The address of this machine on the project's network (Linux), or `""`.

        Raises:
            StackError: Docker does not answer.
        """
        ids = self.docker.lines("network", "ls", "-q", "--filter", f"label={RUN_LABEL}={self.run}")
        for network in self.docker.inspect("network", ids):
            for config in network["IPAM"]["Config"] or ():
                if config.get("Gateway"):
                    return str(config["Gateway"]).partition("/")[0]
        return ""

    def failure(
        self, service: str, what: str, log: Path | None = None, container_id: str = ""
    ) -> StackError:
        """An error about a service (or that container): state, health log, end of its log."""
        if container_id:
            raw = self.docker.inspect("container", [container_id])
            container = Container.parse(raw[0]) if raw else None
        else:
            container = self.containers().get(service)
        seen = []
        if container is not None:
            state = f"state: {container.state}"
            if container.state in ("exited", "dead"):
                state += f" with {container.exit_code}"
            seen.append(" ".join([state, container.health, container.detail]).strip())
            seen += container.health_log
            answer = subprocess.run(
                [self.docker.program, "logs", "--tail", "12", container.id],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
            lines = answer.stdout.decode(errors="replace").splitlines()
            seen += [line[:300] for line in lines if line.strip()] or ["its log is empty"]
        return StackError(
            f"{service}: {what}",
            seen=seen or ["there is no such container"],
            cause="livekit-server and livekit-sip exit with 0 when they refuse their configuration"
            if container is not None and container.state == "exited" and container.exit_code == 0
            else "",
            evidence=str(log) if log else "",
        )


@functools.cache
def _die_with_parent() -> tuple[str, ...]:
    """The command prefix that makes the kernel kill a child when its parent dies (Linux)."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return ()
    prefix = (setpriv, "--pdeathsig", "KILL", "--")
    # Busybox has a setpriv without that option.
    tried = subprocess.run([*prefix, "true"], capture_output=True, check=False)
    return prefix if tried.returncode == 0 else ()
