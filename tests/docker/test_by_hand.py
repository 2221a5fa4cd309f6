"""What a person does with the Compose files, as docs/compose.md says, and what is in the images."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from sandbox.stack.compose_choice import ready_images
from sandbox.stack.docker_cli import Docker
from sandbox.stack.udp_probe import probe_udp

COMPOSE = Path(__file__).resolve().parents[2] / "compose"


def test_up_and_down_by_hand(docker: Docker) -> None:
    """All healthy by Docker's own checks, the API on 127.0.0.1, and nothing left after `down`."""
    images = ready_images(docker)
    files = ["-f", str(COMPOSE / "compose.yaml")]
    if images.source == "local":
        files += ["-f", str(COMPOSE / "compose.local.yaml")]
    environ = {
        **os.environ,
        "COMPOSE_PROJECT_NAME": f"by-hand-{secrets.token_hex(3)}",
        "SANDBOX_LIVEKIT_PORT": "",
        "SANDBOX_REDIS_IMAGE": images.redis,
        "SANDBOX_SERVER_IMAGE": images.server,
        "SANDBOX_SIP_IMAGE": images.sip,
        "SANDBOX_PHONE_IMAGE": images.phone,
    }

    def compose(*words: str) -> str:
        answer = subprocess.run(
            [docker.program, "compose", *files, *words],
            env=environ, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    before = set(docker.lines("volume", "ls", "-q"))
    try:
        began = time.monotonic()
        compose("up", "--detach", "--wait")
        took = time.monotonic() - began
        told = [json.loads(line) for line in compose("ps", "--format", "json").splitlines()]
        assert {one["Service"]: one["Health"] for one in told} == dict.fromkeys(
            ("redis", "livekit-server", "sip", "phone"), "healthy"
        )
        where = compose("port", "livekit-server", "7880").strip()
        assert where.startswith("127.0.0.1:")
        with urllib.request.urlopen(f"http://{where}/", timeout=5) as answer:
            assert answer.read() == b"OK"
    finally:
        began = time.monotonic()
        compose("down")
        down = time.monotonic() - began
    assert set(docker.lines("volume", "ls", "-q")) <= before, "a volume was left"
    print(f"up to healthy {took:.1f} s, down {down:.1f} s")  # noqa: T201


def test_datagrams_pass_both_ways(docker: Docker) -> None:
    ok, seen = probe_udp(docker)
    assert ok, seen


@pytest.mark.parametrize("service", ["redis", "livekit-server", "sip", "phone"])
def test_local_images_hold_no_certificate_and_no_proxy(docker: Docker, service: str) -> None:
    images = ready_images(docker)
    if images.source != "local":
        pytest.skip("the images are upstream's")
    tag = {"redis": images.redis, "livekit-server": images.server, "sip": images.sip}.get(
        service, images.phone
    )
    raw = docker.inspect("image", [tag])[0]
    assert raw["Config"]["User"] not in ("", "0", "root")
    assert raw["Config"]["Labels"]["org.opencontainers.image.version"]
    kept = json.dumps(raw["Config"]) + docker.ask("history", "--no-trunc", tag)
    for word in ("http_proxy=", "https_proxy=", "pip_index_url="):
        assert word not in kept.lower()
    inside = docker.ask(
        "run", "--rm", "--network", "none", "--user", "0", "--entrypoint", "/bin/sh", tag, "-c",
        "ls -A /run /tmp /root 2>/dev/null; find / -xdev -name '*extra-ca*' 2>/dev/null; true",
    )  # fmt: skip
    assert "extra-ca.pem" not in inside
