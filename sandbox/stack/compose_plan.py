"""What the Compose engine lays over compose.yaml: configuration, variables, and an overlay file."""

from __future__ import annotations

import json
import os
import secrets
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sandbox.stack.compose_choice import Images
from sandbox.stack.compose_files import compose_folder
from sandbox.stack.compose_sweep import owner_of_this_process
from sandbox.stack.configs import merged
from sandbox.stack.image_build import extra_ca
from sandbox.stack.options import StackOptions

__all__ = ["Plan"]

PHONE_PORT = 8080
LIVEKIT_PORT = 7880
SIP_PORT = 5060
SIP_HEALTH_PORT = 8080
SIP_METRICS_PORT = 6789
REDIS_PORT = 6379
WEBHOOK_PORT = 8090

#: Of each part that has one: its configuration in compose/, and the variable that names another.
_CONFIGS = {
    "livekit-server": ("livekit-server/livekit.yaml", "SANDBOX_SERVER_CONFIG"),
    "sip": ("sip/sip.yaml", "SANDBOX_SIP_CONFIG"),
}


@dataclass
class Plan:
    """One run under Compose: its names, its secrets and its files.

    Attributes:
        options: what the caller chose.
        images: what it runs on.
        run: the run's id, the value of its label.
        key: the LiveKit API key of this run.
        secret: its secret.
        token: the phone's bearer token.
        webhook_url: where livekit-server posts its webhooks; `""` is nowhere.
    """

    options: StackOptions
    images: Images
    run: str = field(default_factory=lambda: secrets.token_hex(6))
    key: str = field(default_factory=lambda: f"API{secrets.token_hex(6)}")
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    webhook_url: str = ""

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.options.run_dir.absolute()

    @property
    def project(self) -> str:
        """The project's name: of this stack alone."""
        name = "".join(ch for ch in self.options.name.lower() if ch.isalnum()) or "main"
        return f"sandbox-{name}-{self.run}"

    def values(self, *, published: str = "") -> dict[str, str]:
        """The variables of the Compose files.

        Args:
            published: the port of 127.0.0.1 for livekit-server; `""` is a free one.
        """
        folder = self.folder
        ca = extra_ca()
        return {
            "SANDBOX_RUN": self.run,
            "SANDBOX_OWNER": owner_of_this_process(),
            "SANDBOX_API_KEY": self.key,
            "SANDBOX_API_SECRET": self.secret,
            "SANDBOX_PHONE_TOKEN": self.token,
            "SANDBOX_REDIS_IMAGE": self.images.redis,
            "SANDBOX_SERVER_IMAGE": self.images.server,
            "SANDBOX_SIP_IMAGE": self.images.sip,
            "SANDBOX_PHONE_IMAGE": self.images.phone,
            "SANDBOX_SERVER_CONFIG": str(folder / "livekit-server.yaml"),
            "SANDBOX_SIP_CONFIG": str(folder / "sip.yaml"),
            "SANDBOX_LIVEKIT_PORT": published,
            "SANDBOX_PHONE_USER": phone_user(),
            **({"SANDBOX_EXTRA_CA": str(ca)} if ca else {}),
        }

    def files(self) -> list[Path]:
        """The Compose files, ours last."""
        folder = compose_folder()
        files = [folder / "compose.yaml"]
        if self.images.source == "local":
            files.append(folder / "compose.local.yaml")
        return [*files, self.folder / "compose.engine.yaml"]

    def write(self, overlay: Mapping[str, Any]) -> None:
        """Write the run's configuration files and the overlay."""
        self.write_server()
        self._write_config("sip", "sip", self.options.sip_config)
        # JSON is YAML; `!reset` and `!override` are tags of Compose's own.
        text = json.dumps(overlay, indent=2).replace('"!reset"', "!reset []")
        _write(self.folder / "compose.engine.yaml", text)

    def write_server(self) -> None:
        """Write livekit-server's configuration, in place: its container may have it mounted."""
        self._write_config("livekit-server", "livekit-server", self.options.server_config)

    def write_another(self, kind: str, name: str, changes: Mapping[str, Any]) -> dict[str, str]:
        """Write the configuration of one more part; returns the variable that names its file."""
        if kind not in _CONFIGS:
            return {}
        return {_CONFIGS[kind][1]: str(self._write_config(kind, name, changes))}

    def _write_config(self, kind: str, name: str, changes: Mapping[str, Any]) -> Path:
        config = self._base(_CONFIGS[kind][0])
        if kind == "livekit-server" and self.webhook_url:
            config["webhook"] = {"api_key": self.key, "urls": [self.webhook_url]}
        path = self.folder / f"{name}.yaml"
        _write(path, yaml.safe_dump(merged(config, changes), sort_keys=False))
        return path

    @staticmethod
    def _base(name: str) -> dict[str, Any]:
        """A configuration of compose/, the very file that a person reads."""
        content: dict[str, Any] = yaml.safe_load((compose_folder() / name).read_text())
        return content

    def overlay(self) -> dict[str, Any]:
        """The overlay for a stack that we talk to at the containers' addresses."""
        # We probe each part by itself, and far faster than Docker's checks: they need not cost
        # anything, and nothing has to wait for them.
        relaxed = {"healthcheck": {"interval": "30s"}}
        phone, redis = self.folder / "phone", self.folder / "redis"
        phone.mkdir(exist_ok=True)
        # What a scenario has redis save outlives its container. It is written by redis' user.
        redis.mkdir(exist_ok=True)
        redis.chmod(0o777)
        shared = sorted({tempfile.gettempdir(), os.getcwd(), str(self.folder)})
        return {
            "services": {
                "redis": {
                    **relaxed,
                    "tmpfs": "!reset",
                    "volumes": [{"type": "bind", "source": str(redis), "target": "/data"}],
                },
                "livekit-server": {**relaxed, "depends_on": "!reset"},
                "sip": {**relaxed, "depends_on": "!reset"},
                "phone": {
                    **relaxed,
                    # Recordings have the same path inside and outside; so have the sound files of a
                    # test, which are under the temporary or the working folder: read-only.
                    "command": ["--log-dir", str(phone)],
                    "tmpfs": "!reset",
                    "working_dir": "/",
                    "environment": {"TMPDIR": str(phone)},
                    "volumes": [
                        *(_bind(path, read_only=True) for path in shared),
                        _bind(str(phone), read_only=False),
                    ],
                },
            }
        }


def phone_user() -> str:
    """The phone runs as the user who runs the tests: both read each other's sound files."""
    return f"{os.getuid()}:{os.getgid()}" if sys.platform == "linux" else "10001:10001"


def _bind(path: str, *, read_only: bool) -> dict[str, Any]:
    return {"type": "bind", "source": path, "target": path, "read_only": read_only}


def _write(path: Path, text: str) -> None:
    """Write a file that the containers' users can read (nothing in it is secret)."""
    path.write_text(text, encoding="utf-8")
    path.chmod(0o644)
