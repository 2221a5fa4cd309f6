"""The recordings: complete, in order, and every one accounted for."""

from __future__ import annotations

import json

import pytest

from tests.conformance.cases import LEFT_OUT, SLOW, tune_of
from tests.conformance.recording import FOLDER, Recording, names


@pytest.mark.parametrize("name", names())
def test_a_recording_is_sound(name: str) -> None:
    recording = Recording.load(name, tune_of(name).change)
    assert recording.case == name
    steps = recording.steps()
    assert len(steps) >= len(recording.sip) + 2 * len(recording.api)
    order = [step.index for step in steps if step.kind in ("tx", "rx")]
    assert order == sorted(order), "the messages are not in their order"
    assert not any("bytes]" in entry["raw"] for entry in recording.sip), "a message was cut short"


def test_all_recordings_are_here() -> None:
    assert len(names()) == 190


def test_every_exception_is_about_a_recording() -> None:
    assert set(LEFT_OUT) <= set(names())
    assert set(SLOW) <= set(names())
    assert not set(LEFT_OUT) & set(SLOW)


def test_no_path_of_a_machine_is_recorded() -> None:
    for path in FOLDER.glob("*.json"):
        text = path.read_text(encoding="utf-8")
        json.loads(text)
        assert "/home/" not in text
        assert "/root" not in text
