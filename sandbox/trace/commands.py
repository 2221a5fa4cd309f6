"""`sandbox show-trace` and `sandbox bundle`: the commands."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import webbrowser
from pathlib import Path

import click

from sandbox.errors import SandboxError, UsageError
from sandbox.trace.folders import find_trace

__all__ = ["bundle_command", "show_trace_command"]


def _browser() -> bool:
    """Whether there is a browser with a window; one in a terminal cannot show the page."""
    if os.environ.get("BROWSER"):
        return True
    windowed = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return sys.platform != "linux" or bool(windowed)


_OUTPUT = click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("test-results"),
    show_default=True,
    help="the folder given as --sandbox-output",
)


def _fail(error: SandboxError) -> None:
    click.echo(f"error: {error}", err=True)
    sys.exit(1)


@click.command("show-trace")
@click.argument("trace", required=False, metavar="[PATH]")
@click.option("--last", is_flag=True, help="the newest (also without a PATH)")
@_OUTPUT
def show_trace_command(trace: str | None, last: bool, output: Path) -> None:
    """Open the report of a test: PATH is its folder, or a part of its name.

    Where there is no browser its path is printed.
    """
    try:
        if trace and last:
            raise UsageError("--last and a PATH are two traces", remedy="give one of them")
        page = (find_trace(output, trace) / "report.html").absolute()
    except SandboxError as error:
        _fail(error)
        return
    click.echo(str(page))
    if _browser():
        with contextlib.suppress(webbrowser.Error):
            webbrowser.open(page.as_uri())


@click.command("bundle")
@click.argument("test")
@_OUTPUT
@click.option("--header", "headers", multiple=True, metavar="NAME",
              help="a SIP header or attribute whose value is hidden too (repeatable)")  # fmt: skip
@click.option("--media/--no-media", default=True, help="with audio and RTP (default)")
@click.option("-o", "target", type=click.Path(dir_okay=False, path_type=Path),
              help="the zip; by default the test's name, in this folder")  # fmt: skip
def bundle_command(
    test: str, output: Path, headers: tuple[str, ...], media: bool, target: Path | None
) -> None:
    """Pack the trace of TEST for a bug report: a zip, redacted, with the text of an issue.

    TEST is its folder, or a part of its name. Numbers, credentials and pressed digits are replaced
    by placeholders, the same value by the same one. Audio cannot be redacted: --no-media.
    """
    from sandbox.trace.bundle import write_bundle

    try:
        folder = find_trace(output, test)
    except SandboxError as error:
        _fail(error)
        return
    # The name of a test may have a number in it.
    name = re.sub(r"\d{4,}", "N", folder.resolve().name)
    made = write_bundle(folder, target or Path(f"{name}.zip"), headers=headers, media=media)
    click.echo(made.issue)
    click.echo(f"{made.path}  ({made.path.stat().st_size / 1000:.0f} kB)", err=True)
    click.echo(f"{made.hidden} values are hidden. Look at it before you send it.", err=True)
    if made.media:
        click.echo("Audio and RTP are in it as they were; --no-media leaves them out.", err=True)
