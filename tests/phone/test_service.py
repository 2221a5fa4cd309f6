"""The service: start, token, crashes, many lines, and nothing that stays behind."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import aiohttp
import pytest

from sandbox.errors import PhoneError
from sandbox.phone.client import Line, Phone
from sandbox.timeline import Timeline
from tests.phone.conftest import TOKEN, Service, start_service, stop_service


async def test_the_token_is_asked_for(service: Service) -> None:
    with pytest.raises(PhoneError, match="cannot connect"):
        await Phone.connect(service.url, "wrong", Timeline())
    async with aiohttp.ClientSession() as session, session.post(f"{service.url}/lines") as answer:
        assert answer.status == 401
        assert "token" in (await answer.json())["error"]


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/lines", "{", 400, "not JSON"),
        ("/lines", "[]", 400, "expected an object"),
        ("/lines", "{}", 400, "number"),
        ("/lines", '{"number": 5}', 400, "OpenLine.number: expected str, got int"),
        ("/lines", '{"number": "1", "x": 1}', 400, "unknown field x"),
        ("/lines", '{"number": "1", "codecs": ["OPUS"]}', 400, "no codec 'OPUS'"),
        ("/lines/l0/dial", '{"uri": "sip:x"}', 404, "no line l0"),
        ("/lines/l0/fly", "{}", 404, "no operation 'fly'"),
        ("/calls/l0.1/end", "{}", 404, "no line l0"),
    ],
)
async def test_bad_requests_are_told_what_is_wrong(
    service: Service, path: str, body: str, status: int, words: str
) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(service.url + path, data=body) as answer,
    ):
        assert answer.status == status
        assert words in (await answer.json())["error"]


async def test_an_ended_call_is_gone(alice: Line, bob: Line) -> None:
    await bob.rejects(486)
    call = await alice.dial(bob.uri)
    await call.ended()
    with pytest.raises(PhoneError, match="has ended, or never was"):
        await call.play_tone(440)
    await call.hang_up()  # of an ended call: nothing to do


async def test_a_crash_takes_one_line_only(phone: Phone, alice: Line, bob: Line) -> None:
    carol = await phone.line()
    await bob.answers(tone=700)
    await carol.answers(tone=800)
    calls = await alice.dial(bob.uri), await alice.dial(carol.uri)
    for call in calls:
        await call.answered()
    pid = _pid_of(bob)
    os.kill(pid, signal.SIGABRT)
    crash = await phone.timeline.wait(
        lambda e: e.name == "line.crashed", within=3, expected="the crash"
    )
    assert crash.data["line"] == bob.id
    assert crash.data["code"] == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in crash.data["log"]
    await bob.incoming()
    with pytest.raises(PhoneError, match="crashed") as caught:
        await bob.incoming(within=30)
    assert caught.value.evidence == crash.data["log_path"]
    await calls[1].hears_tone(800)
    assert calls[1].is_answered


async def _gone(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(descriptor, ended.set)
    try:
        await asyncio.wait_for(ended.wait(), 3)
    finally:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)


def _pid_of(line: Line) -> int:
    """The process that holds the line's UDP port."""
    wanted = f"{line.port:04X}"
    inodes = {
        fields[9]
        for row in Path("/proc/net/udp").read_text().splitlines()[1:]
        if (fields := row.split())[1].endswith(f":{wanted}")
    }
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            links = [os.readlink(fd) for fd in (process / "fd").iterdir()]
        except OSError:
            continue
        if any(f"socket:[{inode}]" in links for inode in inodes):
            return int(process.name)
    raise AssertionError(f"nobody has port {line.port}")


async def test_reset_ends_the_calls(phone: Phone, service: Service) -> None:
    a, b = await phone.line(), await phone.line()
    await b.answers()
    call = await a.dial(b.uri)
    await call.answered()
    assert set(await phone.leaks()) >= {call.id}
    await phone.reset()
    assert await phone.leaks() == ()
    # Both ends hang up at once: either BYE may be the first.
    assert (await call.ended(within=1)).by in ("local", "remote")
    await phone.line()
    await phone.reset()
    assert await phone.leaks() == ()


async def test_fifty_lines_in_calls_at_once(phone: Phone) -> None:
    callees = [await phone.line() for _ in range(25)]
    await asyncio.gather(*(line.answers(tone=600) for line in callees))
    callers = [await phone.line() for _ in range(25)]
    calls = await asyncio.gather(
        *(
            caller.dial(callee.uri, tone=440)
            for caller, callee in zip(callers, callees, strict=True)
        )
    )
    await asyncio.gather(*(call.answered(within=30) for call in calls))
    await asyncio.gather(*(call.hears_tone(600, within=30) for call in calls))
    await asyncio.gather(*(call.hang_up() for call in calls))
    ends = await asyncio.gather(*(call.ended() for call in calls))
    assert {end.status for end in ends} == {200}


async def test_the_service_ends_with_its_parent(tmp_path: Path) -> None:
    service = await start_service(tmp_path, "--ahead", "1")
    async with await Phone.connect(service.url, TOKEN, Timeline()) as phone:
        line = await phone.line()
        pid = _pid_of(line)
        await stop_service(service)
        assert service.process.returncode == 0
        await phone.timeline.wait(
            lambda e: e.name == "phone.crashed", within=3, expected="the end of the service"
        )
        assert phone.closed
        with pytest.raises(PhoneError, match="has ended"):
            await phone.line()
        with pytest.raises(PhoneError, match="has ended"):
            await line.incoming(within=30)
    await _gone(pid)


async def test_a_killed_service_takes_its_workers_along(tmp_path: Path) -> None:
    service = await start_service(tmp_path, "--ahead", "1")
    async with await Phone.connect(
        service.url, TOKEN, Timeline(), log_path=tmp_path / "phone.log"
    ) as phone:
        pid = _pid_of(await phone.line())
        service.process.kill()
        await service.process.wait()
        with pytest.raises(PhoneError) as caught:
            await phone.line()
        assert caught.value.evidence.endswith("phone.log")
    await _gone(pid)
