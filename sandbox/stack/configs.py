"""The configuration of livekit-server and of the SIP service, with the reason for each key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["merged", "server_config", "sip_config"]


def server_config(
    *,
    host: str,
    port: int,
    udp_port: int,
    redis: str,
    key: str,
    secret: str,
    webhook_url: str,
) -> dict[str, Any]:
    """livekit-server's configuration for a stack on one loopback address.

    livekit-server refuses unknown keys, so this holds only keys of the pinned version.
    """
    return {
        "port": port,
        "bind_addresses": [host],
        "keys": {key: secret},
        "redis": {"address": redis},
        "logging": {"json": True, "level": "info"},
        "rtc": {
            # One UDP port for all media, on loopback only: no candidate of another interface is
            # offered, and no ICE over TCP opens a second port.
            "udp_port": udp_port,
            "tcp_port": 0,
            "use_external_ip": False,
            "node_ip": host,
            "enable_loopback_candidate": True,
            "interfaces": {"includes": ["lo"]},
            # Participants are told which STUN servers to ask: without a list of ours, public ones.
            # Nobody listens there (port 9 is "discard"), and nothing leaves the machine.
            "stun_servers": [f"{host}:9"],
        },
        "webhook": {"api_key": key, "urls": [webhook_url]},
    }


def sip_config(
    *,
    host: str,
    sip_port: int,
    rtp_range: tuple[int, int],
    health_port: int,
    prometheus_port: int,
    redis: str,
    key: str,
    secret: str,
    ws_url: str,
) -> dict[str, Any]:
    """livekit-sip's configuration on one loopback address (the stand-in reads it too)."""
    return {
        "api_key": key,
        "api_secret": secret,
        "ws_url": ws_url,
        "redis": {"address": redis},
        "sip_port": sip_port,
        "sip_port_listen": sip_port,
        "rtp_port": f"{rtp_range[0]}-{rtp_range[1]}",
        "health_port": health_port,
        "prometheus_port": prometheus_port,
        "logging": {"json": True, "level": "debug"},
        # Loopback is never picked by itself: both the address to bind and the one to tell peers.
        "listen_ip": host,
        "nat_1_to_1_ip": host,
        "use_external_ip": False,
        # A busy two-core machine passes the default of 0.9, and every call out is then refused.
        "max_cpu_utilization": 1,
        # A closed call's RTP port would stay bound for 30 s and a small range run dry.
        "rtp_draining_idle_timeout": "-1s",
        "rtp_draining_duration": "-1s",
    }


def merged(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over`, nested mappings key by key; None removes a key."""
    result = dict(base)
    for key, value in over.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result
