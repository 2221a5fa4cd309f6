"""How long the stack takes to come up and go down under Compose: `python -m benchmarks.compose`.

Two ways are measured, with images that are there: by hand (`docker compose up --wait`, which waits
for Docker's health checks, and `down`), and by the engine of the suite, which probes by itself.
Compare with the promise of docs/compose.md on an idle machine only: the load is printed beside.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sandbox.errors import SandboxError
from sandbox.stack.compose import ComposeEngine
from sandbox.stack.compose_choice import Images, ready_images
from sandbox.stack.compose_files import compose_folder
from sandbox.stack.docker_cli import Docker
from sandbox.stack.options import StackOptions
from sandbox.timeline import Timeline

console = Console(highlight=False)

#: What is measured, and the seconds it should stay under where there is a promise.
ROWS: dict[str, float | None] = {
    "by hand: up, all healthy": 6.0,
    "by hand: down": 3.0,
    "engine: redis": None,
    "engine: phone": None,
    "engine: livekit-server": None,
    "engine: sip": None,
    "engine: up": 6.0,
    "engine: down": 3.0,
}


def by_hand(docker: Docker, images: Images) -> dict[str, float]:
    """Up and down once, as docs/compose.md says."""
    files = ["-f", str(compose_folder() / "compose.yaml")]
    if images.source == "local":
        files += ["-f", str(compose_folder() / "compose.local.yaml")]
    environ = {
        **os.environ,
        "COMPOSE_PROJECT_NAME": f"sandbox-bench-{secrets.token_hex(3)}",
        "SANDBOX_LIVEKIT_PORT": "",
        "SANDBOX_REDIS_IMAGE": images.redis,
        "SANDBOX_SERVER_IMAGE": images.server,
        "SANDBOX_SIP_IMAGE": images.sip,
        "SANDBOX_PHONE_IMAGE": images.phone,
    }

    def timed(*words: str) -> float:
        began = time.monotonic()
        subprocess.run(
            [docker.program, "compose", *files, *words],
            env=environ, check=True, capture_output=True,
        )  # fmt: skip
        return time.monotonic() - began

    try:
        up = timed("up", "--detach", "--wait")
    finally:
        down = timed("down")
    return {"by hand: up, all healthy": up, "by hand: down": down}


async def by_engine() -> dict[str, float]:
    """Up and down once, as the suite does."""
    with tempfile.TemporaryDirectory() as folder:
        options = StackOptions(engine="compose", run_dir=Path(folder) / "run", name="bench")
        engine = ComposeEngine(options, Timeline())
        await engine.start()
        timings = engine.timings
        began = time.monotonic()
        await engine.stop()
        down = time.monotonic() - began
    found = {f"engine: {name}": took for name, took in timings.items() if name != "total"}
    return {**found, "engine: up": timings["total"], "engine: down": down}


def main(arguments: Sequence[str]) -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compose", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often (5)")
    rounds = parser.parse_args(arguments).rounds
    try:
        docker = Docker()
        images = ready_images(docker)
        seen: dict[str, list[float]] = {row: [] for row in ROWS}
        for _ in range(rounds):
            for name, took in {**by_hand(docker, images), **asyncio.run(by_engine())}.items():
                seen[name].append(took)
    except SandboxError as failure:
        console.print(str(failure), markup=False)
        return 1
    engines = f"Docker {docker.server_version()}, Compose {docker.compose_version()}"
    table = Table(title=f"{images.source} images, {rounds} rounds, {engines}")
    for column in ("", "median", "least", "most", "promised"):
        table.add_column(column, justify="left" if not column else "right")
    for row, promise in ROWS.items():
        values = seen[row]
        table.add_row(
            row,
            *(f"{value:.1f} s" for value in (statistics.median(values), min(values), max(values))),
            f"< {promise:g} s" if promise else "",
        )
    console.print(table)
    console.print(
        f"{os.cpu_count()} CPUs, load of the last minute {os.getloadavg()[0]:.1f}: "
        "a number of CPUs or more means that the machine was not idle."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
