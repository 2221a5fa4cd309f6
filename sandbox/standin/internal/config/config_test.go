package config

import (
	"slices"
	"strings"
	"testing"
	"time"
)

const base = "redis: {address: 127.0.0.1:1}\napi_key: k\napi_secret: s\nws_url: ws://x\n"

func none(string) string { return "" }

func TestDefaults(t *testing.T) {
	c, err := Parse(base, none)
	if err != nil {
		t.Fatal(err)
	}
	if c.SIPPort != 5060 || c.SIPPortListen != 5060 || c.RTPPort != (PortRange{10000, 20000}) {
		t.Errorf("ports: %+v", c)
	}
	if c.MediaTimeout != 15*time.Second || c.SIPRingingInterval != time.Second {
		t.Errorf("times: %v %v", c.MediaTimeout, c.SIPRingingInterval)
	}
	if len(c.Warnings) != 0 {
		t.Errorf("warnings: %v", c.Warnings)
	}
}

func TestSpellings(t *testing.T) {
	for _, rtp := range []string{"rtp_port: 100-200", "rtp_port: {start: 100, end: 200}"} {
		c, err := Parse(base+rtp+"\nsip_port: 1\nsip_port_listen: 2\ncodecs: {G722/8000: false}\nsip_ringing_interval: 2s\n", none)
		if err != nil {
			t.Fatal(err)
		}
		if c.RTPPort != (PortRange{100, 200}) || c.SIPPortListen != 2 || c.SIPRingingInterval != 2*time.Second {
			t.Errorf("%s: %+v", rtp, c)
		}
		if on, set := c.Codecs["G722/8000"]; on || !set {
			t.Errorf("codecs: %v", c.Codecs)
		}
	}
}

func TestEnvironment(t *testing.T) {
	c, err := Parse("redis: {address: a}", func(k string) string { return "env-" + k })
	if err != nil || c.APIKey != "env-LIVEKIT_API_KEY" || c.WsURL != "env-LIVEKIT_WS_URL" {
		t.Fatalf("%+v %v", c, err)
	}
}

func TestMistakes(t *testing.T) {
	for body, want := range map[string]string{
		"api_key: k":             "redis configuration is required",
		base + "rtp_port: x-y":   "not a port range",
		base + "rtp_port: 20-10": "below start",
		base + "use_external_ip: true\nnat_1_to_1_ip: 1.2.3.4": "can not both be set",
	} {
		if _, err := Parse(body, none); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", body, err, want)
		}
	}
	c, err := Parse(base+"nonsense: 1\njaeger_url: x\nadd_record_route: true\ntcp: {dial_port: 1-2}\n"+
		"rtp_draining_idle_timeout: 1s\nrtp_draining_duration: -1s\n", none)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"config key has no effect in the stand-in: jaeger_url",
		"known key, not implemented by the stand-in: add_record_route",
		"known key, not implemented by the stand-in: rtp_draining_idle_timeout",
		"known key, not implemented by the stand-in: tcp.dial_port",
		"unknown config key: nonsense",
	}
	if !slices.Equal(c.Warnings, want) {
		t.Errorf("warnings %q", c.Warnings)
	}
}
