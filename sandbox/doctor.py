"""`sandbox doctor`: what a stack under Docker Compose needs, and the command that mends each."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import re
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.markup import escape

from sandbox import versions
from sandbox.errors import SandboxError, StackError
from sandbox.stack import provision
from sandbox.stack.compose_choice import find_images, present
from sandbox.stack.compose_sweep import owner_is_dead
from sandbox.stack.docker_cli import OWNER_LABEL, Docker, find_docker
from sandbox.stack.image_build import REPOSITORY, extra_ca
from sandbox.stack.udp_probe import probe_udp

__all__ = ["Finding", "diagnose", "run_doctor"]

State = Literal["ok", "warning", "failed"]

_LEAST_DOCKER = (20, 10)
_LEAST_COMPOSE = (2, 24)
_LEAST_CPUS, _LEAST_MEMORY = 2, 2 * 1024**3
_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the diagnosis.

    Attributes:
        state: `ok`, `warning` (works, but) or `failed`.
        name: what was looked at.
        seen: what was found.
        remedy: the command or the setting that mends it, or `""`.
    """

    state: State
    name: str
    seen: str
    remedy: str = ""


def run_doctor(console: Console) -> int:
    """Print the diagnosis line by line; returns 1 if anything failed."""
    worst = 0
    for finding in diagnose():
        style = _STYLES[finding.state]
        console.print(f"[{style}]{finding.state:>8}[/]  {finding.name:<20} {escape(finding.seen)}")
        if finding.remedy:
            console.print(f"{'':>8}  {'':<20} [bold]{escape(finding.remedy)}[/]")
        worst = max(worst, finding.state == "failed")
    return worst


def diagnose() -> Iterator[Finding]:
    """The findings, each as soon as it is known; what needs a daemon is left out without one."""
    docker = None
    for finding in _daemon():
        yield finding
        if finding.state == "failed":
            break
    else:
        docker = Docker()
    if docker is not None:
        checks: list[Callable[[Docker], Finding]] = [
            _compose, _machine, _architecture, _images, _udp, _leftovers
        ]  # fmt: skip
        for check in checks:
            yield _guarded(functools.partial(check, docker), check.__name__.strip("_"))
    yield _guarded(_port, "port 7880")
    yield _guarded(_network_settings, "CA and proxies")
    yield from _versions()
    yield _guarded(_native, "native engine")


def _guarded(check: Callable[[], Finding], name: str) -> Finding:
    try:
        return check()
    except SandboxError as error:
        return Finding("failed", name, "; ".join([error.what, *error.seen[-1:]]), error.remedy)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def _daemon() -> Iterator[Finding]:
    """The client, the socket's permission, and the daemon behind it."""
    program = find_docker()
    if program is None:
        yield Finding(
            "failed", "Docker client", "no docker command",
            "sudo apt-get install -y docker.io   (or Docker Desktop; or use ENGINE=native)",
        )  # fmt: skip
        return
    docker = Docker()
    client = (docker.try_ask("version", "--format", "{{.Client.Version}}") or "").strip()
    if not client:
        # Without a daemon the client prints its part and fails.
        client = (docker.try_ask("--version") or "?").strip()
    yield Finding("ok", "Docker client", f"{client} ({program})")
    try:
        version = docker.server_version(within=5)
    except StackError as failure:
        last = failure.seen[-1] if failure.seen else failure.what
        if "permission denied" in last.lower():
            yield Finding(
                "failed", "Docker socket", "no permission on it",
                "sudo usermod -aG docker $USER, then log in again",
            )  # fmt: skip
        else:
            start = "sudo systemctl start docker" if sys.platform == "linux" else "open -a Docker"
            yield Finding("failed", "Docker daemon", last, start)
        return
    yield Finding("ok", "Docker socket", os.environ.get("DOCKER_HOST") or "may be used")
    if _numbers(version) < _LEAST_DOCKER:
        yield Finding("failed", "Docker daemon", f"{version}", "20.10 is the least: update Docker")
        return
    yield Finding("ok", "Docker daemon", version)


def _compose(docker: Docker) -> Finding:
    try:
        version = docker.compose_version()
    except StackError:
        return Finding(
            "failed", "Docker Compose", "the client has no Compose plugin",
            "sudo apt-get install -y docker-compose-plugin   (Docker's repository)",
        )  # fmt: skip
    if _numbers(version) < _LEAST_COMPOSE:
        return Finding("failed", "Docker Compose", version, "2.24 is the least: update the plugin")
    return Finding("ok", "Docker Compose", version)


def _machine(docker: Docker) -> Finding:
    told = docker.ask("info", "--format", "{{.NCPU}} {{.MemTotal}}").split()
    cpus, memory = int(told[0]), int(told[1])
    seen = f"{cpus} CPUs, {memory / 1024**3:.1f} GiB for containers"
    if cpus < _LEAST_CPUS or memory < _LEAST_MEMORY:
        return Finding(
            "warning", "CPU and memory", seen,
            "give Docker 2 CPUs and 2 GiB (Docker Desktop: Settings, Resources):"
            " with less, audio breaks up",
        )  # fmt: skip
    return Finding("ok", "CPU and memory", seen)


def _architecture(docker: Docker) -> Finding:
    told = docker.ask("info", "--format", "{{.Architecture}}").strip()
    if told in ("x86_64", "amd64"):
        return Finding("ok", "architecture", told)
    return Finding(
        "warning", "architecture", f"{told}: the phone's wheel is x86-64, it runs under emulation",
        "docker run --privileged --rm tonistiigi/binfmt --install amd64   (Docker Desktop has it)",
    )  # fmt: skip


def _images(docker: Docker) -> Finding:
    images = find_images(docker)
    parts = [f"{images.source}: {images.sip_service}"]
    if images.missing:
        parts.append(f"{len(images.missing)} to be pulled at the first start")
    own = [image for image in (images.phone, images.sip) if image.startswith(f"{REPOSITORY}/")]
    have = present(docker, own)
    if missing := [image.rpartition("/")[2] for image in own if image not in have]:
        return Finding(
            "warning", "images", f"{', '.join(parts)}; built at the first start:"
            f" {', '.join(missing)}", "make images   (beforehand)",
        )  # fmt: skip
    return Finding("ok", "images", ", ".join(parts))


def _udp(docker: Docker) -> Finding:
    return probe_finding(*probe_udp(docker))


def probe_finding(ok: bool, seen: str) -> Finding:
    """The finding of a UDP probe."""
    if ok:
        return Finding("ok", "UDP", seen)
    if "no image" in seen:
        return Finding("warning", "UDP", seen, "make images")
    if sys.platform != "linux":
        return Finding("warning", "UDP", seen, "make test-e2e ENGINE=compose RUNNER=container")
    return Finding(
        "failed", "UDP", seen,
        "let Docker's bridges through the firewall: sudo ufw allow from 172.16.0.0/12"
        "   (or RUNNER=container)",
    )  # fmt: skip


def _leftovers(docker: Docker) -> Finding:
    owners = docker.lines(
        "ps", "-a", "--filter", f"label={OWNER_LABEL}",
        "--format", f'{{{{.Label "{OWNER_LABEL}"}}}}',
    )  # fmt: skip
    dead = sum(owner_is_dead(owner) for owner in owners)
    running = len(owners) - dead
    if dead:
        return Finding(
            "warning", "left behind", f"{dead} containers of killed runs",
            "none: the next start removes them",
        )  # fmt: skip
    return Finding("ok", "left behind", f"nothing ({running} containers of running stacks)")


def _port() -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", 7880))
        except OSError:
            return Finding(
                "warning", "port 7880", "in use on 127.0.0.1 (tests take a free one)",
                "SANDBOX_LIVEKIT_PORT=17880 docker compose -f compose/compose.yaml up",
            )  # fmt: skip
    return Finding("ok", "port 7880", "free on 127.0.0.1 (for `docker compose up` by hand)")


def _network_settings() -> Finding:
    ca = extra_ca()
    proxies = [
        name
        for name in ("HTTP_PROXY", "HTTPS_PROXY")
        if os.environ.get(name, os.environ.get(name.lower()))
    ]
    seen = [f"SANDBOX_EXTRA_CA={ca}" if ca else "no extra CA", *proxies]
    if proxies and not (os.environ.get("NO_PROXY") or os.environ.get("no_proxy")):
        return Finding(
            "warning", "CA and proxies", ", ".join(seen), "export NO_PROXY=localhost,127.0.0.1"
        )
    return Finding("ok", "CA and proxies", ", ".join(seen))


def _versions() -> Iterator[Finding]:
    """Whether what is installed is what was verified together."""
    raised = versions.overridden()
    if raised:
        yield Finding(
            "warning", "pins", f"raised: {' '.join(f'{k}={v}' for k, v in raised.items())}"
            " (not verified together)", f"unset {' '.join(raised)}",
        )  # fmt: skip
    else:
        yield Finding(
            "ok", "pins", f"livekit-server {versions.LIVEKIT_SERVER}, livekit-sip"
            f" {versions.LIVEKIT_SIP}, redis {versions.REDIS}",
        )  # fmt: skip
    wanted = {
        "livekit": versions.LIVEKIT,
        "livekit-agents": versions.LIVEKIT_AGENTS,
        "livekit-api": versions.LIVEKIT_API,
    }
    wrong = []
    for name, pin in wanted.items():
        try:
            have = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            have = "missing"
        if have != pin:
            wrong.append((name, have, pin))
    if wrong:
        yield Finding(
            "warning", "Python packages", ", ".join(f"{n} is {h}, pinned {p}" for n, h, p in wrong),
            "pip install " + " ".join(f"{n}=={p}" for n, _, p in wrong),
        )  # fmt: skip
    else:
        python = platform.python_version()
        yield Finding("ok", "Python packages", f"as pinned, on Python {python}")


def _native() -> Finding:
    """The fallback of ENGINE=auto."""
    try:
        provision.redis_server()
        provision.livekit_server()
        label = provision.sip_service().label
        provision.phone_python()
    except SandboxError as error:
        return Finding("warning", "native engine", error.what, "make setup   (or `sandbox setup`)")
    return Finding("ok", "native engine", label)
