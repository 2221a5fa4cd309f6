"""Which images a stack under Compose runs on, and whether Compose can be used here at all."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sandbox import versions
from sandbox.errors import SandboxError, SetupError, StackError, UsageError
from sandbox.stack import provision
from sandbox.stack.compose_files import inside
from sandbox.stack.docker_cli import Docker, find_docker
from sandbox.stack.image_build import REPOSITORY, SERVICE_LABEL, build_image, local_tag
from sandbox.stack.progress import Progress, SilentProgress

__all__ = ["Images", "compose_unfit", "find_images", "ready_images", "sip_label", "upstream_images"]

_FIELDS = {"livekit-server": "server"}
SOURCES = ("auto", "upstream", "local")
_LEAST_COMPOSE = (2, 24)
"""The first Compose that knows `!reset` and `!override`, which the engine's overlay uses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """The images of one stack.

    Attributes:
        source: `upstream`, or `local` (built on this machine).
        redis: the image of redis.
        server: the image of livekit-server.
        sip: the image of the SIP service.
        sip_service: what that is: `livekit-sip v…` or the stand-in.
        phone: the image of the phone.
        missing: those that have to be pulled first.
    """

    source: str
    redis: str
    server: str
    sip: str
    sip_service: str
    phone: str
    missing: tuple[str, ...] = ()


def upstream_images() -> dict[str, str]:
    """The published images by service, each replaceable by `SANDBOX_…_IMAGE`."""
    env = os.environ
    return {
        "redis": env.get("SANDBOX_REDIS_IMAGE") or f"redis:{versions.REDIS}-alpine",
        "livekit-server": env.get("SANDBOX_SERVER_IMAGE")
        or f"livekit/livekit-server:{versions.LIVEKIT_SERVER}",
        "sip": env.get("SANDBOX_SIP_IMAGE") or f"livekit/sip:{versions.LIVEKIT_SIP}",
    }


def present(docker: Docker, images: Sequence[str]) -> set[str]:
    """Those of `images` that the daemon has."""
    wanted = list(images)
    found: set[str] = set()
    for image in docker.inspect("image", wanted):
        found.update(tag for tag in wanted if tag in (image.get("RepoTags") or ()))
    return found


def pullable(docker: Docker, image: str, within: float = 4.0) -> bool:
    """Whether the registry knows `image`, asked through the client."""
    return docker.try_ask("manifest", "inspect", image, within=within) is not None


def find_images(docker: Docker) -> Images:
    """The images to run on; nothing is pulled or built.

    `SANDBOX_IMAGES` decides: `upstream`, `local`, or (the default) `auto`: upstream's where they
    are here, else the local ones where they were built, else upstream's where they can be pulled.

    Raises:
        SetupError: there are none.
        UsageError: `SANDBOX_IMAGES` is something else.
    """
    source = os.environ.get("SANDBOX_IMAGES", "").strip() or "auto"
    if source not in SOURCES:
        raise UsageError(
            f"SANDBOX_IMAGES is {source!r}", remedy=f"one of {', '.join(SOURCES)}, or unset"
        )
    upstream = upstream_images()
    local = {
        name: f"{REPOSITORY}/{name}:latest" for name in ("redis", "livekit-server", "sip", "phone")
    }
    have = present(docker, [*upstream.values(), *local.values()])
    missing = tuple(image for image in upstream.values() if image not in have)
    if source in ("auto", "upstream") and not missing:
        return _upstream(upstream)
    not_built = [image for image in local.values() if image not in have]
    if source in ("auto", "local") and not not_built:
        return _local(docker, local)
    if source == "local":
        raise SetupError(
            "the local images are not built",
            seen=[f"missing: {', '.join(not_built)}"],
            remedy="make images",
        )
    # The first that is refused decides: where there is no way out, each question costs seconds.
    refused = next((image for image in missing if not pullable(docker, image)), None)
    if refused is None:
        return _upstream(upstream, missing)
    raise SetupError(
        "the images are not here, and cannot be pulled",
        seen=[f"cannot be pulled: {refused}"],
        cause="there is no way to the registry, or there is no such version",
        remedy="docker pull them where there is a registry, or build local ones: make images",
    )


def _wants_own_sip() -> bool:
    return bool(os.environ.get("SANDBOX_LIVEKIT_SIP", "").strip()) and not os.environ.get(
        "SANDBOX_SIP_IMAGE"
    )


def _upstream(images: dict[str, str], missing: tuple[str, ...] = ()) -> Images:
    sip, label = images["sip"], ""
    if _wants_own_sip():
        sip, label = local_tag("sip"), provision.sip_service().label
        missing = tuple(image for image in missing if image != images["sip"])
    return Images(
        source="upstream",
        redis=images["redis"],
        server=images["livekit-server"],
        sip=sip,
        sip_service=label or _label_of_tag(sip),
        phone=local_tag("phone"),
        missing=missing,
    )


def _label_of_tag(image: str) -> str:
    tag = image.rpartition(":")[2]
    return f"livekit-sip {tag if re.match(r'v?[0-9]', tag) else f'({image})'}"


def _local(docker: Docker, images: dict[str, str]) -> Images:
    """The images of the sources as they are; where nothing can be built, what was loaded."""
    tags = {}
    for service, latest in images.items():
        try:
            tags[service] = local_tag(service)
        except SetupError:
            if service == "sip" and _wants_own_sip():
                raise
            tags[service] = latest
    if tags["sip"] == images["sip"]:
        found = docker.inspect("image", [images["sip"]])
        label = str(
            ((found[0]["Config"].get("Labels") or {}) if found else {}).get(SERVICE_LABEL, "?")
        )
    else:
        label = provision.sip_service().label
    return Images(
        source="local",
        redis=tags["redis"],
        server=tags["livekit-server"],
        sip=tags["sip"],
        sip_service=label,
        phone=tags["phone"],
    )


def ready_images(docker: Docker, progress: Progress | None = None) -> Images:
    """The images to run on, pulled and built where they are not here (or not of the sources now).

    Raises:
        SetupError: there are none, or one does not build.
        StackError: Docker does not answer.
    """
    progress = progress or SilentProgress()
    images = find_images(docker)
    for image in images.missing:
        with progress.step(f"pulling {image}"):
            docker.ask("pull", "--quiet", image, within=900)
    wanted = {"phone": images.phone, "sip": images.sip}
    if images.source == "local":
        wanted |= {"redis": images.redis, "livekit-server": images.server}
    have = present(docker, list(wanted.values()))
    for service, image in wanted.items():
        if image not in have and image.startswith(f"{REPOSITORY}/"):
            # Its tag may be another by now: somebody edits the sources.
            tag = build_image(docker, service, progress)
            changed: dict[str, Any] = {_FIELDS.get(service, service): tag}
            images = replace(images, **changed)
    return images


@functools.cache
def compose_unfit() -> str:
    """Why Compose cannot be used here, in a few words; `""` if it can. Asked once a process."""
    if find_docker() is None:
        return "there is no docker command"
    docker = Docker()
    try:
        docker.server_version(within=2)
    except StackError as failure:
        last = failure.seen[-1] if failure.seen else failure.what
        if "permission denied" in last:
            return "no permission on the Docker socket"
        return "no Docker daemon answers"
    try:
        version = docker.compose_version()
    except StackError:
        return "Docker has no Compose plugin"
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < _LEAST_COMPOSE:
        return f"Docker Compose {version} is older than 2.24"
    try:
        find_images(docker)
    except SandboxError as failure:
        return failure.what
    return ""


@functools.cache
def sip_label() -> str:
    """What the SIP service under Compose will be, or (inside its network) is.

    Raises:
        SandboxError: there are no images, or Docker does not answer.
    """
    if inside():
        return os.environ.get("SANDBOX_SIP_SERVICE", "unknown")
    return find_images(Docker()).sip_service
