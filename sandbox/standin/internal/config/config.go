// Package config reads the configuration of the SIP service: the same YAML
// keys as livekit-sip, so that one file serves either binary.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/livekit/protocol/redis"
	"go.yaml.in/yaml/v3"
)

// Defaults that the recordings and the documentation of livekit-sip name.
const (
	DefaultSIPPort             = 5060
	DefaultMediaTimeout        = 15 * time.Second
	DefaultMediaTimeoutInitial = 30 * time.Second
	DefaultRingingInterval     = time.Second
	maxRingingInterval         = 60 * time.Second
	DefaultRTPPorts            = "10000-20000"
	DefaultUDPMaxPayload       = 1300
	DefaultMaxCPU              = 0.9
	defaultLogLevel            = "info"
)

// PortRange is an inclusive range of UDP ports, written "a-b" or {start, end}.
type PortRange struct {
	Start int `yaml:"start"`
	End   int `yaml:"end"`
}

// UnmarshalYAML accepts both spellings.
func (p *PortRange) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		from, to, ok := strings.Cut(n.Value, "-")
		if !ok {
			to = from
		}
		var err error
		if p.Start, err = strconv.Atoi(strings.TrimSpace(from)); err != nil {
			return fmt.Errorf("rtp_port: %q is not a port range", n.Value)
		}
		if p.End, err = strconv.Atoi(strings.TrimSpace(to)); err != nil {
			return fmt.Errorf("rtp_port: %q is not a port range", n.Value)
		}
		return nil
	}
	type plain PortRange
	return n.Decode((*plain)(p))
}

// Logging is the logging section.
type Logging struct {
	Level string `yaml:"level"`
	JSON  *bool  `yaml:"json"`
}

// TCP is the tcp section; only the source port range of dialled connections.
type TCP struct {
	DialPort PortRange `yaml:"dial_port"`
}

// Config is what the service needs. Keys of livekit-sip that have no meaning
// here are accepted (see accepted) and keys nobody knows are warned about.
type Config struct {
	Redis     *redis.RedisConfig `yaml:"redis"`
	APIKey    string             `yaml:"api_key"`
	APISecret string             `yaml:"api_secret"`
	WsURL     string             `yaml:"ws_url"`

	HealthPort     int `yaml:"health_port"`
	PrometheusPort int `yaml:"prometheus_port"`
	PprofPort      int `yaml:"pprof_port"`

	SIPPort            int           `yaml:"sip_port"`
	SIPPortListen      int           `yaml:"sip_port_listen"`
	SIPHostname        string        `yaml:"sip_hostname"`
	SIPRingingInterval time.Duration `yaml:"sip_ringing_interval"`
	TCP                TCP           `yaml:"tcp"`
	ListenIP           string        `yaml:"listen_ip"`
	NAT1To1IP          string        `yaml:"nat_1_to_1_ip"`
	MediaNAT1To1IP     string        `yaml:"media_nat_1_to_1_ip"`
	UseExternalIP      bool          `yaml:"use_external_ip"`
	UDPMaxPayload      int           `yaml:"udp_max_payload"`

	RTPPort                 PortRange       `yaml:"rtp_port"`
	MediaTimeout            time.Duration   `yaml:"media_timeout"`
	MediaTimeoutInitial     time.Duration   `yaml:"media_timeout_initial"`
	RTPDrainingIdleTimeout  time.Duration   `yaml:"rtp_draining_idle_timeout"`
	RTPDrainingDuration     time.Duration   `yaml:"rtp_draining_duration"`
	SymmetricRTP            bool            `yaml:"symmetric_rtp"`
	IgnoreLocalAddrInSDP    bool            `yaml:"ignore_local_addr_in_sdp"`
	Codecs                  map[string]bool `yaml:"codecs"`
	AudioDTMF               bool            `yaml:"audio_dtmf"`
	HideInboundPort         bool            `yaml:"hide_inbound_port"`
	DisableRejectedInvCache bool            `yaml:"disable_rejected_invite_cache"`
	AddRecordRoute          bool            `yaml:"add_record_route"`

	ClusterID         string  `yaml:"cluster_id"`
	MaxCPUUtilization float64 `yaml:"max_cpu_utilization"`
	Logging           Logging `yaml:"logging"`

	// Warnings are remarks about the file, to be logged once there is a logger.
	Warnings []string `yaml:"-"`
}

// accepted are keys of livekit-sip that mean nothing to the stand-in. They are
// remarked on at debug level only: a file made for the real one is no mistake.
var accepted = map[string]bool{
	"outbound_route_headers": true, "tls": true, "local_net": true,
	"media_use_external_ip": true, "enable_jitter_buffer": true, "enable_jitter_buffer_prob": true,
	"jaeger_url": true, "experimental": true, "max_active_calls": true, "sip_trunk_ids": true,
}

// Parse reads a YAML body, takes keys and URL from the environment where the
// file has none, fills in the defaults and checks the result.
func Parse(body string, getenv func(string) string) (*Config, error) {
	if getenv == nil {
		getenv = os.Getenv
	}
	c := &Config{
		APIKey:    getenv("LIVEKIT_API_KEY"),
		APISecret: getenv("LIVEKIT_API_SECRET"),
		WsURL:     getenv("LIVEKIT_WS_URL"),
	}
	if strings.TrimSpace(body) != "" {
		if err := yaml.Unmarshal([]byte(body), c); err != nil {
			return nil, fmt.Errorf("could not parse config: %w", err)
		}
		c.warnUnknown(body)
		c.warnNotImplemented()
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	return c, nil
}

// warnUnknown notes the keys that neither livekit-sip nor the stand-in has.
// It is no error, because a newer livekit-sip may have them.
func (c *Config) warnUnknown(body string) {
	var all map[string]any
	if yaml.Unmarshal([]byte(body), &all) != nil {
		return
	}
	known := map[string]bool{}
	for _, f := range fieldNames {
		known[f] = true
	}
	var unknown, ignored []string
	for k := range all {
		switch {
		case known[k]:
		case accepted[k]:
			ignored = append(ignored, k)
		default:
			unknown = append(unknown, k)
		}
	}
	sort.Strings(unknown)
	sort.Strings(ignored)
	for _, k := range unknown {
		c.Warnings = append(c.Warnings, "unknown config key: "+k)
	}
	for _, k := range ignored {
		c.Warnings = append(c.Warnings, "config key has no effect in the stand-in: "+k)
	}
}

// warnNotImplemented notes the keys whose effect a test could miss.
func (c *Config) warnNotImplemented() {
	for key, used := range map[string]bool{
		"add_record_route":          c.AddRecordRoute,
		"rtp_draining_duration":     c.RTPDrainingDuration > 0,
		"rtp_draining_idle_timeout": c.RTPDrainingIdleTimeout > 0,
		"tcp.dial_port":             c.TCP.DialPort != PortRange{},
		"use_external_ip":           c.UseExternalIP,
	} {
		if used {
			c.Warnings = append(c.Warnings, "known key, not implemented by the stand-in: "+key)
		}
	}
	sort.Strings(c.Warnings)
}

func (c *Config) complete() error {
	if c.Redis == nil || !c.Redis.IsConfigured() {
		return errors.New("redis configuration is required")
	}
	if c.APIKey == "" || c.APISecret == "" {
		return errors.New("api_key and api_secret are required")
	}
	if c.WsURL == "" {
		return errors.New("ws_url is required")
	}
	if c.UseExternalIP && c.NAT1To1IP != "" {
		return errors.New("use_external_ip and nat_1_to_1_ip can not both be set")
	}
	if c.SIPPort == 0 {
		c.SIPPort = DefaultSIPPort
	}
	if c.SIPPortListen == 0 {
		c.SIPPortListen = c.SIPPort
	}
	if c.RTPPort.Start == 0 {
		from, to, _ := strings.Cut(DefaultRTPPorts, "-")
		c.RTPPort.Start, _ = strconv.Atoi(from)
		c.RTPPort.End, _ = strconv.Atoi(to)
	}
	if c.RTPPort.End < c.RTPPort.Start {
		return fmt.Errorf("rtp_port: end %d is below start %d", c.RTPPort.End, c.RTPPort.Start)
	}
	if c.SIPRingingInterval < time.Second || c.SIPRingingInterval > maxRingingInterval {
		// livekit-sip takes 1 s to 60 s and falls back silently.
		c.SIPRingingInterval = DefaultRingingInterval
	}
	if c.MediaTimeout == 0 {
		c.MediaTimeout = DefaultMediaTimeout
	}
	if c.MediaTimeoutInitial == 0 {
		c.MediaTimeoutInitial = DefaultMediaTimeoutInitial
	}
	if c.UDPMaxPayload == 0 {
		c.UDPMaxPayload = DefaultUDPMaxPayload
	}
	if c.MaxCPUUtilization == 0 {
		c.MaxCPUUtilization = DefaultMaxCPU
	}
	if c.Logging.Level == "" {
		c.Logging.Level = defaultLogLevel
	}
	return nil
}

// SignalIP is the address in Contact, From and Via: nat_1_to_1_ip, else
// listen_ip, else the first IPv4 of an interface that is up and not loopback.
func (c *Config) SignalIP() (string, error) {
	if c.NAT1To1IP != "" {
		return c.NAT1To1IP, nil
	}
	if ip := net.ParseIP(c.ListenIP); ip != nil && !ip.IsUnspecified() {
		return c.ListenIP, nil
	}
	return localIP()
}

// MediaIP is the address in the SDP.
func (c *Config) MediaIP() (string, error) {
	if c.MediaNAT1To1IP != "" {
		return c.MediaNAT1To1IP, nil
	}
	return c.SignalIP()
}

func localIP() (string, error) {
	ifs, err := net.Interfaces()
	if err != nil {
		return "", err
	}
	for _, i := range ifs {
		if i.Flags&net.FlagUp == 0 || i.Flags&(net.FlagLoopback|net.FlagPointToPoint) != 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
				return n.IP.String(), nil
			}
		}
	}
	return "", errors.New("no local IP found")
}

// JSONLogs tells the log format; JSON unless switched off.
func (c *Config) JSONLogs() bool { return c.Logging.JSON == nil || *c.Logging.JSON }

// LogLevel is the slog level of logging.level.
func (c *Config) LogLevel() slog.Level {
	var l slog.Level
	if l.UnmarshalText([]byte(c.Logging.Level)) != nil {
		return slog.LevelInfo
	}
	return l
}
