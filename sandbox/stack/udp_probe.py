"""Echoes UDP between this machine and a container, both ways, as SIP and RTP will need it."""

from __future__ import annotations

import secrets
import socket
import sys
import time

from sandbox.errors import SandboxError
from sandbox.stack.compose_project import Container
from sandbox.stack.compose_sweep import owner_of_this_process
from sandbox.stack.docker_cli import OWNER_LABEL, RUN_LABEL, Docker
from sandbox.stack.image_build import REPOSITORY, local_tag

__all__ = ["probe_udp"]

_PORT = 9999
_TRIES = 5
#: Echoes; and told `call HOST PORT`, sends a datagram and opens a TCP connection there by itself.
_ECHO = f"""
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", {_PORT}))
while True:
    data, source = s.recvfrom(2048)
    s.sendto(data, source)
    if data.startswith(b"call "):
        _, host, port = data.decode().split()
        s.sendto(b"called", (host, int(port)))
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            pass
"""


def probe_udp(docker: Docker) -> tuple[bool, str]:
    """Whether datagrams pass, and what was seen; the container is gone afterwards.

    Raises:
        SandboxError: the container does not start.
    """
    image = _image(docker)
    if image is None:
        return False, "not tried: there is no image with an echo (the phone's)"
    run = f"doctor-{secrets.token_hex(4)}"
    linux = sys.platform == "linux"
    container = docker.ask(
        "run", "--detach", "--rm", "--label", f"{RUN_LABEL}={run}",
        "--label", f"{OWNER_LABEL}={owner_of_this_process()}", "--cap-drop", "ALL",
        *(() if linux else ("--publish", f"127.0.0.1:{_PORT}:{_PORT}/udp")),
        "--entrypoint", "/usr/bin/python3", image, "-c", _ECHO,
    ).strip()  # fmt: skip
    try:
        found = docker.inspect("container", [container])[0]
        address = Container.parse(found).address if linux else "127.0.0.1"
        settings = found["NetworkSettings"]
        gateway = next(
            (net["Gateway"] for net in settings["Networks"].values() if net.get("Gateway")), ""
        )
        return _both_ways(address, gateway if linux else "")
    finally:
        docker.try_ask("rm", "--force", container)


def _image(docker: Docker) -> str | None:
    try:
        names = [local_tag("phone"), f"{REPOSITORY}/phone:latest"]
    except SandboxError:
        names = [f"{REPOSITORY}/phone:latest"]
    for name in names:
        if docker.try_ask("image", "inspect", "--format", "{{.Id}}", name) is not None:
            return name
    return None


def _both_ways(address: str, gateway: str) -> tuple[bool, str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        caller.settimeout(0.5)
        began = time.monotonic()
        for _ in range(_TRIES * 2):  # the container's Python is still starting
            if _echoed(caller, address, b"hello"):
                break
            time.sleep(0.1)
        else:
            seconds = time.monotonic() - began
            return False, f"no echo from the container ({address}:{_PORT}) in {seconds:.0f} s"
        times = []
        for _ in range(_TRIES):
            sent = time.monotonic()
            if _echoed(caller, address, secrets.token_bytes(160)):
                times.append(time.monotonic() - sent)
        seen = (
            f"{len(times)} of {_TRIES} echoed by {address} in {max(times, default=0) * 1000:.1f} ms"
        )
        if len(times) < _TRIES:
            return False, seen
        if not gateway:
            return True, seen
        back = _calls_back(caller, address, gateway)
        return (not back), f"{seen}; {back or 'UDP and TCP come back by themselves'}"


def _echoed(caller: socket.socket, address: str, data: bytes) -> bool:
    try:
        caller.sendto(data, (address, _PORT))
        return caller.recv(2048) == data
    except OSError:
        return False


def _calls_back(caller: socket.socket, address: str, gateway: str) -> str:
    """What does not come to our address on the bridge unasked, as INVITEs and webhooks do."""
    with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        try:
            tcp.bind((gateway, 0))
            port = tcp.getsockname()[1]
            udp.bind((gateway, port))
        except OSError as failure:
            return f"{gateway}, the bridge's address, is not this machine's ({failure})"
        tcp.listen(1)
        tcp.settimeout(2)
        udp.settimeout(2)
        _echoed(caller, address, f"call {gateway} {port}".encode())
        missing = []
        try:
            udp.recv(100)
        except OSError:
            missing.append("UDP")
        try:
            tcp.accept()[0].close()
        except OSError:
            missing.append("TCP (webhooks)")
        return f"no {' and no '.join(missing)} from the container to {gateway}" if missing else ""
