"""Where a stack listens: all that a scenario may know of the engine it runs on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Endpoints"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """The addresses and credentials of a running stack.

    Attributes:
        engine: `native`, `compose` or `attach`.
        livekit_url: of livekit-server, `ws://host:port`.
        api_key: the LiveKit API key of this run.
        api_secret: its secret.
        sip_host: the address the SIP service takes calls on.
        sip_port: its port, UDP and TCP.
        sip_service: what ran: `livekit-sip v…` or `stand-in (not livekit-sip)`.
        server_version: of livekit-server, or `""` where it is not known.
        phone_url: of the phone service, `http://host:port`.
        phone_token: the bearer token of the phone service.
        phone_host: the address the phone's lines bind and are dialled at.
        redis_address: `host:port`, or `""` where the sandbox did not start it.
        sip_health_url: the SIP service's health endpoint, or `""`.
        sip_metrics_url: its Prometheus endpoint, or `""`.
        events_url: the WebSocket that passes livekit-server's webhooks on, or `""`.
        run_dir: the folder of this run's logs and configuration.
    """

    engine: str
    livekit_url: str
    api_key: str
    api_secret: str
    sip_host: str
    sip_port: int
    sip_service: str
    phone_url: str
    phone_token: str
    run_dir: Path
    server_version: str = ""
    phone_host: str = "127.0.0.1"
    redis_address: str = ""
    sip_health_url: str = ""
    sip_metrics_url: str = ""
    events_url: str = ""

    @property
    def is_stand_in(self) -> bool:
        """Whether the SIP service is our stand-in and not livekit-sip."""
        return self.sip_service.startswith("stand-in")

    @property
    def sip_address(self) -> str:
        """`host:port` of the SIP service."""
        return f"{self.sip_host}:{self.sip_port}"

    def env(self) -> dict[str, str]:
        """As environment variables, the names that LiveKit's SDKs and CLI read first."""
        return {
            "LIVEKIT_URL": self.livekit_url,
            "LIVEKIT_API_KEY": self.api_key,
            "LIVEKIT_API_SECRET": self.api_secret,
            "SANDBOX_ENGINE": self.engine,
            "SANDBOX_SIP_ADDRESS": self.sip_address,
            "SANDBOX_SIP_SERVICE": self.sip_service,
            "SANDBOX_REDIS_ADDRESS": self.redis_address,
            "SANDBOX_PHONE_URL": self.phone_url,
            "SANDBOX_PHONE_TOKEN": self.phone_token,
            "SANDBOX_SIP_HEALTH_URL": self.sip_health_url,
            "SANDBOX_SIP_METRICS_URL": self.sip_metrics_url,
            "SANDBOX_SERVER_VERSION": self.server_version,
            "SANDBOX_EVENTS_URL": self.events_url,
            "SANDBOX_RUN_DIR": str(self.run_dir),
        }
