"""`sandbox explain`: the command. Wiring: the one module here that knows the running stack."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click
from rich.console import Console

from sandbox.errors import SandboxError, UsageError
from sandbox.explain.call import Credentials, IncomingCall
from sandbox.explain.lints import lint
from sandbox.explain.model import explain
from sandbox.explain.render import as_json, as_rich
from sandbox.explain.sources import Deployment, as_export, fetch, read_export
from sandbox.explain.versions import CHECKED

__all__ = ["explain_command"]


@click.command("explain")
@click.option("--from", "caller", metavar="NUMBER", help="the caller: user of the From header")
@click.option("--to", "called", metavar="NUMBER", help="the called number: user of the To header")
@click.option("--from-host", default="", metavar="HOST", help="host of the From header")
@click.option("--source", default="", metavar="IP", help="address that the INVITE comes from")
@click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="repeatable")
@click.option("--pin", metavar="DIGITS", help="what is entered before #; '' for a bare #")
@click.option("--user", metavar="NAME", help="the caller's digest user")
@click.option("--password", metavar="WORD", help="the caller's digest password")
@click.option("--invite", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="take the call from a captured INVITE (text)")  # fmt: skip
@click.option("--export", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="read trunks and rules from JSON")  # fmt: skip
@click.option("--url", envvar="LIVEKIT_URL", help="of livekit-server [env: LIVEKIT_URL]")
@click.option("--api-key", envvar="LIVEKIT_API_KEY", help="[env: LIVEKIT_API_KEY]")
@click.option("--api-secret", envvar="LIVEKIT_API_SECRET", help="[env: LIVEKIT_API_SECRET]")
@click.option("--name", help="which running stack, when several are up")
@click.option("--server-version", default="", metavar="vX.Y.Z",
              help=f"explain for this livekit-server (default {CHECKED})")  # fmt: skip
@click.option("--agent", "agents", multiple=True, metavar="NAME",
              help="an agent name that a worker serves (repeatable; '' for automatic dispatch)",
              )  # fmt: skip
@click.option("--lints/--no-lints", default=True, help="also look for traps (default)")
@click.option("--save", type=click.Path(dir_okay=False, path_type=Path),
              help="write what was read as JSON for --export, without passwords")  # fmt: skip
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
def explain_command(
    caller: str | None,
    called: str | None,
    from_host: str,
    source: str,
    headers: tuple[str, ...],
    pin: str | None,
    user: str | None,
    password: str | None,
    invite: Path | None,
    export: Path | None,
    url: str | None,
    api_key: str | None,
    api_secret: str | None,
    name: str | None,
    server_version: str,
    agents: tuple[str, ...],
    lints: bool,
    save: Path | None,
    output: str,
) -> None:
    """Say trunk by trunk and rule by rule what becomes of a call, and what to change.

    Trunks and rules come from --export, else from --url or LIVEKIT_URL with its key and secret,
    else from the stack that `sandbox up` runs. Exits with 0 if the call gets through, 3 if not.
    """
    try:
        if invite is not None:
            text = invite.read_text(encoding="utf-8", errors="replace")
            call = IncomingCall.from_invite(text, source=source)
        elif called is None:
            raise UsageError("no call is given", remedy="use --from and --to, or --invite FILE")
        else:
            call = IncomingCall(
                from_user=caller or "", to_user=called, from_host=from_host, source=source
            )
        call = call.with_changes(headers=(*call.headers, *map(_header, headers)))
        if pin is not None:
            call = call.with_changes(pin=pin)
        if user is not None or password is not None:
            proof = Credentials(username=user or "", password=password or "")
            call = call.with_changes(credentials=proof)
        deployment, found_version = _deployment(export, url, api_key, api_secret, name)
        if save is not None:
            save.write_text(as_export(deployment) + "\n", encoding="utf-8")
        verdict = explain(
            deployment.trunks,
            deployment.rules,
            call,
            version=server_version or found_version,
            rooms=deployment.rooms,
        )
    except SandboxError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print("[bold red]error[/]: ", end="")
        click.echo(str(error), err=True)
        sys.exit(1)
    traps = (
        lint(deployment.trunks, deployment.rules, agents=agents or None, rooms=deployment.rooms)
        if lints
        else []
    )
    if output == "json":
        click.echo(as_json(verdict, traps))
    else:
        console = Console(highlight=False, soft_wrap=True)
        console.print(f"[dim]{deployment.origin}, livekit-server {verdict.version}[/]")
        console.print(as_rich(verdict, traps))
    sys.exit(0 if verdict.outcome.good else 3)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise UsageError(f"{text!r} is no header", remedy="write it as 'X-Name: value'")
    return name.strip(), value.strip()


def _deployment(
    export: Path | None, url: str | None, key: str | None, secret: str | None, name: str | None
) -> tuple[Deployment, str]:
    """Trunks and rules, and the server's version where it is known."""
    if export is not None:
        return read_export(export), ""
    if url and name is None:
        if not key or not secret:
            raise UsageError(
                f"{url} needs a key and a secret",
                remedy="set LIVEKIT_API_KEY and LIVEKIT_API_SECRET",
            )
        return asyncio.run(fetch(url, key, secret)), ""
    # Only here: the model itself knows nothing of stacks.
    from sandbox.stack import registry

    stacks = [stack for stack in registry.running() if name in (None, stack.name)]
    if len(stacks) != 1:
        raise UsageError(
            "several stacks are up" if stacks else "there are no trunks and rules to read",
            seen=[stack.name for stack in stacks],
            remedy="use --name"
            if stacks
            else "sandbox up, or LIVEKIT_URL and its keys, or --export",
        )
    env = stacks[0].env
    found = asyncio.run(
        fetch(env["LIVEKIT_URL"], env["LIVEKIT_API_KEY"], env["LIVEKIT_API_SECRET"])
    )
    return found, env.get("SANDBOX_SERVER_VERSION", "")
