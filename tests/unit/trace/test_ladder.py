"""The ladder of four columns: what goes from where to where, as text, Mermaid and SVG."""

from __future__ import annotations

import xml.etree.ElementTree as Xml

import pytest

from sandbox.timeline import Event
from sandbox.trace.flow import COLUMNS, Step, flow, flow_text, mermaid
from sandbox.trace.joined import join_calls
from sandbox.trace.svg import ladder_svg

from .story import T0, events, sip


def _steps() -> list[Step]:
    told = events()
    (call,) = join_calls(told)
    return flow(told, call)


def test_a_call_is_joined_by_all_its_names() -> None:
    (call,) = join_calls(events())
    assert call.outgoing
    assert (call.caller, call.callee) == ("+15550001111", "+15550002222")
    assert call.names() == {"cid-1", "SCL_abc", "room-1", "sip_+15550001111", "AJ_1"}


def test_a_call_out_is_joined_by_the_number_it_went_to() -> None:
    def api(at: float, name: str, message: dict[str, str]) -> Event:
        data = {"method": "SIP/CreateSIPParticipant", "message": message}
        return Event(source="api", name=name, at=T0 + at, data=data)

    told = [
        api(0, "api.request", {"sip_call_to": "+15550002222", "room_name": "room-9"}),
        api(0.1, "api.answer", {"room_name": "room-9", "sip_call_id": "SCL_9",
                                "participant_identity": "sip_x"}),
        sip(0.2, "sip.received", "INVITE sip:+15550002222@127.0.0.1 SIP/2.0"),
    ]  # fmt: skip
    (call,) = join_calls(told)
    assert not call.outgoing
    assert (call.room, call.scl, call.identity) == ("room-9", "SCL_9", "sip_x")


def test_each_step_goes_between_the_two_that_took_part() -> None:
    found = [(COLUMNS[s.source], COLUMNS[s.target], s.label) for s in _steps()]
    for expected in (
        ("phone", "SIP service", "INVITE"),
        ("SIP service", "phone", "200 OK"),
        ("SIP service", "livekit-server", "joins room-1"),
        ("livekit-server", "agent", "job offered"),
        # The webhook of a track does not say what its participant is.
        ("agent", "livekit-server", "publishes audio"),
        ("phone", "SIP service", "DTMF 1"),
        ("agent", "agent", "job ended CLIENT_INITIATED"),
    ):
        assert expected in found
    assert [s.at for s in _steps()] == sorted(s.at for s in _steps())


def test_the_text_fits_eighty_columns_and_points_the_right_way() -> None:
    lines = flow_text(_steps())
    assert max(map(len, lines)) <= 90
    invite = next(line for line in lines if " INVITE " in line)
    assert invite.index("├") < invite.index("▶")
    answer = next(line for line in lines if " 200 OK " in line)
    assert answer.index("◀") < answer.index("┤")


HOSTILE = 'x"><script>alert(1)</script>;#\r\n%%{init}\x00'


def _hostile() -> list[Step]:
    return [Step(at=T0, source=0, target=1, label=HOSTILE, kind="sip", index=0),
            Step(at=T0, source=2, target=2, label=HOSTILE, kind="room", index=1)]  # fmt: skip


def test_mermaid_takes_every_label_for_text() -> None:
    text = mermaid(_hostile(), (HOSTILE, *COLUMNS[1:]))
    assert "<" not in text.replace("->>", "")
    assert text.count("\n") == 1 + 4 + 2
    assert "%%" not in text
    assert mermaid(_steps()).splitlines()[5].startswith("    Note over P,A: dial")


@pytest.mark.parametrize("alone", [True, False])
def test_svg_is_well_formed_whatever_a_message_says(alone: bool) -> None:
    text = ladder_svg(_hostile(), alone=alone)
    root = Xml.fromstring(text)
    assert not [one for one in root.iter() if one.tag.endswith("script")]
    steps = [one for one in root.iter() if one.get("data-event")]
    assert [one.get("data-event") for one in steps] == ["0", "1"]


def test_svg_marks_a_refusal() -> None:
    told = [sip(0, "sip.received", "SIP/2.0 486 Busy here")]
    (call,) = join_calls(told)
    assert 'class="step sip bad"' in ladder_svg(flow(told, call))


def test_an_error_in_a_log_is_a_step_of_the_call_that_it_names() -> None:
    def line(level: str, name: str, source: str = "sip") -> Event:
        data = {"text": "cannot publish", "level": level, "names": [name], "fields": {}}
        return Event(source=source, name=f"log.{level}", at=T0 + 0.65, data=data)

    told = [*events(), line("error", "SCL_abc"), line("warn", "SCL_abc"), line("error", "SCL_x")]
    told.append(line("error", "room-1", "server"))
    (call,) = join_calls(told)
    steps = [step for step in flow(told, call) if step.kind == "log"]
    assert [(s.source, s.target, s.label) for s in steps] == [
        (1, 1, "error: cannot publish"), (2, 2, "error: cannot publish"),
    ]  # fmt: skip
    assert ladder_svg(steps).count('class="step log bad"') == 2


def test_a_fault_is_drawn_across_every_call() -> None:
    fault = Event(source="fault", name="fault.begins", at=T0 + 1, data={"text": "sip was stopped"})
    told = [*events(), fault]
    (call,) = join_calls(told)
    steps = flow(told, call)
    assert "fault: sip was stopped" in [s.label for s in steps if s.kind == "fault"]
    assert any("!!! fault: sip was stopped !!!" in row for row in flow_text(steps))
    assert "Note over P,A: fault: sip was stopped" in mermaid(steps)
