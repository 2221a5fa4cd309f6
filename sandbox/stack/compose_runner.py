"""RUNNER=container: pytest inside the network, for where this machine cannot reach the containers.

    python -m sandbox.stack.compose_runner tests/e2e --junitxml=test-results/junit.xml

The arguments are pytest's. The checkout is mounted read-only, its test-results writable; the stack
comes up first, is followed into test-results/stack-runner, and goes down afterwards in any case.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sandbox.errors import SandboxError, UsageError
from sandbox.stack.compose_choice import ready_images
from sandbox.stack.compose_files import INSIDE, PACKAGE
from sandbox.stack.compose_plan import LIVEKIT_PORT, WEBHOOK_PORT, Plan
from sandbox.stack.compose_project import ComposeProject
from sandbox.stack.compose_sweep import ComposeReaper, remove_run, sweep
from sandbox.stack.docker_cli import RUN_LABEL, Docker
from sandbox.stack.image_build import build_image, extra_ca
from sandbox.stack.options import StackOptions
from sandbox.stack.progress import terminal_progress

__all__ = ["main", "run_inside"]

_WORKSPACE = "/workspace"
_LOGS = "stack-runner"
_SERVICES = ("redis", "livekit-server", "sip", "phone")


def run_inside(arguments: Sequence[str], checkout: Path) -> int:
    """Run pytest with `arguments` in the runner; returns its exit status.

    Raises:
        SetupError: there is no Docker, or there are no images.
        StackError: the stack did not become healthy.
        UsageError: the arguments ask for several stacks.
    """
    if any(word.startswith(("-n", "--numprocesses")) for word in arguments):
        raise UsageError("the runner has one stack: leave -n out", seen=[" ".join(arguments)])
    docker = Docker()
    progress = terminal_progress(quiet=True)
    images = ready_images(docker, progress)
    runner_image = build_image(docker, "runner", progress)
    sweep(docker)
    results = checkout / "test-results"
    folder = results / _LOGS
    (folder / "phone").mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.log"):
        old.unlink()
    plan = Plan(StackOptions(engine="compose", run_dir=folder, name="runner"), images)
    plan.webhook_url = f"http://runner:{WEBHOOK_PORT}/webhook"
    plan.write(_overlay(plan, checkout))
    remover = ComposeReaper(docker, plan.run)
    project = ComposeProject(
        docker,
        name=plan.project,
        run=plan.run,
        files=plan.files(),
        folder=folder,
        values={**plan.values(), "SANDBOX_RUNNER_IMAGE": runner_image},
        profiles=["runner"],
    )
    try:
        with progress.step("stack under Compose") as _:
            _up(project, folder)
        with _followed(project, folder):
            return _pytest(project, arguments)
    finally:
        remove_run(docker, plan.run)
        remover.dismiss()


def _up(project: ComposeProject, folder: Path) -> None:
    """Start all and wait until Docker's own checks say that they are healthy."""
    try:
        project.up(*_SERVICES, wait=True)
    except SandboxError:
        for service, container in project.containers().items():
            if container.state != "running" or container.health != "healthy":
                raise project.failure(service, "did not become healthy", folder) from None
        raise


@contextlib.contextmanager
def _followed(project: ComposeProject, folder: Path) -> Iterator[None]:
    """Follow each container's log into a file of its own."""
    followers = []
    for service, container in project.containers().items():
        with (folder / f"{service}.log").open("ab") as log:
            followers.append(
                subprocess.Popen(
                    [project.docker.program, "logs", "--follow", container.id],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )
    try:
        yield
    finally:
        for follower in followers:
            follower.terminate()
            follower.wait()


def _pytest(project: ComposeProject, arguments: Sequence[str]) -> int:
    command = [
        *project.command, "run", "--rm", "--use-aliases", "--no-deps", "-T", "runner",
        "-p", "sandbox.pytest_plugin", "-p", "no:cacheprovider",
        "--sandbox-engine=compose", *arguments,
    ]  # fmt: skip
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, env=project.environ, check=False
    ).returncode


def _trusted(folder: Path) -> dict[str, str]:
    """Variables by which Python in the runner trusts SANDBOX_EXTRA_CA too."""
    ca = extra_ca()
    if ca is None:
        return {}
    import certifi

    bundle = folder / "ca-bundle.pem"
    bundle.write_text(Path(certifi.where()).read_text() + "\n" + ca.read_text())
    inside = f"{_WORKSPACE}/test-results/{_LOGS}/{bundle.name}"
    return {"SSL_CERT_FILE": inside, "REQUESTS_CA_BUNDLE": inside}


def _overlay(plan: Plan, checkout: Path) -> dict[str, Any]:
    """The runner's mounts and variables; the phone shares its files by the same paths."""
    results = f"{_WORKSPACE}/test-results"
    shared = [
        {"type": "bind", "source": str(checkout), "target": _WORKSPACE, "read_only": True},
        {"type": "bind", "source": str(checkout / "test-results"), "target": results},
        {"type": "volume", "source": "tmp", "target": "/tmp"},
    ]
    phone_folder = f"{results}/{_LOGS}/phone"
    return {
        "services": {
            "phone": {
                "command": ["--log-dir", phone_folder],
                "working_dir": "/",
                "environment": {"TMPDIR": "/tmp"},
                "tmpfs": "!reset",
                "volumes": shared,
            },
            "runner": {
                "volumes": shared,
                "environment": {
                    INSIDE: f"{results}/{_LOGS}",
                    "PYTHONPATH": _WORKSPACE,
                    "LIVEKIT_URL": f"ws://livekit-server:{LIVEKIT_PORT}",
                    "LIVEKIT_API_KEY": plan.key,
                    "LIVEKIT_API_SECRET": "${SANDBOX_API_SECRET}",
                    "SANDBOX_PHONE_TOKEN": "${SANDBOX_PHONE_TOKEN}",
                    "SANDBOX_SIP_SERVICE": plan.images.sip_service,
                    "CI": os.environ.get("CI", ""),
                    **_trusted(plan.folder),
                },
            },
        },
        "volumes": {
            "tmp": {"labels": {RUN_LABEL: plan.run, "dev.sandbox.owner": "${SANDBOX_OWNER}"}}
        },
    }


def main(arguments: Sequence[str]) -> int:
    """Run pytest in the network; returns its exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    checkout = PACKAGE.parent
    try:
        status = run_inside(arguments, checkout)
    except SandboxError as failure:
        sys.stderr.write(f"\n{failure}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    sys.stderr.write(f"all down, nothing left ({time.monotonic() - started:.0f} s)\n")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
