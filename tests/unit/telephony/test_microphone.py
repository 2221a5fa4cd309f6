"""A microphone lets go of its source, and is not held up by one that does not close."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from sandbox.telephony import microphone


class Source:
    """Stands for livekit's AudioSource: closing it takes until `free` is set."""

    def __init__(self, error: Exception | None = None) -> None:
        self.free = threading.Event()
        self.closed = threading.Event()
        self._error = error

    async def aclose(self) -> None:
        if self._error is not None:
            raise self._error
        self.free.wait()
        self.closed.set()


async def let_go(source: Any, within: float) -> None:
    await microphone._let_go(source, within)


async def test_a_source_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    source = Source()
    source.free.set()
    await let_go(source, 60)
    assert source.closed.is_set()
    assert caplog.text == ""


async def test_a_source_that_hangs_is_left_and_told(caplog: pytest.LogCaptureFixture) -> None:
    source = Source()
    await let_go(source, 0.01)
    assert "did not close an audio source" in caplog.text
    source.free.set()
    assert source.closed.wait(5)


async def test_what_goes_wrong_is_raised() -> None:
    with pytest.raises(RuntimeError, match="no such handle"):
        await let_go(Source(RuntimeError("no such handle")), 60)
