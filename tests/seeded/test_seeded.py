"""Ten failures seeded into a suite: of each the terminal's verdict alone names cause and mend.

The ten scenarios run once, in an inner pytest on one stack; what it prints is read.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.stack.cache import cache_dir

SUITE = '''
import asyncio, os, signal
from livekit import api
from sandbox import Credentials


def e164(number):
    return number.removeprefix("+")


async def test_wrong_number_format(sandbox):
    """The rule has the number without its plus."""
    number = sandbox.number()
    inbound = await sandbox.inbound(number=number, rule={"numbers": [e164(number)]})
    call = await sandbox.phone.dial(inbound)
    await sandbox.joined(call, within=1)


async def test_missing_rule(sandbox):
    """A trunk, and no rule for it."""
    number = sandbox.number()
    await sandbox.trunk(numbers=[number])
    call = await sandbox.phone.dial(number)
    await call.answered(within=1)


async def test_wrong_credentials(sandbox):
    """The trunk wants another password."""
    inbound = await sandbox.inbound(auth_username="pbx", auth_password="right")
    call = await sandbox.phone.dial(inbound, credentials=Credentials("pbx", "wrong"))
    await call.answered(within=3)


async def test_header_typo(sandbox):
    """The header is mapped by another spelling than it is sent in."""
    inbound = await sandbox.inbound(headers_to_attributes={"X-Oder-Id": "order.id"})
    call = await sandbox.phone.dial(inbound, headers={"X-Order-Id": "42"})
    await inbound.room.join(tone=700)
    await call.answered(within=5)
    _, caller = await sandbox.joined(call)
    assert caller.attributes["order.id"] == "42"


async def test_agent_name_typo(sandbox):
    """The rule dispatches an agent by another name than the worker has."""
    agent = await sandbox.agent(name="order-desk")
    inbound = await sandbox.inbound(agent="oder-desk")
    call = await sandbox.phone.dial(inbound)
    await sandbox.joined(call)
    await agent.job(within=1)


async def test_codec_mismatch(sandbox):
    """The trunk takes a codec that the caller does not offer."""
    media = api.SIPMediaConfig(
        only_listed_codecs=True, codecs=[api.SIPCodec(name="PCMA", rate=8000)]
    )
    inbound = await sandbox.inbound(media=media)
    call = await sandbox.phone.dial(inbound, codecs=["PCMU"])
    await call.answered(within=3)


async def test_one_way_audio(sandbox):
    """The agent does not subscribe to the caller."""
    agent = await sandbox.agent(auto_subscribe="subscribe_none")
    inbound = await sandbox.inbound(agent=agent.name)
    call = await sandbox.phone.dial(inbound, tone=440)
    await call.answered(within=5)
    await agent.hears_tone(440, within=1)


async def test_room_existed_before(sandbox):
    """Somebody joined the room before the call."""
    agent = await sandbox.agent()
    inbound = await sandbox.inbound(agent=agent.name)
    await inbound.room.join()
    call = await sandbox.phone.dial(inbound)
    await sandbox.joined(call)
    await agent.job(within=1)


async def test_ringing_with_nobody(sandbox):
    """A room in which nobody speaks."""
    call = await sandbox.phone.dial(await sandbox.inbound())
    await sandbox.joined(call)
    await call.answered(within=1)


async def test_crashed_worker(sandbox):
    """The worker's process is killed while the agent speaks."""
    agent = await sandbox.agent()
    inbound = await sandbox.inbound(agent=agent.name)
    call = await sandbox.phone.dial(inbound)
    await call.answered(within=5)
    os.kill(agent._host._child.process.pid, signal.SIGKILL)
    await agent.job_ended(within=2)
'''

#: What the verdict of each must say: a pattern for its cause and one for its mend.
VERDICTS = {
    "wrong_number_format": (
        r"no dispatch rule takes the call: SDR_\w+ numbers=\['1555\d+'\] .*'\+1555\d+'",
        r"write '\+1555\d+' instead of '1555\d+' in numbers of SDR_",
    ),
    "missing_rule": (
        r"no dispatch rule takes the call: there is none",
        r"create a dispatch rule with trunk_ids=\['ST_\w+'\]",
    ),
    "wrong_credentials": (
        r"the password is not that of trunk ST_\w+ \(user 'pbx'",
        r"make the caller's credentials and the trunk's the same",
    ),
    "header_typo": (
        (
            r"trunk ST_\w+ makes attribute 'order.id' of the header 'X-Oder-Id', and the INVITE "
            r"has "
            r"none; it has 'X-Order-Id'"
        ),
        r"write 'X-Order-Id' in headers_to_attributes",
    ),
    "agent_name_typo": (
        (
            r"rule SDR_\w+ dispatches agent 'oder-desk', and no worker of that name took the job "
            r"\(registered: 'order-desk'\)"
        ),
        r"write 'order-desk' as agent_name of the rule",
    ),
    "codec_mismatch": (
        r"no codec in common \(400\): the caller offers PCMU, trunk ST_\w+ takes PCMA",
        r"add PCMU to media.codecs of ST_\w+, or offer one of those",
    ),
    "one_way_audio": (
        (
            r"one-way audio: sip_\S+ publishes its sound in room \S+, but the agent "
            r"\(agent-AJ_\w+\) "
            r"did not subscribe to it"
        ),
        r"connect with auto_subscribe=SUBSCRIBE_ALL or AUDIO_ONLY",
    ),
    "room_existed_before": (
        r"room \S+ existed when the call came \(peer-\w+ had joined it\).* was not dispatched",
        r"do not create or join the room before the call, or dispatch the agent by",
    ),
    "ringing_with_nobody": (
        r"the caller rings in room \S+ and nobody there publishes an audio track",
        r"send an agent there \(agent=… of the rule\), or join the room and publish audio",
    ),
    "crashed_worker": (
        r"the process of the agent worker died in mid-test \(signal 9\)",
        r"read the end of agent.log for what killed it",
    ),
}


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest prints of the suite with its ten failures."""
    folder: Path = tmp_path_factory.mktemp("seeded")
    (folder / "test_desk.py").write_text(SUITE, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "--sandbox-engine=native", "-p", "no:cacheprovider"],
        cwd=folder,
        env={**os.environ, "SANDBOX_CACHE": str(cache_dir()), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    return ran.stdout


def _verdict(printed: str, name: str) -> list[str]:
    """The lines of the verdict on one test."""
    begins = re.search(rf"(?m)^_+ test_{name} _+$", printed)
    assert begins, printed[-3000:]
    account = re.split(r"(?m)^(?:_+ .* _+|=+ .* =+)$", printed[begins.end() :])[0]
    section = re.search(r"(?ms)^-+ sandbox: verdict -+\n(.*?)^-+ ", account)
    assert section, account[-3000:]
    return section[1].rstrip("\n").split("\n")


def test_ten_failures_are_failures_and_nothing_else(printed: str) -> None:
    assert re.search(rf"(?m)^=+ {len(VERDICTS)} failed in ", printed), printed[-2000:]


@pytest.mark.parametrize("name", VERDICTS)
def test_the_verdict_names_the_cause_and_the_mend(printed: str, name: str) -> None:
    cause, mend = VERDICTS[name]
    lines = _verdict(printed, name)
    assert re.match(rf"cause  .*{cause}", lines[0]), lines
    assert re.match(rf"fix    .*{mend}", lines[1]), lines
    assert len(lines) <= 6
