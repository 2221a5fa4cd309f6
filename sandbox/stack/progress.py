"""How set-up tells what it does: a spinner at a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

__all__ = [
    "PlainProgress",
    "Progress",
    "RichProgress",
    "SilentProgress",
    "Step",
    "terminal_progress",
]


class Step(Protocol):
    """A step under way."""

    def note(self, line: str) -> None:
        """What the step is at; only the latest note counts."""

    def give_up(self, why: str) -> None:
        """What the step would have made is not to be had, which is no error."""


class Progress(Protocol):
    """Where set-up reports to."""

    def step(self, title: str, hint: str = "") -> AbstractContextManager[Step]:
        """A step that takes time; its end (or failure) and its time are shown.

        Args:
            title: what is made.
            hint: how, or how long it may take; shown while it runs.
        """

    def ready(self, title: str, detail: str = "") -> None:
        """A part is in place already."""

    def say(self, line: str) -> None:
        """Something the person should read."""


class PlainProgress:
    """Lines for a log: a start, a sign of life every so often, an end with the time."""

    def __init__(self, stream: TextIO, *, quiet: bool = False, heartbeat: float = 15.0) -> None:
        """Write to `stream`; with `quiet`, say nothing of what is in place already."""
        self._stream = stream
        self._quiet = quiet
        self._heartbeat = heartbeat

    @contextlib.contextmanager
    def step(self, title: str, hint: str = "") -> Iterator[Step]:
        """Show the step's start, signs of life, and end."""
        started = time.monotonic()
        self._write(f"  ..    {title}  {hint}".rstrip())
        try:
            step = _PlainStep(self._write, title, started, self._heartbeat)
            yield step
        except BaseException:
            self._write(f"  FAIL  {title}  {time.monotonic() - started:.1f} s")
            raise
        if step.given_up:
            self._write(f"  --    {title}  {step.given_up}")
        else:
            self._write(f"  ok    {title}  {time.monotonic() - started:.1f} s")

    def ready(self, title: str, detail: str = "") -> None:
        """Show that a part is in place."""
        if not self._quiet:
            self._write(f"  ok    {title}  {detail}".rstrip())

    def say(self, line: str) -> None:
        """Show `line`."""
        self._write(f"        {line}")

    def _write(self, line: str) -> None:
        self._stream.write(f"{line}\n")
        self._stream.flush()


class SilentProgress:
    """Says nothing."""

    @contextlib.contextmanager
    def step(self, title: str, hint: str = "") -> Iterator[Step]:
        """A step that nobody watches."""
        del title, hint
        yield self

    def note(self, line: str) -> None:
        """Say nothing."""

    def give_up(self, why: str) -> None:
        """Say nothing."""

    def ready(self, title: str, detail: str = "") -> None:
        """Say nothing."""

    def say(self, line: str) -> None:
        """Say nothing."""


class _PlainStep:
    def __init__(
        self, write: Callable[[str], None], title: str, started: float, heartbeat: float
    ) -> None:
        self._write = write
        self._title = title
        self._started = self._shown = started
        self._heartbeat = heartbeat
        self.given_up = ""

    def give_up(self, why: str) -> None:
        self.given_up = why

    def note(self, line: str) -> None:
        now = time.monotonic()
        if now - self._shown < self._heartbeat:
            return
        self._shown = now
        self._write(f"  ..    {self._title}  {now - self._started:.0f} s  {line[:80]}")


class RichProgress:
    """A spinner with the time that passes, and a line that stays for each step done."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        """Draw on `console`; with `quiet`, say nothing of what is in place already."""
        self._console = console
        self._quiet = quiet

    @contextlib.contextmanager
    def step(self, title: str, hint: str = "") -> Iterator[Step]:
        """Show the step while it runs, and its time when it is done."""
        started = time.monotonic()
        bar = Bar(
            TextColumn("  "),
            SpinnerColumn(),
            TextColumn("   {task.description}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[line]}", style="dim", markup=False),
            console=self._console,
            transient=True,
        )
        step = _RichStep(bar, bar.add_task(title, total=None, line=hint))
        mark, detail = "[red]FAIL[/]", ""
        try:
            with bar:
                yield step
            mark, detail = ("--  ", step.given_up) if step.given_up else ("[green]ok[/]  ", "")
        finally:
            self._line(mark, title, detail or f"{time.monotonic() - started:.1f} s")

    def ready(self, title: str, detail: str = "") -> None:
        """Show that a part is in place."""
        if not self._quiet:
            self._line("[green]ok[/]  ", title, detail)

    def say(self, line: str) -> None:
        """Show `line`."""
        self._console.print(f"        {line}", markup=False, highlight=False, soft_wrap=True)

    def _line(self, mark: str, title: str, detail: str) -> None:
        self._console.print(
            f"  {mark}  {escape(title)}  [dim]{escape(detail)}[/]", highlight=False, soft_wrap=True
        )


class _RichStep:
    def __init__(self, bar: Bar, task: TaskID) -> None:
        self._bar = bar
        self._task = task
        self.given_up = ""

    def give_up(self, why: str) -> None:
        self.given_up = why

    def note(self, line: str) -> None:
        self._bar.update(self._task, line=line[:60])


def terminal_progress(*, quiet: bool = False, stream: TextIO | None = None) -> Progress:
    """The progress that fits `stream` (standard error): rich at a terminal, else plain lines."""
    stream = sys.stderr if stream is None else stream
    if stream.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb":
        return RichProgress(Console(file=stream), quiet=quiet)
    return PlainProgress(stream, quiet=quiet)
