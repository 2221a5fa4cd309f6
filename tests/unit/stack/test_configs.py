"""The configuration files of the parts."""

from __future__ import annotations

from sandbox.stack.configs import merged, server_config, sip_config


def _server() -> dict[str, object]:
    return server_config(
        host="127.0.0.1",
        port=7880,
        udp_port=7882,
        redis="127.0.0.1:6379",
        key="key",
        secret="secret",
        webhook_url="http://127.0.0.1:1/webhook",
    )


def test_livekit_server_listens_on_loopback_alone() -> None:
    config = _server()
    assert config["bind_addresses"] == ["127.0.0.1"]
    rtc = config["rtc"]
    assert isinstance(rtc, dict)
    assert rtc["interfaces"] == {"includes": ["lo"]}
    assert rtc["tcp_port"] == 0


def test_the_sip_service_binds_and_advertises_its_address() -> None:
    config = sip_config(
        host="127.0.0.1",
        sip_port=5060,
        rtp_range=(20000, 20399),
        health_port=1,
        prometheus_port=2,
        redis="127.0.0.1:6379",
        key="key",
        secret="secret",
        ws_url="ws://127.0.0.1:7880",
    )
    assert config["listen_ip"] == config["nat_1_to_1_ip"] == "127.0.0.1"
    assert config["rtp_port"] == "20000-20399"
    assert config["max_cpu_utilization"] == 1


def test_merged_lays_keys_over_nested_ones_and_none_removes() -> None:
    config = merged(_server(), {"rtc": {"udp_port": 9}, "webhook": None})
    assert isinstance(config["rtc"], dict)
    assert config["rtc"]["udp_port"] == 9
    assert config["rtc"]["tcp_port"] == 0
    assert "webhook" not in config
    assert "webhook" in _server()
