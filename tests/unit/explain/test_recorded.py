"""Every recorded call of the real livekit-sip 1.11.0 with livekit-server 1.13.5 is explained right.

`recorded.json` holds, for each, the trunks and rules there were, the INVITE, the responses, and
the participant it became.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from livekit import api

from sandbox.explain import IncomingCall, Outcome, explain

CASES = json.loads(Path(__file__).with_name("recorded.json").read_text(encoding="utf-8"))
FINAL = {
    Outcome.SILENCE: [],
    Outcome.CHALLENGE: [407],
    Outcome.UNAUTHORIZED: [401],
    Outcome.PIN_PROMPT: [200],
}


@pytest.mark.parametrize(
    "recorded", [pytest.param(e, id=f"{i}-{e['case']}") for i, e in enumerate(CASES)]
)
def test_a_recorded_call(recorded: dict[str, Any]) -> None:
    trunks = [ParseDict(t, api.SIPInboundTrunkInfo()) for t in recorded["trunks"]]
    rules = [ParseDict(r, api.SIPDispatchRuleInfo()) for r in recorded["rules"]]
    call = IncomingCall.from_invite(recorded["invite"], source="127.0.0.1")
    if recorded["case"] == "pin_wrong_generic":
        call = call.with_changes(pin="")
    elif recorded["case"] in ("pin_right", "agent_with_pin"):
        call = call.with_changes(pin="1234")
    verdict = explain(trunks, rules, call)
    if "room" not in recorded:
        final = [status for status in recorded["statuses"] if status >= 200]
        assert FINAL[verdict.outcome] == final
        return
    won, participant = verdict.grant, recorded["participant"]
    assert verdict.outcome is Outcome.ROOM
    assert won is not None
    pattern = re.escape(won.room).replace(re.escape("{random}"), "[A-Za-z0-9]{12}")
    assert re.fullmatch(pattern, recorded["room"])
    assert won.identity == participant["identity"]
    assert won.name == participant["name"]
    assert won.metadata == participant["metadata"]
    seen = dict(participant["attributes"])
    # The call may have been answered before the snapshot.
    assert seen.pop("sip.callStatus") in ("ringing", "active")
    expected = {k: v for k, v in won.attributes.items() if k != "sip.callStatus"}
    tag = seen["sip.callID"]
    assert {k: v.replace("{SCL_…}", tag) for k, v in expected.items()} == seen
