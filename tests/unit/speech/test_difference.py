from __future__ import annotations

from sandbox.speech.difference import difference


def test_what_differs_is_marked_below_both_texts() -> None:
    lines = [line[18:] for line in difference("order 42", "ordr 43!").splitlines()[1:]]
    assert lines == ["order 42", "ord r 43!", "   ^   ^^"] or lines == [
        "order 42",
        "ord r 43!",
        "   ^    ^^",
    ]
