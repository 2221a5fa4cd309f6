"""An LLM for livekit-agents that answers from a script: turns, tool calls, delays, failures."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from livekit.agents import llm
from livekit.agents._exceptions import APIError
from livekit.agents.types import (
    DEFAULT_API_CONNECT_OPTIONS,
    NOT_GIVEN,
    APIConnectOptions,
    NotGivenOr,
)
from livekit.agents.utils import shortuuid

from sandbox.speech.words import fold

__all__ = ["Request", "ScriptedLLM", "ToolCall", "Turn"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of one of the agent's tools.

    Attributes:
        name: the tool's name.
        arguments: its arguments by name, JSON-like.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One answer of the LLM.

    Attributes:
        says: its text; a function makes it of what it answers (the user's words, or the output of
            the tool that was called).
        when: for which input: a text that is part of it, or a pattern; None is any. Of a text, case
            does not matter, nor punctuation and how numbers are written ("forty two" is 42), as
            a recogniser may differ there.
        calls: the tools it calls, after its text.
        delay: seconds before its first word.
        pace: seconds between its words.
        fails: the error that is raised instead.
        failures: how many times it is raised; then comes the answer. An AgentSession tries again
            by itself if the error is retryable.
        again: whether the turn may be taken more than once.
    """

    says: str | Callable[[str], str] = ""
    when: str | re.Pattern[str] | None = None
    calls: Sequence[ToolCall] = ()
    delay: float = 0.0
    pace: float = 0.0
    fails: APIError | None = None
    failures: int = 1
    again: bool = False

    def takes(self, text: str) -> bool:
        """Whether it is for the input `text`."""
        if self.when is None:
            return True
        if isinstance(self.when, str):
            words = f" {' '.join(fold(self.when))} "
            return self.when.casefold() in text.casefold() or (
                bool(words.strip()) and words in f" {' '.join(fold(text))} "
            )
        return self.when.search(text) is not None


@dataclass(frozen=True, slots=True)
class Request:
    """A request that the LLM got.

    Attributes:
        text: what it was to answer: the user's words, or the output of a tool; "" for neither.
        of: `user`, `tool`, or `instructions` for neither.
        tools: the names of the tools that it was offered.
        context: the chat context, as it was.
        turn: the turn that was taken; None if none was for it.
    """

    text: str
    of: str
    tools: Sequence[str]
    context: llm.ChatContext
    turn: Turn | None


def _input(context: llm.ChatContext) -> tuple[str, str]:
    """What is to be answered, and whose it is."""
    for item in reversed(context.items):
        if item.type == "function_call_output":
            return item.output, "tool"
        if item.type == "message":
            if item.role == "user":
                return item.text_content or "", "user"
            if item.role == "assistant":
                break
    return "", "instructions"


class ScriptedLLM(llm.LLM[str]):
    """An LLM whose answers are given.

    For each request the first turn that is for it and was not taken yet is taken. The same request
    again (a retry, or a preemptive generation that was confirmed) gets the same turn.

    Attributes:
        requests: what it was asked so far.
    """

    def __init__(self, *turns: Turn | str, otherwise: str | None = None) -> None:
        """Make the LLM.

        Args:
            turns: in order; a string is a turn that says it.
            otherwise: the answer where no turn is left; None is an error that says so.
        """
        super().__init__()
        self._turns = [Turn(says=turn) if isinstance(turn, str) else turn for turn in turns]
        self._left = list(self._turns)
        self._otherwise = otherwise
        self._taken: dict[tuple[int, str, str], Turn] = {}
        self._failed: dict[int, int] = {}
        self.requests: list[Request] = []

    @property
    def model(self) -> str:
        """`script`."""
        return "script"

    @property
    def provider(self) -> str:
        """`livekit-sip-sandbox`."""
        return "livekit-sip-sandbox"

    @property
    def left(self) -> Sequence[Turn]:
        """The turns that were not taken."""
        return tuple(turn for turn in self._left if not turn.again)

    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        parallel_tool_calls: NotGivenOr[bool] = NOT_GIVEN,
        tool_choice: NotGivenOr[llm.ToolChoice] = NOT_GIVEN,
        extra_kwargs: NotGivenOr[dict[str, Any]] = NOT_GIVEN,
    ) -> llm.LLMStream:
        """Answer by the script."""
        text, of = _input(chat_ctx)
        turn = self._turn(chat_ctx, text, of)
        names = [t.info.name for t in tools or [] if isinstance(t, llm.FunctionTool)]
        self.requests.append(Request(text, of, names, chat_ctx.copy(), turn))
        return _Stream(self, turn, text, chat_ctx, tools or [], conn_options)

    def _turn(self, context: llm.ChatContext, text: str, of: str) -> Turn | None:
        answered = sum(
            item.type == "function_call_output" or (item.type == "message" and item.role == "user")
            for item in context.items
        )
        key = (answered, of, text)
        if key in self._taken:
            return self._taken[key]
        for turn in self._left:
            if turn.takes(text):
                if not turn.again:
                    self._left.remove(turn)
                self._taken[key] = turn
                return turn
        return Turn(says=self._otherwise) if self._otherwise is not None else None

    def fails_now(self, turn: Turn) -> bool:
        """Whether `turn` is to fail this time."""
        if turn.fails is None:
            return False
        so_far = self._failed.get(id(turn), 0)
        self._failed[id(turn)] = so_far + 1
        return so_far < turn.failures


class _Stream(llm.LLMStream):
    def __init__(
        self,
        owner: ScriptedLLM,
        turn: Turn | None,
        text: str,
        context: llm.ChatContext,
        tools: list[llm.Tool],
        conn_options: APIConnectOptions,
    ) -> None:
        super().__init__(owner, chat_ctx=context, tools=tools, conn_options=conn_options)
        self._owner = owner
        self._turn = turn
        self._text = text

    async def _run(self) -> None:
        turn = self._turn
        if turn is None:
            raise APIError(
                f"the script has no turn for {self._text!r}; left are "
                + (", ".join(repr(t.when) for t in self._owner.left) or "none"),
                retryable=False,
            )
        request = shortuuid("script_")
        await asyncio.sleep(turn.delay)
        if self._owner.fails_now(turn):
            assert turn.fails is not None
            raise turn.fails
        says = turn.says(self._text) if callable(turn.says) else turn.says
        words = re.findall(r"\s*\S+|\s+$", says)
        for number, word in enumerate(words):
            if number and turn.pace:
                await asyncio.sleep(turn.pace)
            self._send(request, llm.ChoiceDelta(role="assistant", content=word))
        if turn.calls:
            calls = [
                llm.FunctionToolCall(
                    name=call.name,
                    arguments=json.dumps(dict(call.arguments)),
                    call_id=shortuuid("call_"),
                )
                for call in turn.calls
            ]
            self._send(request, llm.ChoiceDelta(role="assistant", tool_calls=calls))
        usage = llm.CompletionUsage(
            completion_tokens=len(words), prompt_tokens=0, total_tokens=len(words)
        )
        self._event_ch.send_nowait(llm.ChatChunk(id=request, usage=usage))

    def _send(self, request: str, delta: llm.ChoiceDelta) -> None:
        self._event_ch.send_nowait(llm.ChatChunk(id=request, delta=delta))
