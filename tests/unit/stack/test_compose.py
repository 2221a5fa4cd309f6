"""The Compose files, what the engine lays over them, and what it makes of Docker's answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox import versions
from sandbox.errors import SetupError, UsageError
from sandbox.stack import compose_choice, compose_sweep
from sandbox.stack.compose_choice import Images
from sandbox.stack.compose_files import compose_folder, content_key, stage
from sandbox.stack.compose_plan import Plan
from sandbox.stack.compose_project import Container, env_text
from sandbox.stack.image_build import extra_ca
from sandbox.stack.options import StackOptions

SERVICES = ("redis", "livekit-server", "sip", "phone")
IMAGES = Images(
    source="local",
    redis="r:1",
    server="s:1",
    sip="sip:1",
    sip_service="stand-in (not livekit-sip)",
    phone="p:1",
)


class FakeDocker:
    """A daemon that has some images, and a registry that has some."""

    program = "docker"

    def __init__(self, have: set[str] = frozenset(), registry: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        self.have, self.registry = have, registry
        self.asked: list[tuple[str, ...]] = []

    def inspect(self, kind: str, names: list[str]) -> list[dict[str, Any]]:
        assert kind == "image"
        return [{"RepoTags": [name], "Config": {}} for name in names if name in self.have]

    def try_ask(self, *arguments: str, within: float = 0) -> str | None:
        self.asked.append(arguments)
        return "{}" if arguments[-1] in self.registry else None


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("SANDBOX_") and name != "SANDBOX_CACHE":
            monkeypatch.delenv(name)


def compose_yaml() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((compose_folder() / "compose.yaml").read_text())
    return content


# --- compose.yaml -------------------------------------------------------------------------------


def test_nothing_in_compose_yaml_hinders_a_second_copy() -> None:
    content = compose_yaml()
    assert "name" not in content
    assert not any("container_name" in service for service in content["services"].values())
    assert "ipam" not in json.dumps(content["networks"])


def test_only_livekits_port_is_published_and_on_loopback() -> None:
    ports = {name: service.get("ports") for name, service in compose_yaml()["services"].items()}
    published = ports.pop("livekit-server")
    assert published == ["127.0.0.1:${SANDBOX_LIVEKIT_PORT-7880}:7880"]
    assert not any(ports.values())


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_is_checked_locked_down_and_labelled(service: str) -> None:
    content = compose_yaml()["services"][service]
    assert content["healthcheck"]["test"]
    assert content["stop_signal"] == "SIGINT"
    assert content["read_only"] is True
    assert content["cap_drop"] == ["ALL"]
    assert content["user"]
    assert set(content["labels"]) == {"dev.sandbox.run", "dev.sandbox.owner"}


def test_the_pins_are_compose_yamls_env_file() -> None:
    """Compose reads `.env` beside the file: a link to the pins that the native engine reads."""
    link = compose_folder() / ".env"
    assert link.resolve() == versions.PINS_FILE.resolve()
    images = {name: service["image"] for name, service in compose_yaml()["services"].items()}
    assert "livekit/livekit-server:${SANDBOX_LIVEKIT_SERVER_VERSION}" in images["livekit-server"]
    assert "livekit/sip:${SANDBOX_LIVEKIT_SIP_VERSION}" in images["sip"]
    assert "redis:${SANDBOX_REDIS_VERSION}-alpine" in images["redis"]


@pytest.mark.parametrize("name", ["livekit-server/livekit.yaml", "sip/sip.yaml"])
def test_configurations_parse_and_hold_no_secret(name: str) -> None:
    content = yaml.safe_load((compose_folder() / name).read_text())
    assert content["redis"] == {"address": "redis:6379"}
    assert not {"keys", "api_key", "api_secret"} & set(content)


def test_the_phones_lock_agrees_with_the_projects() -> None:
    """One release of a package in the phone's image and in the development environment."""

    def pinned(path: Path) -> dict[str, str]:
        lines = [line for line in path.read_text().splitlines() if "==" in line and line[0] != " "]
        return dict(line.rstrip(" \\").split(";")[0].strip().split("==") for line in lines)

    root = compose_folder().parent
    phone = pinned(compose_folder() / "phone" / "requirements.txt")
    everything = pinned(root / "requirements" / "dev.txt")
    assert phone["pjsua2-pybind11"] == versions.pins()["SANDBOX_PJSUA2_VERSION"]
    assert {name: everything.get(name) for name in phone} == phone


# --- the plan -----------------------------------------------------------------------------------


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    options = StackOptions(
        engine="compose",
        run_dir=tmp_path,
        name="gw0",
        server_config={"room": {"auto_create": False}},
        sip_config={"sip_port": None},
    )
    made = Plan(options, IMAGES)
    made.webhook_url = "http://192.0.2.1:1/webhook"
    made.write(made.overlay())
    return made


def test_configurations_are_the_readable_ones_with_the_callers_keys(plan: Plan) -> None:
    server = yaml.safe_load((plan.folder / "livekit-server.yaml").read_text())
    assert server["webhook"] == {"api_key": plan.key, "urls": ["http://192.0.2.1:1/webhook"]}
    assert server["room"] == {"auto_create": False}
    assert server["rtc"]["udp_port"] == 7882
    assert "sip_port" not in yaml.safe_load((plan.folder / "sip.yaml").read_text())


def test_no_secret_is_in_a_file_that_others_may_read(plan: Plan) -> None:
    for path in plan.folder.iterdir():
        if path.is_file():
            assert plan.secret not in path.read_text()
            assert plan.token not in path.read_text()


def test_two_plans_share_neither_project_nor_secret(tmp_path: Path) -> None:
    options = StackOptions(run_dir=tmp_path)
    one, two = Plan(options, IMAGES), Plan(options, IMAGES)
    assert one.project != two.project
    assert one.secret != two.secret
    assert one.run != two.run


def test_the_overlay_takes_the_waiting_out(plan: Plan) -> None:
    text = (plan.folder / "compose.engine.yaml").read_text()
    assert '"depends_on": !reset []' in text
    assert text.count('"interval": "30s"') == 4


def test_the_env_file_takes_any_value() -> None:
    assert env_text({"A": "it's $HOME \\"}) == "A='it\\'s $HOME \\\\'\n"


# --- images -------------------------------------------------------------------------------------

UPSTREAM = {
    f"livekit/livekit-server:{versions.LIVEKIT_SERVER}",
    f"livekit/sip:{versions.LIVEKIT_SIP}",
    f"redis:{versions.REDIS}-alpine",
}
LOCAL = {f"livekit-sip-sandbox/{name}:latest" for name in SERVICES}


def find(have: set[str], registry: set[str] = frozenset()) -> Images:  # type: ignore[assignment]
    return compose_choice.find_images(FakeDocker(have, registry))  # type: ignore[arg-type]


def test_upstreams_images_come_first() -> None:
    images = find(UPSTREAM | LOCAL)
    assert images.source == "upstream"
    assert images.sip_service == f"livekit-sip {versions.LIVEKIT_SIP}"


def test_local_images_where_upstreams_are_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(service: str) -> str:
        raise SetupError(f"no {service}")

    monkeypatch.setattr(compose_choice, "local_tag", missing)
    images = find(LOCAL, registry=UPSTREAM)
    assert images.source == "local"
    assert {images.redis, images.server, images.sip, images.phone} == LOCAL


def test_what_can_be_pulled_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    images = find(set(), registry=UPSTREAM)
    assert images.source == "upstream"
    assert set(images.missing) == UPSTREAM


def test_no_images_says_what_to_do() -> None:
    with pytest.raises(SetupError, match="cannot be pulled") as caught:
        find(set())
    assert "make images" in caught.value.remedy


def test_an_unknown_source_of_images_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_IMAGES", "mine")
    with pytest.raises(UsageError):
        find(UPSTREAM)


def test_an_own_livekit_sip_replaces_upstreams(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "livekit-sip"
    program.write_text("#!/bin/sh\necho livekit-sip version 1.12.0\n")
    program.chmod(0o755)
    monkeypatch.setenv("SANDBOX_LIVEKIT_SIP", str(program))
    images = find(UPSTREAM)
    assert images.sip_service == "livekit-sip v1.12.0"
    assert images.sip.startswith("livekit-sip-sandbox/sip:")


# --- build contexts -----------------------------------------------------------------------------


def test_the_phones_context_is_enough_to_run_it(tmp_path: Path) -> None:
    """It imports nothing of the package that is not in its image."""
    stage("phone", tmp_path)
    shutil.copytree(tmp_path / "sandbox", tmp_path / "app" / "sandbox")
    answer = subprocess.run(
        [sys.executable, "-m", "sandbox.phone", "--help"],
        cwd=tmp_path / "app",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path / "app")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert not list(tmp_path.rglob("compose/**/.env"))


def test_a_contexts_key_follows_its_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = content_key(tmp_path)
    assert content_key(tmp_path) == first
    (tmp_path / "a").write_text("2")
    assert content_key(tmp_path) != first
    assert content_key(tmp_path, ["more"]) != content_key(tmp_path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [("nothing", "no certificate"), ("BEGIN CERTIFICATE\nBEGIN PRIVATE KEY", "private key")],
)
def test_an_extra_ca_must_be_certificates_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str, complaint: str
) -> None:
    path = tmp_path / "ca.pem"
    path.write_text(content)
    monkeypatch.setenv("SANDBOX_EXTRA_CA", str(path))
    with pytest.raises(SetupError, match=complaint):
        extra_ca()


# --- Docker's answers ---------------------------------------------------------------------------


def test_ports_are_told_apart_by_protocol() -> None:
    raw = {
        "Id": "1",
        "Config": {"Labels": {"com.docker.compose.service": "sip"}},
        "State": {
            "Status": "exited",
            "ExitCode": 0,
            "OOMKilled": True,
            "Health": {
                "Status": "unhealthy",
                "Log": [{"ExitCode": 1, "Output": "refused\n"}],
            },
        },
        "NetworkSettings": {
            "Networks": {"x_default": {"IPAddress": "192.0.2.7"}},
            "Ports": {
                "5060/tcp": [{"HostIp": "127.0.0.1", "HostPort": "1"}],
                "5060/udp": [{"HostIp": "127.0.0.1", "HostPort": "2"}],
                "8080/tcp": None,
            },
        },
    }
    container = Container.parse(raw)
    assert container.ports == {(5060, "tcp"): ("127.0.0.1", 1), (5060, "udp"): ("127.0.0.1", 2)}
    assert container.address == "192.0.2.7"
    assert container.health_log == ["health check: exit 1 refused"]
    assert container.detail == "killed: out of memory"


# --- whose is it --------------------------------------------------------------------------------


def test_a_living_owner_is_not_dead() -> None:
    assert not compose_sweep.owner_is_dead(compose_sweep.owner_of_this_process())


def test_an_ended_owner_is_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        owner = compose_sweep.owner_of_this_process(process.pid)
        assert not compose_sweep.owner_is_dead(owner)
    assert compose_sweep.owner_is_dead(owner)


@pytest.mark.parametrize(
    ("part", "value", "dead"),
    [(0, "elsewhere", False), (1, "earlier-boot", True), (2, "1", False), (4, "1", True)],
)
def test_owners_of_other_machines_boots_and_namespaces(part: int, value: str, dead: bool) -> None:
    parts = compose_sweep.owner_of_this_process().split("/")
    parts[part] = value
    assert compose_sweep.owner_is_dead("/".join(parts)) is dead


@pytest.mark.parametrize("owner", ["", "by-hand", "a/b/c/d/e"])
def test_what_is_not_an_owner_is_never_dead(owner: str) -> None:
    assert not compose_sweep.owner_is_dead(owner)
