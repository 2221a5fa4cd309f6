"""What a person reads of a verdict."""

from __future__ import annotations

import json

from sandbox.explain import as_json, as_text, explain, lint, verdict_lines
from sandbox.explain.render import as_rich
from tests.unit.explain.parts import NUMBER, call, direct, trunk

MAIN = trunk("ST_8kq", name="main", numbers=[NUMBER])
RULE = direct("SDR_2pd", "r1", trunk_ids=["ST_8kq"], inbound_numbers=[NUMBER])


SILENT = """\
  call     +15550001 -> +15559999 from 127.0.0.1 is met with silence
  trunk    ST_8kq ("main")      matched   called +15559999
  rule     SDR_2pd (direct:r1)  rejected  inbound_numbers=['+15559999'] filters the CALLER (was '+15550001')
  why      no rule matched -> livekit-server answered DROP -> livekit-sip drops silently (its log says 486 "flood"; not rate limiting)
  wire     100, 180, then nothing: no final response ever, not even to CANCEL
  fix      put the called number +15559999 in `numbers` of SDR_2pd, and leave `inbound_numbers` empty"""  # noqa: E501


def test_a_refused_call_in_the_shape_of_the_design() -> None:
    assert as_text(explain([MAIN], [RULE], call())) == SILENT


def test_a_call_that_gets_through() -> None:
    rule = direct("SDR_2pd", "r1", trunk_ids=["ST_8kq"], metadata="m")
    rule.room_config.agents.add(agent_name="alpha", metadata="{}")
    text = as_text(explain([MAIN], [rule], call(), rooms=[]))
    for part in (
        "gets     room      r1 (is created)",
        "caller    sip_+15550001, named 'Phone +15550001'",
        "metadata  m",
        "sip.trunkID = ST_8kq",
        "agent     alpha, job.metadata = {}",
        "limits    rings 180 s, lasts 24 h",
    ):
        assert part in text


def test_the_terminal_shows_the_same_words() -> None:
    verdict = explain([MAIN], [RULE], call())
    traps = lint([MAIN], [RULE])
    styled = as_rich(verdict, traps).plain.splitlines()
    assert [line.rstrip() for line in styled] == as_text(verdict, traps).splitlines()


def test_six_lines_are_enough() -> None:
    trunks = [MAIN, *(trunk(f"ST_{i}", numbers=[f"+1800{i}"]) for i in range(9))]
    rules = [RULE, *(direct(f"SDR_{i}", trunk_ids=[f"ST_{i}"]) for i in range(9))]
    lines = verdict_lines(explain(trunks, rules, call()))
    assert len(lines) <= 6
    assert lines[0].startswith('trunk  ST_8kq ("main")')
    assert lines[0].endswith("(+9 more)")
    assert lines[1].startswith("rule   SDR_2pd (direct:r1)")
    assert any(line.startswith("why    no rule matched") for line in lines)
    assert lines[-1].startswith("fix    put the called number")
    assert len(verdict_lines(explain(trunks, rules, call()), limit=4)) == 4


def test_json_says_it_all() -> None:
    data = json.loads(as_json(explain([MAIN], [RULE], call()), lint([MAIN], [RULE])))
    assert data["outcome"] == "silence"
    assert data["trunks"][0]["state"] == "wins"
    failed = [c["field"] for c in data["rules"][0]["checks"] if not c["passed"]]
    assert failed == ["inbound_numbers"]
    assert data["lints"][0]["id"] == "swapped-numbers"
    assert data["gets"] is None
    won = json.loads(as_json(explain([], [direct()], call())))["gets"]
    assert won["room"] == "lobby"
    assert won["agents"] == [{"agent_name": "", "metadata": ""}]
