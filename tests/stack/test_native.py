"""The native engine: what it starts, what it says when a part does not, what it leaves behind."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from sandbox.errors import StackError, UsageError
from sandbox.stack.native import NativeEngine
from sandbox.stack.options import StackOptions
from sandbox.stack.process import descendants
from sandbox.timeline import Timeline


def _listening(pids: list[int]) -> dict[str, str]:
    """The local addresses that the processes listen on, and which program does (ss -ltnup)."""
    lines = subprocess.run(
        ["ss", "-Hltunp"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    found = {}
    for line in lines:
        if {int(pid) for pid in re.findall(r"pid=(\d+)", line)} & set(pids):
            found[line.split()[4]] = line.split()[-1]
    return found


async def test_everything_listens_on_loopback_alone(tmp_path: Path) -> None:
    engine = NativeEngine(StackOptions(engine="native", run_dir=tmp_path / "run"), Timeline())
    ends = await engine.start()
    try:
        pids = list(engine.pids.values())
        pids += [child for pid in pids for child in descendants(pid)]
        addresses = _listening(pids)
        if not ends.is_stand_in:  # livekit-sip binds its health and metrics ports everywhere
            addresses = {a: p for a, p in addresses.items() if "livekit-sip" not in p}
        assert addresses
        assert [a for a in addresses if not a.startswith("127.0.0.1:")] == []
    finally:
        await engine.stop()
    assert _listening(pids) == {}


async def test_key_secret_and_ports_are_new_for_each_run(tmp_path: Path) -> None:
    seen = []
    for name in ("one", "two"):
        engine = NativeEngine(StackOptions(engine="native", run_dir=tmp_path / name), Timeline())
        ends = await engine.start()
        await engine.stop()
        seen.append((ends.api_key, ends.api_secret, ends.phone_token))
    assert not set(seen[0]) & set(seen[1])


@pytest.mark.parametrize(
    ("part", "options"),
    [
        ("livekit-server", {"server_config": {"no_such_key": 1}}),
        ("sip", {"sip_config": {"redis": None}}),
    ],
)
async def test_a_part_that_exits_early_is_an_error_with_its_last_words(
    tmp_path: Path, part: str, options: dict[str, dict[str, object]]
) -> None:
    """Both Go programs exit with 0 when their configuration is wrong."""
    settings = StackOptions(
        engine="native",
        run_dir=tmp_path / "run",
        server_config=options.get("server_config", {}),
        sip_config=options.get("sip_config", {}),
    )
    engine = NativeEngine(settings, Timeline())
    with pytest.raises(StackError) as caught:
        await engine.start()
    assert caught.value.what.startswith(f"{part}: exited with ")
    assert caught.value.seen
    assert caught.value.evidence == str(tmp_path / "run" / f"{part}.log")
    assert engine.pids == {}


async def test_a_part_beside_the_others_has_its_own_configuration_and_ends_with_them(
    tmp_path: Path,
) -> None:
    timeline = Timeline()
    engine = NativeEngine(StackOptions(engine="native", run_dir=tmp_path / "run"), timeline)
    ends = await engine.start()
    try:
        more = await engine.start_part("sip", "sip-2", {"hide_inbound_port": True})
        assert more.address != ends.sip_address
        assert "hide_inbound_port: true" in (tmp_path / "run" / "sip-2.yaml").read_text()
        assert engine.endpoints == ends
        with pytest.raises(StackError, match="sip-3: exited with"):
            await engine.start_part("sip", "sip-3", {"redis": None})
        with pytest.raises(UsageError, match="no redis can be started as 'redis'"):
            await engine.start_part("redis", "redis")
        with pytest.raises(UsageError, match="no phone can be started"):
            await engine.start_part("phone", "phone-2")
        first = engine.part("sip")
        again = await engine.start_part("sip", "sip")
        assert first.exited.done()
        assert again.address == ends.sip_address
    finally:
        await engine.stop()
    assert more.exited.done()
    assert not [e for e in timeline.since(0) if e.name == "process.died"]


async def test_a_part_that_is_stopped_is_a_fault_and_the_stacks_own_end_is_none(
    tmp_path: Path,
) -> None:
    timeline = Timeline()
    engine = NativeEngine(StackOptions(engine="native", run_dir=tmp_path / "run"), timeline)
    await engine.start()
    try:
        await engine.part("sip").stop(grace=20)
        event = await timeline.wait(
            lambda e: e.source == "fault", within=3, expected="the news of its end"
        )
        assert (event.data["text"], event.data["part"]) == ("sip was stopped", "sip")
        await engine.start_part("sip", "sip")
        assert [e.data["part"] for e in timeline if e.name == "part.started"] == ["sip"]
    finally:
        await engine.stop()
    assert len(timeline.find_all(lambda e: e.source == "fault")) == 1
    assert timeline.find(lambda e: e.name == "process.died") is None


async def test_a_part_that_dies_later_is_on_the_timeline(tmp_path: Path) -> None:
    timeline = Timeline()
    engine = NativeEngine(StackOptions(engine="native", run_dir=tmp_path / "run"), timeline)
    await engine.start()
    try:
        engine.part("sip").process.kill()
        event = await timeline.wait(
            lambda e: e.name == "process.died", within=3, expected="the news of its death"
        )
        assert event.data["part"] == "sip"
    finally:
        await engine.stop()
