"""`sandbox call`: one call to a stack that is up: say something, hear the answer."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.console import Console
from rich.text import Text

from sandbox import talk
from sandbox.errors import DeadlineMissed, UsageError
from sandbox.phone.call import Call
from sandbox.phone.client import Phone
from sandbox.speech.local import local_speech
from sandbox.speech.voice import Voice
from sandbox.stack.options import StackOptions
from sandbox.stack.registry import RunningStack
from sandbox.stack.stack import Stack
from sandbox.timeline import Event, Timeline
from sandbox.trace.ladder import ladder_text, rungs
from sandbox.trace.timings import call_timings

__all__ = ["CallOrder", "number_of", "place_call"]

talk.use(Voice)

#: How long a pause must last to be the end of what the agent says, in seconds.
_PAUSE = 0.8
#: How long an answer is waited for, and a greeting before anything is said, in seconds.
_ANSWER = 6.0
_GREETING = 5.0
#: What to look at where what was said was not answered.
_HINTS = {
    "say": " (an agent with ToneSTT hears --say-exactly alone)",
    "say_exactly": " (an agent with ToneSTT alone hears --say-exactly)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOrder:
    """What `sandbox call` was asked for.

    Attributes:
        stack: the stack that is up.
        number: what is dialled: a number or a SIP URI.
        caller: the number of the phone.
        headers: of the INVITE.
        steps: what the phone does once the agent has stopped talking, in this order, each
            (`say`, `say_exactly` or `dtmf`, text).
        seconds: after which the phone hangs up, if the agent has not.
    """

    stack: RunningStack
    number: str
    caller: str
    headers: Sequence[tuple[str, str]]
    steps: Sequence[tuple[str, str]]
    seconds: float

    @property
    def speaks(self) -> bool:
        """Whether anything is said in spoken words."""
        return any(kind == "say" for kind, _ in self.steps)


async def place_call(order: CallOrder, console: Console) -> int:
    """Place the call, show what happens as it does, and at its end the ladder and the timings.

    Returns:
        The exit code: 0 if the call was answered.

    Raises:
        SetupError: speech was asked for and is not installed.
        StackError: the stack does not answer.
    """
    if order.speaks:
        # Loading takes a while; nobody shall wait for it in the call.
        local_speech().load("voice")
        local_speech().load("model")
    os.environ.update(order.stack.env)
    run_dir = Path(tempfile.mkdtemp(prefix="livekit-sip-sandbox-call-"))
    timeline = Timeline()
    stack = Stack(StackOptions(engine="attach", run_dir=run_dir, name="call"), timeline)
    try:
        ends = await stack.start()
        stack.watch_path(run_dir)
        phone = await Phone.connect(
            ends.phone_url, ends.phone_token, timeline, log_path=run_dir / "phone.log"
        )
        async with phone:
            uri = order.number
            if not uri.startswith(("sip:", "sips:", "tel:")):
                uri = f"sip:{uri}@{ends.sip_address}"
            shown = _Live(console)
            shown.line("dial", f"{order.caller} → {uri}")
            call = await phone.dial(uri, caller=order.caller, headers=list(order.headers))
            shown.follow(call)
            answered = await _converse(call, order, shown)
            await phone.reset()
        _report(console, timeline, call, ends.sip_service.split(" (")[0])
        return 0 if answered else 1
    finally:
        await stack.stop()
        shutil.rmtree(run_dir, ignore_errors=True)


async def _converse(call: Call, order: CallOrder, shown: _Live) -> bool:
    """The call from ringing to its end; whether it was answered."""
    over = time.monotonic() + order.seconds
    try:
        await call.answered(within=order.seconds)
    except DeadlineMissed as missed:
        shown.line("no answer", missed.what)
        await call.cancel()
        return False
    await call.attend(words=order.speaks)

    def left() -> float:
        return max(over - time.monotonic(), 0.1)

    try:
        if order.steps:
            await _sound(call, shown, "nobody spoke first", within=min(left(), _GREETING))
        for kind, text in order.steps:
            await call.hears_silence(for_=_PAUSE, within=left())
            await call.speech.caught_up(within=left())
            await _do(call, kind, text, shown)
            unheard = f"no answer{_HINTS.get(kind, '')}"
            await _sound(call, shown, unheard, within=min(left(), _ANSWER))
        if order.steps:
            await call.hears_silence(for_=_PAUSE * 2, within=left())
            await call.speech.caught_up(within=left())
        else:
            await call.ended(within=left())
    except DeadlineMissed as missed:
        if call.state != "ended":
            shown.line("waited", f"{missed.what}")
    if call.state != "ended":
        await call.hang_up()
    return True


async def _sound(call: Call, shown: _Live, unheard: str, *, within: float) -> None:
    """Wait until something is heard; where nothing is, say so."""
    try:
        await call.hears_sound(within=within)
    except DeadlineMissed:
        if call.state != "ended":
            shown.line("silence", f"for {within:.0f} s: {unheard}")


async def _do(call: Call, kind: str, text: str, shown: _Live) -> None:
    shown.line("say" if kind.startswith("say") else "keys", text)
    if kind == "dtmf":
        await call.send_dtmf(text)
    elif kind == "say_exactly":
        await call.says_exactly(text)
    else:
        await call.says(text)


class _Live:
    """Lines for what happens on the call, as it happens."""

    _NAMES: ClassVar = {
        "call.ringing": "ringing",
        "call.early": "early media",
        "call.answered": "answered",
        "call.ended": "ended",
    }

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = time.time()
        self._call = ""

    def line(self, label: str, text: str, at: float | None = None) -> None:
        seconds = (time.time() if at is None else at) - self._start
        style = "bold cyan" if label in ("say", "keys", "dial") else "bold green"
        self._console.print(
            Text.assemble((f"{seconds:7.2f} s  ", "dim"), (f"{label:<10} ", style), text)
        )

    def follow(self, call: Call) -> None:
        """Show what happens on `call`, and what has happened already."""
        timeline, self._call = call.phone.timeline, call.id
        for event in timeline.since(0):
            self._event(event)
        timeline.subscribe(self._event)

    def _event(self, event: Event) -> None:
        if event.call != self._call:
            return
        data = event.data
        if event.name in ("speech.exact", "speech.words"):
            self.line("hears", str(data["text"]), data["ended"])
        elif event.name == "speech.garbled":
            self.line("hears", f"{data['text']} (garbled: {data['problem']})", event.at)
        elif event.name == "call.dtmf":
            self.line("hears key", str(data.get("digit", "")), event.at)
        elif event.name == "speech.failed":
            self.line("deaf", str(data["error"]), event.at)
        elif event.name in self._NAMES:
            detail = " ".join(
                str(data[key]) for key in ("status", "reason", "codec") if data.get(key)
            )
            if data.get("by"):
                detail = f"by {'the phone' if data['by'] == 'local' else 'the other end'}, {detail}"
            self.line(self._NAMES[event.name], detail, event.at)


def _report(console: Console, timeline: Timeline, call: Call, service: str) -> None:
    events = timeline.since(0)
    console.print("\n[bold]SIP ladder (seconds)[/]")
    for line in ladder_text(rungs(events, call.id), right=service):
        console.print("  " + line, markup=False)
    timings = call_timings(events, call.id)
    console.print("\n[bold]Timings (seconds from the INVITE)[/]")
    for label, value in (
        ("180 Ringing", timings.ringing),
        ("200 OK", timings.answered),
        ("first RTP to the phone", timings.first_rtp_received),
        ("end of the call", timings.ended),
    ):
        console.print(f"    {label:<26} {'not seen' if value is None else f'{value:8.3f}'}")


def number_of(stack: RunningStack, number: str | None) -> str:
    """The number to dial: as given, or that of `sandbox run-agent`.

    Raises:
        UsageError: none was given, and the stack has none.
    """
    found = number or stack.env.get("SANDBOX_NUMBER")
    if not found:
        raise UsageError(
            "whom to call?",
            cause=f"the stack {stack.name!r} is one of `sandbox up`, which has no agent",
            remedy="give a number that a trunk and a rule of yours take: sandbox call +1555…",
        )
    return found
