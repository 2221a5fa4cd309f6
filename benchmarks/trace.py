"""Measures what tracing costs a suite, and the report of a 30 s call: `python benchmarks/trace.py`.

The suite is run with `--sandbox-trace=off`, `retain-on-failure` and `on`, one after the other and
then again. CPU time of pytest and everything it started is the measure: it is the same on a busy
machine, where the wall clock is not.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

console = Console(highlight=False)
MODES = ("off", "retain-on-failure", "on")

_CALL = '''
import asyncio

async def test_a_long_call(sandbox, agent):
    """A call of {seconds} s through the room, with something every second."""
    number = await sandbox.inbound(agent=agent.name)
    call = await sandbox.phone.dial(number, codecs=["{codec}"], tone=440)
    await call.answered(within=30)
    for second in range({seconds}):
        await call.play_tone(300 + 10 * second)
        await asyncio.sleep(1)
    await call.hang_up()
'''


def pytest_run(mode: str, folder: Path, *arguments: str) -> tuple[float, float]:
    """Seconds of wall clock and of CPU of a run of pytest; exits where it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    run = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
            "--sandbox-engine=native", f"--sandbox-trace={mode}",
            f"--sandbox-output={folder}", *arguments,
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    wall = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if run.returncode != 0:
        console.print(run.stdout[-3000:], markup=False)
        sys.exit(f"pytest failed with --sandbox-trace={mode}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu


def cost(suite: list[str], rounds: int) -> None:
    """The cost of each mode over `off`."""
    found: dict[str, list[tuple[float, float]]] = {mode: [] for mode in MODES}
    with tempfile.TemporaryDirectory() as temporary:
        for number in range(rounds):
            # Another order each time: what drifts on the machine hits all alike.
            for mode in MODES[number % 3 :] + MODES[: number % 3]:
                found[mode].append(pytest_run(mode, Path(temporary) / mode, *suite))
    table = Table(title=f"Cost of tracing: {' '.join(suite)}, {rounds} rounds, medians")
    for title in ("--sandbox-trace", "wall s", "CPU s", "wall %", "CPU %"):
        table.add_column(title, justify="left" if title.startswith("--") else "right")
    base = [statistics.median(one[i] for one in found["off"]) for i in (0, 1)]
    for mode in MODES:
        wall, cpu = (statistics.median(one[i] for one in found[mode]) for i in (0, 1))
        table.add_row(
            mode, f"{wall:.1f}", f"{cpu:.1f}",
            f"{100 * (wall / base[0] - 1):+.1f}", f"{100 * (cpu / base[1] - 1):+.1f}",
        )  # fmt: skip
    console.print(table)


def opened(page: Path) -> str:
    """How long Chromium takes until the page is shown, the best and the median of five."""
    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        return "no chromium"
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in ("headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-sync",
                 "disable-background-networking", "disable-component-update"):  # fmt: skip
        options.add_argument(f"--{flag}")
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        times = []
        for _ in range(5):
            driver.get("about:blank")
            driver.get(page.as_uri())
            times.append(float(driver.execute_script(
                "return performance.getEntriesByType('navigation')[0].loadEventEnd"
            )) / 1000)  # fmt: skip
    finally:
        driver.quit()
    return f"{min(times):.2f} / {statistics.median(times):.2f} s"


def report(seconds: int) -> None:
    """Size and opening time of the report of a call of `seconds`, for two codecs."""
    table = Table(title=f"Report of a call of {seconds} s")
    for title in ("codec", "report.html MB", "folder MB", "opens (best / median)"):
        table.add_column(title, justify="right")
    for codec in ("PCMU", "G722"):
        with tempfile.TemporaryDirectory() as temporary:
            test = Path(temporary) / "test_long.py"
            test.write_text(_CALL.format(seconds=seconds, codec=codec))
            output = Path(temporary) / "out"
            pytest_run("on", output, str(test), f"--rootdir={temporary}", "-p", "no:randomly")
            (page,) = output.glob("*/report.html")
            whole = sum(path.stat().st_size for path in page.parent.iterdir())
            table.add_row(
                codec, f"{page.stat().st_size / 1e6:.2f}", f"{whole / 1e6:.2f}", opened(page)
            )
    console.print(table)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=30, help="of the call")
    parser.add_argument("--only", choices=("cost", "report"))
    parser.add_argument("suite", nargs="*", default=["tests/e2e/dtmf", "tests/e2e/media"])
    options = parser.parse_args()
    os.environ.setdefault("COLUMNS", "100")
    if options.only != "cost":
        report(options.seconds)
    if options.only != "report":
        cost(options.suite, options.rounds)


if __name__ == "__main__":
    main()
