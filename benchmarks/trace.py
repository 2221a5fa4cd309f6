"""Measures what tracing costs a suite, and the report of a 30 s call: `python -m benchmarks.trace`.

A round runs the suite once in each mode of `--sandbox-trace`, in an order that changes from round
to round; each mode is compared with `off` of its own round, and the median of the rounds is told
with their spread. CPU seconds of pytest and of all that it started are the measure: the wall clock
stands beside them and says little on a busy machine. A round in which a run failed is not counted.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

console = Console(highlight=False)
#: Seconds that what pytest started may live longer than it.
_LAST_WORDS = 5.0
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


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of pytest took.

    Attributes:
        wall: seconds of the clock.
        cpu: seconds of CPU of pytest and all that it started.
        failed: what it printed, if it failed.
    """

    wall: float
    cpu: float
    failed: str = ""


def adopt_orphans() -> None:
    """Have processes whose parent ended counted here as well (Linux)."""
    pr_set_child_subreaper = 36
    if ctypes.CDLL(None, use_errno=True).prctl(pr_set_child_subreaper, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def pytest_run(mode: str, folder: Path, *arguments: str) -> Run:
    """Run pytest in a mode of `--sandbox-trace`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    run = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly",
            "--sandbox-engine=native", f"--sandbox-trace={mode}",
            f"--sandbox-output={folder}", *arguments,
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    wall = time.monotonic() - started
    # A stack's last processes end with pytest; their CPU counts once they are waited for.
    end = time.monotonic() + _LAST_WORDS
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < end:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.02)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(wall, cpu, run.stdout[-3000:] if run.returncode else "")


def _percent(values: Sequence[float]) -> str:
    if not values:
        return ""
    low, high = min(values), max(values)
    return f"{statistics.median(values):+.1f}  ({low:+.1f} to {high:+.1f})"


def cost(suite: list[str], rounds: int) -> None:
    """The cost of each mode over `off`, round by round."""
    whole: list[dict[str, Run]] = []
    with tempfile.TemporaryDirectory() as temporary:
        for number in range(rounds):
            order = MODES[number % 3 :] + MODES[: number % 3]
            runs = {mode: pytest_run(mode, Path(temporary) / mode, *suite) for mode in order}
            told = "  ".join(f"{m} {r.wall:.1f} s, CPU {r.cpu:.1f} s" for m, r in runs.items())
            load = os.getloadavg()[0] / (os.cpu_count() or 1)
            console.print(f"round {number + 1} of {rounds}: {told}; load {load:.1f} a core")
            failed = next((run for run in runs.values() if run.failed), None)
            if failed is None:
                whole.append(runs)
            else:
                console.print(failed.failed, markup=False)
                console.print("not counted: a run of this round failed")
    if not whole:
        sys.exit("no round was whole: see above for what failed")
    table = Table(
        title=f"Cost of tracing: {' '.join(suite)}; {len(whole)} of {rounds} rounds, medians"
    )
    for title in ("--sandbox-trace", "wall s", "CPU s", "wall % (spread)", "CPU % (spread)"):
        table.add_column(title, justify="left" if title.startswith("--") else "right")
    for mode in MODES:
        walls, cpus = ([getattr(runs[mode], name) for runs in whole] for name in ("wall", "cpu"))
        over = {
            name: [
                100 * (getattr(runs[mode], name) / getattr(runs["off"], name) - 1) for runs in whole
            ]
            for name in ("wall", "cpu")
            if mode != "off"
        }
        table.add_row(
            mode, f"{statistics.median(walls):.1f}", f"{statistics.median(cpus):.1f}",
            _percent(over.get("wall", [])), _percent(over.get("cpu", [])),
        )  # fmt: skip
    console.print(table)
    if len(whole) < 3:
        console.print("fewer than three rounds: no figure to rely on")


def opened(page: Path) -> str:
    """How long Chromium takes until the page is shown, the best and the median of five; its CPU."""
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
        times, cpus = [], []
        driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
        for _ in range(5):
            driver.get("about:blank")
            driver.get(page.as_uri())
            times.append(float(driver.execute_script(
                "return performance.getEntriesByType('navigation')[0].loadEventEnd"
            )) / 1000)  # fmt: skip
            told = driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
            cpus.append(next(m["value"] for m in told if m["name"] == "TaskDuration"))
    finally:
        driver.quit()
    cpu = statistics.median(cpus)
    return f"{min(times):.2f} / {statistics.median(times):.2f} s, CPU {cpu:.2f} s"


def report(seconds: int) -> None:
    """Size and opening time of the report of a call of `seconds`, for two codecs."""
    table = Table(title=f"Report of a call of {seconds} s")
    for title in ("codec", "report.html MB", "folder MB", "opens (best / median), CPU"):
        table.add_column(title, justify="right")
    for codec in ("PCMU", "G722"):
        with tempfile.TemporaryDirectory() as temporary:
            test = Path(temporary) / "test_long.py"
            test.write_text(_CALL.format(seconds=seconds, codec=codec))
            output = Path(temporary) / "out"
            run = pytest_run("on", output, str(test), f"--rootdir={temporary}")
            if run.failed:
                console.print(run.failed, markup=False)
                sys.exit("the call of the report failed")
            (page,) = output.glob("*/report.html")
            whole = sum(path.stat().st_size for path in page.parent.iterdir())
            table.add_row(
                codec, f"{page.stat().st_size / 1e6:.2f}", f"{whole / 1e6:.2f}", opened(page)
            )
    console.print(table)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=30, help="of the call")
    parser.add_argument("--only", choices=("cost", "report"))
    parser.add_argument("suite", nargs="*", default=["tests/e2e/dtmf", "tests/e2e/media"])
    options = parser.parse_args()
    os.environ.setdefault("COLUMNS", "110")
    adopt_orphans()
    if options.only != "cost":
        report(options.seconds)
    if options.only != "report":
        cost(options.suite, options.rounds)


if __name__ == "__main__":
    main()
