"""Which trunk takes a call, as livekit-server 1.13.5 was seen to choose."""

from __future__ import annotations

from typing import Any

import pytest
from livekit import api

from sandbox.explain.trunks import match_trunks
from sandbox.explain.verdict import State
from tests.unit.explain.parts import CALLER, NUMBER, call, trunk

HERE: dict[str, Any] = {"allowed_addresses": ["127.0.0.1"]}


@pytest.mark.parametrize(
    ("trunks", "winner"),
    [
        ([], None),
        ([trunk(numbers=[NUMBER])], "ST_a"),
        ([trunk(numbers=["+1"])], None),
        ([trunk(numbers=[NUMBER]), trunk("ST_b", **HERE)], "ST_a"),
        ([trunk(**HERE), trunk("ST_b", **HERE), trunk("ST_c", numbers=[NUMBER])], "ST_c"),
        ([trunk(numbers=[NUMBER], allowed_addresses=["1.1.1.1"]), trunk("ST_b", **HERE)], "ST_b"),
        ([trunk(numbers=[NUMBER]), trunk("ST_b", numbers=[NUMBER], allowed_numbers=["+9"])],
         "ST_a"),
        ([trunk(numbers=[NUMBER, NUMBER, "15559999"])], "ST_a"),
        ([trunk(numbers=[NUMBER], allowed_numbers=["1 555 0001"])], "ST_a"),
        ([trunk(numbers=[NUMBER], allowed_numbers=[""])], None),
        ([trunk(numbers=[NUMBER], allowed_addresses=["10.0.0.*"])], "ST_a"),
        ([trunk(numbers=[NUMBER], allowed_addresses=["10.0.0.*", "10.0.0.1"])], None),
        ([trunk(numbers=[NUMBER], allowed_addresses=["pbx.example"])], "ST_a"),
    ],
)  # fmt: skip
def test_the_winner(trunks: list[api.SIPInboundTrunkInfo], winner: str | None) -> None:
    found = match_trunks(trunks, call())
    assert (found.winner.sip_trunk_id if found.winner else None) == winner
    assert not found.error


@pytest.mark.parametrize(
    ("trunks", "error"),
    [
        ([trunk(numbers=[NUMBER]), trunk("ST_b", numbers=["15559999"])],
         f'Multiple SIP Trunks matched for "{NUMBER}"'),
        # Create accepts this pair: the keys differ. The call of that caller fits both.
        ([trunk(numbers=[NUMBER]), trunk("ST_b", numbers=[NUMBER], allowed_numbers=[CALLER])],
         f'Multiple SIP Trunks matched for "{NUMBER}"'),
        ([trunk(**HERE), trunk("ST_b", **HERE)],
         f'Multiple default SIP Trunks matched for "{NUMBER}"'),
    ],
)  # fmt: skip
def test_two_winners_are_an_error(trunks: list[api.SIPInboundTrunkInfo], error: str) -> None:
    found = match_trunks(trunks, call())
    assert found.winner is None
    assert found.error == error
    assert {verdict.state for verdict in found.verdicts} == {State.CONFLICT}


def test_an_unknown_source_is_let_in_and_said() -> None:
    found = match_trunks([trunk(numbers=[NUMBER], allowed_addresses=["1.1.1.1"])], call(source=""))
    assert found.winner is not None
    assert "not checked" in found.verdicts[0].checks[2].text


def test_the_deciding_predicate_is_named() -> None:
    found = match_trunks(
        [
            trunk(numbers=["+1.555.9999"]),
            trunk("ST_b", numbers=[NUMBER], allowed_numbers=["+1"]),
            trunk("ST_c", numbers=[NUMBER], allowed_addresses=["1.1.1.1"]),
            trunk("ST_d", numbers=["+1800"]),
        ],
        call(request_user="+1800"),
    )
    texts = [verdict.text for verdict in found.verdicts]
    assert "the punctuation differs" in texts[0]
    assert texts[1] == f"allowed_numbers=['+1'] lack the caller {CALLER!r}"
    assert "admit neither 127.0.0.1 nor the From host 'pbx.example'" in texts[2]
    assert "in the Request-URI only" in texts[3]
