"""Calls between two lines: what is on the wire, and how calls end."""

from __future__ import annotations

import asyncio

import pytest

from sandbox.errors import CallFailed, DeadlineMissed, PhoneError, UsageError
from sandbox.phone.call import Call
from sandbox.phone.client import Credentials, Line, Phone

Talk = tuple[Call, Call]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_call_is_answered_and_hung_up(alice: Line, bob: Line, transport: str) -> None:
    await bob.answers(after=0.1, headers={"X-Answer": "yes"})
    call = await alice.dial(bob.uri, transport=transport)  # type: ignore[arg-type]
    await call.trying()
    await call.ringing()
    await call.answered()
    other = await bob.incoming()
    await other.answered()
    assert {m.transport for m in call.messages} == {transport}
    assert (await call.response(200)).header("x-answer") == "yes"
    assert call.is_answered
    await call.hang_up(reason="Q.850;cause=16", headers={"X-Bye": "1"})
    ended, other_ended = await call.ended(), await other.ended()
    assert (ended.by, ended.status, other_ended.by) == ("local", 200, "remote")
    bye = await other.request("BYE")
    assert (bye.header("Reason"), bye.header("X-Bye")) == ("Q.850;cause=16", "1")
    assert (await call.response_to("BYE")).status == 200


async def test_a_line_takes_any_number_of_calls(alice: Line, bob: Line) -> None:
    """PJSIP's four call numbers are used again and again, and no ended call touches a later one."""
    await bob.answers()
    for _ in range(24):
        call = await alice.dial(bob.uri)
        other = await bob.incoming()
        await asyncio.gather(call.answered(), other.answered())
        await other.hang_up()
        await asyncio.gather(call.ended(), other.ended())


async def test_calls_in_quick_succession_are_taken_or_refused(alice: Line, bob: Line) -> None:
    """PJSIP runs out of sockets at some 30 calls in half a second: an error, never a dead line."""
    await bob.answers()
    refused: list[str] = []
    for _ in range(60):
        try:
            call = await alice.dial(bob.uri)
        except PhoneError as error:
            refused.append(str(error))
            continue
        await call.answered()
        await call.hang_up()
        await call.ended()
    assert len(refused) < 60
    assert all("use another line, or place fewer" in words for words in refused)
    crashed = {e.data["line"] for e in alice.phone.timeline if e.name == "line.crashed"}
    assert not crashed & {alice.id, bob.id}


async def test_an_update_is_refused_and_the_call_goes_on(talk: Talk) -> None:
    call, other = talk
    with pytest.raises(PhoneError, match="PJSIP sends UPDATE only by itself"):
        await call.send_request("UPDATE")
    await call.hang_up()
    assert (await other.ended()).by == "remote"


async def test_the_callee_hangs_up(talk: Talk) -> None:
    call, other = talk
    await other.hang_up()
    assert (await call.ended()).by == "remote"
    assert (await other.ended()).by == "local"
    assert call.state == "ended"


async def test_the_invite_says_what_was_asked_for(alice: Line, bob: Line) -> None:
    await bob.answers()
    call = await alice.dial(
        bob.uri,
        caller="+15559999999",
        display_name='Bob "the" \\ builder',
        from_host="carrier.example",
        to="sip:+18005550000@carrier.example",
        headers=[("X-Twice", "a"), ("X-Twice", "b"), ("X-Empty", ""), ("P-Asserted", "<sip:x>")],
    )
    invite = (await bob.incoming()).invite
    assert invite.request_uri == bob.uri
    sender = invite.header("From") or ""
    assert sender.startswith('"Bob \\"the\\" \\\\ builder" <sip:+15559999999@carrier.example>;tag=')
    assert invite.header("t") == "<sip:+18005550000@carrier.example>"
    assert invite.headers_all("x-twice") == ["a", "b"]
    assert invite.header("X-Empty") == ""
    assert invite.header("Session-Expires") is None
    assert "timer" not in (invite.header("Supported") or "")
    assert "IN IP4 127.0.0.1" in invite.body
    await call.answered()


async def test_the_request_uri_may_be_another_than_the_destination(alice: Line, bob: Line) -> None:
    await bob.answers()
    call = await alice.dial(bob.uri, request_uri="sip:+1800@elsewhere.example")
    invite = (await bob.incoming()).invite
    assert invite.request_uri == "sip:+1800@elsewhere.example"
    assert invite.header("To") == "<sip:+1800@elsewhere.example>"
    assert invite.header("Route") is None
    await call.answered()
    await call.hang_up()
    await call.response_to("BYE")
    # The next call goes where it says again.
    await (await alice.dial(bob.uri)).answered()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_large_invite_arrives_whole(alice: Line, bob: Line, transport: str) -> None:
    await bob.answers()
    headers = [(f"X-Long-{n}", "v" * 400) for n in range(6)]
    call = await alice.dial(bob.uri, headers=headers, transport=transport)  # type: ignore[arg-type]
    await call.answered()
    invite = (await bob.incoming()).invite
    assert invite.transport == transport
    assert [h.value for h in invite.headers if h.name.startswith("X-Long-")] == ["v" * 400] * 6
    assert len(invite.raw) > 3000


async def test_a_message_over_4000_bytes_is_refused(alice: Line, bob: Line) -> None:
    """PJSIP is compiled with packets of 4000 bytes."""
    with pytest.raises(PhoneError, match="Message too long"):
        await alice.dial(bob.uri, headers={"X-Long": "v" * 4000})


async def test_a_large_invite_moves_to_tcp_where_asked_for(phone: Phone, bob: Line) -> None:
    line = await phone.line(keep_udp=False)
    await bob.answers()
    call = await line.dial(bob.uri, headers={"X-Long": "v" * 2000})
    await call.answered()
    assert (await bob.incoming()).invite.transport == "tcp"


@pytest.mark.parametrize(
    ("status", "reason"),
    [(400, "Bad"), (404, "Not Found"), (480, "Away"), (486, "Busy Here"), (499, "Odd"),
     (500, "Oh"), (503, "No"), (600, "Busy Everywhere"), (603, "Decline"), (699, "Odder")],
)  # fmt: skip
async def test_a_line_rejects_with_any_status(
    alice: Line, bob: Line, status: int, reason: str
) -> None:
    await bob.rejects(status, reason, headers={"X-Why": "test"}, body="because", ring=True)
    call = await alice.dial(bob.uri)
    final = await call.rejected(status)
    assert (final.reason, final.header("X-Why"), final.body) == (reason, "test", "because")
    ended = await call.ended()
    assert (ended.by, ended.status, ended.reason) == ("remote", status, reason)
    with pytest.raises(CallFailed, match=f"ended with {status}") as caught:
        await call.answered()
    assert caught.value.status == status


async def test_a_test_answers_by_hand(alice: Line, bob: Line) -> None:
    call = await alice.dial(bob.uri)
    other = await bob.incoming()
    assert other.state in ("incoming", "trying")
    await other.ring(headers={"X-Ring": "1"})
    await call.ringing()
    assert (await call.response(180)).header("X-Ring") == "1"
    await other.answer(headers={"X-Ok": "2"})
    await call.answered()
    assert (await call.response(200)).header("X-Ok") == "2"
    with pytest.raises(PhoneError, match="200"):
        await other.answer()


async def test_a_response_has_its_own_headers_only(alice: Line, bob: Line) -> None:
    call = await alice.dial(bob.uri)
    other = await bob.incoming()
    await other.ring(headers=[("X-Agent", "ring"), ("X-Ring", "1"), ("X-Agent", "again")])
    await other.early_media(headers={"X-Agent": "early"})
    await other.answer(headers=[("x-agent", "a"), ("X-Agent", "b")])
    await call.answered()
    assert (await call.response(180)).headers_all("X-Agent") == ["ring", "again"]
    assert (await call.response(183)).headers_all("X-Agent") == ["early"]
    final = await call.response(200)
    assert final.headers_all("X-Agent") == ["a", "b"]
    assert final.header("X-Ring") is None
    assert final.headers_all("Contact") == [f"<{bob.uri}>"]


async def test_a_test_rejects_by_hand(alice: Line, bob: Line) -> None:
    call = await alice.dial(bob.uri)
    other = await bob.incoming()
    await other.reject(488, "No codec", headers={"Warning": '304 x "media"'})
    final = await call.rejected()
    assert (final.status, final.header("warning")) == (488, '304 x "media"')
    with pytest.raises(CallFailed, match="expected 486, got 488"):
        await call.rejected(486)
    assert (await other.ended()).by == "local"


async def test_cancel_while_it_rings(alice: Line, bob: Line) -> None:
    await bob.rings()
    call = await alice.dial(bob.uri)
    await call.ringing()
    other = await bob.incoming()
    await call.cancel()
    final = await call.rejected(487)
    assert final.reason == "Request Terminated"
    assert (await call.response_to("CANCEL")).status == 200
    ended, other_ended = await call.ended(), await other.ended()
    assert (ended.by, ended.status, other_ended.by, other_ended.status) == (
        "local", 487, "remote", 487,
    )  # fmt: skip


async def test_a_silent_line_sends_nothing(alice: Line, bob: Line) -> None:
    await bob.silent()
    call = await alice.dial(bob.uri)
    with pytest.raises(DeadlineMissed):
        await call.trying(within=0.7)
    assert {m.direction for m in call.messages} == {"sent"}
    assert len(call.messages) >= 2  # INVITE is sent again after T1, 500 ms


async def test_a_redirection_names_its_target(alice: Line, bob: Line) -> None:
    await bob.redirects("sip:+1999@other.example", status=301)
    call = await alice.dial(bob.uri)
    final = await call.rejected(301)
    assert final.header("Contact") == "<sip:+1999@other.example>"


async def test_digest_credentials(phone: Phone, bob: Line) -> None:
    await bob.challenges("al", "secret", realm="pbx", proxy=True)
    line = await phone.line()
    refused = await line.dial(bob.uri)
    final = await refused.rejected(407)
    assert (final.header("Proxy-Authenticate") or "").startswith('Digest realm="pbx"')
    right = await line.dial(bob.uri, credentials=Credentials("al", "secret"))
    await right.answered()
    assert next(m.cseq for m in right.messages if m.method == "INVITE" and m.is_request) < max(
        m.cseq for m in right.messages if m.method == "INVITE"
    )
    wrong = await line.dial(bob.uri, credentials=Credentials("al", "guess"))
    assert (await wrong.rejected()).status == 407
    assert len(bob.calls) == 1


async def test_any_request_in_the_dialog(talk: Talk) -> None:
    call, other = talk
    await call.send_request(
        "INFO", headers={"X-Info": "1"}, body="hello", content_type="text/x-test"
    )
    info = await other.request("INFO", direction="received")
    assert (info.header("X-Info"), info.body, info.header("c")) == ("1", "hello", "text/x-test")
    await call.send_request("OPTIONS")
    assert (await call.response_to("OPTIONS")).status == 200


async def test_hold_and_resume(talk: Talk) -> None:
    call, other = talk
    await call.hold()
    await other.wait(
        lambda e: other.mine(e) and e.name == "media.started" and e.data["direction"] == "recvonly",
        within=2,
        expected="to be put on hold",
    )
    assert any("a=sendonly" in m.body for m in other.messages if m.is_request)
    mark = other.phone.timeline.mark()
    await call.unhold()
    await other.wait(
        lambda e: other.mine(e) and e.name == "media.started" and e.data["direction"] == "sendrecv",
        within=2,
        expected="to be resumed",
        since=mark,
    )
    await call.reinvite(headers={"X-Re": "1"})
    assert await asyncio.wait_for(_header_arrives(other, "X-Re"), 2)


async def _header_arrives(call: Call, name: str) -> bool:
    await call.wait(
        lambda e: call.mine(e) and e.name == "sip.received" and f"{name}:" in e.data["raw"],
        within=2,
        expected=name,
    )
    return True


async def test_a_transfer_is_dialled(phone: Phone, talk: Talk, bob: Line) -> None:
    call, other = talk
    carol = await phone.line("+15550100003")
    await carol.answers()
    await bob.refer_policy(202)
    await call.transfer(carol.uri)
    refer = await other.transfer_requested()
    assert refer.header("Refer-To") == f"<{carol.uri}>"
    third = await other.transferred()
    await third.answered()
    assert (await carol.incoming()).invite.call_id == third.invite.call_id
    await call.wait(
        lambda e: call.mine(e) and e.name == "transfer.progress" and e.data["status"] == 200,
        within=3,
        expected="NOTIFY with 200",
    )


async def test_a_transfer_is_accepted_and_not_dialled(talk: Talk, bob: Line) -> None:
    call, other = talk
    await bob.refer_policy(202, dial=False)
    await call.transfer("sip:nobody@127.0.0.1:9")
    await other.transfer_requested()
    assert (await call.response_to("REFER")).status == 202
    assert not [m for m in call.messages if m.method == "NOTIFY"]


async def test_a_transfer_is_refused(talk: Talk, bob: Line) -> None:
    call, other = talk
    await bob.refer_policy(603)
    await call.transfer("sip:nobody@127.0.0.1:9")
    await other.transfer_requested()
    assert (await call.response_to("REFER")).status == 603


async def test_an_invite_without_an_offer(alice: Line, bob: Line) -> None:
    await bob.answers()
    call = await alice.dial(bob.uri, sdp=False)
    await call.answered()
    assert call.invite.body == ""
    assert (await call.request("ACK")).body.startswith("v=0")


async def test_two_calls_on_one_line(alice: Line, bob: Line) -> None:
    await bob.answers()
    calls = [await alice.dial(bob.uri) for _ in range(3)]
    for call in calls:
        await call.answered()
    assert len({(await bob.incoming()).id for _ in calls}) == 3
    assert len({c.sip_call_id for c in calls}) == 3


async def test_what_makes_no_sense_is_refused(alice: Line, bob: Line) -> None:
    with pytest.raises(UsageError, match="200 does not reject"):
        await bob.rejects(200)
    with pytest.raises(PhoneError, match="no codec 'OPUS'"):
        await alice.dial(bob.uri, codecs=["OPUS"])
    with pytest.raises(PhoneError, match="did not place the call"):
        await alice.dial("this is no URI")
    with pytest.raises(DeadlineMissed, match=r"a call to sip:\+15550100002"):
        await bob.incoming(within=0.05)
