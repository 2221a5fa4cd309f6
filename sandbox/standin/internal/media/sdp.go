// SDP: the offer, the answer, and the choice of codec, as recorded.

package media

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// Errors of the negotiation. The texts of the first two are part of the
// recorded API answers of outbound calls; match with errors.Is.
var (
	// ErrNoAudio: no body, no m=audio line, or one with port 0.
	ErrNoAudio = errors.New("no audio in sdp")
	// ErrNoCodec: no audio codec that both sides have.
	ErrNoCodec = errors.New("common audio codec not found")
	// ErrNoCrypto: encryption is required and the peer gave no usable key.
	ErrNoCrypto = errors.New("no usable encryption in sdp")
	// ErrBadSDP: the body is not SDP, or its address cannot be used.
	ErrBadSDP = errors.New("bad sdp")
)

// Encryption is the policy for SRTP with SDES keys.
type Encryption int

const (
	// EncryptionDisable never encrypts; an RTP/SAVP offer is answered RTP/AVP.
	EncryptionDisable Encryption = iota
	// EncryptionAllow offers RTP/SAVP and accepts a plain answer or offer.
	EncryptionAllow
	// EncryptionRequire refuses a peer without a usable key.
	EncryptionRequire
)

// CodecSpec names a codec as SDP does; Rate is the rtpmap clock in Hz, 0 means
// any. G722 is {"G722", 8000} although its audio is 16000 Hz.
type CodecSpec struct {
	Name string
	Rate int
}

type codecKind int

const (
	codecG722 codecKind = iota
	codecPCMU
	codecPCMA
)

// codecDef is a codec that this package speaks.
type codecDef struct {
	kind codecKind
	name string
	pt   uint8 // static payload type
	rate int   // audio rate in Hz; the RTP clock is 8000 Hz for all three
}

// codecDefs is in order of preference: the order of the offer and, whatever
// the order of the peer, the order of choice.
var codecDefs = []codecDef{
	{codecG722, "G722", 9, 16000},
	{codecPCMU, "PCMU", 0, 8000},
	{codecPCMA, "PCMA", 8, 8000},
}

const (
	dtmfName      = "telephone-event"
	dtmfOfferedPT = 101
	// rtpClock is the RTP timestamp rate in Hz of every codec here.
	rtpClock = 8000
)

// EventName is telephone-event as SDP has it.
const EventName = dtmfName + "/8000"

// sdpName is a codec as SDP has it: name and clock.
func sdpName(codec string) string { return fmt.Sprintf("%s/%d", codec, rtpClock) }

// choice is one codec with the payload type agreed for it.
type choice struct {
	codecDef
	pt uint8
}

// remoteSDP is what is used of the peer's description.
type remoteSDP struct {
	sessionID uint64
	addr      netip.AddrPort // invalid when the peer gave a host name
	host      string         // set when the address is a host name
	secure    bool           // RTP/SAVP or RTP/SAVPF
	codecs    map[codecKind]uint8
	dtmfPT    int  // -1: none
	others    bool // payload types that are none of these
	crypto    []cryptoLine
}

// isUnspecified tells whether the peer asked for no media (0.0.0.0, old hold).
func (r *remoteSDP) isUnspecified() bool {
	return r.host == "" && (!r.addr.IsValid() || r.addr.Addr().IsUnspecified())
}

// parseSDP reads the first usable audio section of an offer or answer.
func parseSDP(raw []byte) (*remoteSDP, error) {
	if len(strings.TrimSpace(string(raw))) == 0 {
		return nil, ErrNoAudio
	}
	var desc sdp.SessionDescription
	if err := desc.Unmarshal(raw); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadSDP, err)
	}
	var m *sdp.MediaDescription
	for _, c := range desc.MediaDescriptions {
		if c.MediaName.Media == "audio" && c.MediaName.Port.Value > 0 && c.MediaName.Port.Value <= 65535 {
			m = c
			break
		}
	}
	if m == nil {
		return nil, ErrNoAudio
	}
	conn := desc.ConnectionInformation
	if m.ConnectionInformation != nil {
		conn = m.ConnectionInformation
	}
	if conn == nil || conn.Address == nil {
		return nil, fmt.Errorf("%w: no connection address", ErrBadSDP)
	}

	r := &remoteSDP{
		sessionID: desc.Origin.SessionID,
		codecs:    make(map[codecKind]uint8),
		dtmfPT:    -1,
	}
	// "a.b.c.d/ttl" is for multicast; the tail is of no use here.
	host, _, _ := strings.Cut(strings.TrimSpace(conn.Address.Address), "/")
	port := uint16(m.MediaName.Port.Value)
	if ip, err := netip.ParseAddr(host); err == nil {
		r.addr = netip.AddrPortFrom(ip.Unmap(), port)
	} else if host == "" || strings.ContainsAny(host, " \t") {
		return nil, fmt.Errorf("%w: address %q", ErrBadSDP, host)
	} else {
		r.host = host
		r.addr = netip.AddrPortFrom(netip.Addr{}, port)
	}
	for _, p := range m.MediaName.Protos {
		if strings.HasPrefix(strings.ToUpper(p), "SAVP") {
			r.secure = true
		}
	}

	// What each payload type means: rtpmap, else the static assignment.
	names := make(map[uint8]string)
	for _, a := range m.Attributes {
		switch a.Key {
		case "rtpmap":
			ptText, enc, ok := strings.Cut(strings.TrimSpace(a.Value), " ")
			pt, err := strconv.ParseUint(ptText, 10, 7)
			if !ok || err != nil {
				continue
			}
			names[uint8(pt)] = normalEncoding(enc)
		case "crypto":
			if c, err := parseCrypto(a.Value); err == nil {
				r.crypto = append(r.crypto, c)
			}
		}
	}
	for _, f := range m.MediaName.Formats {
		v, err := strconv.ParseUint(f, 10, 7)
		if err != nil {
			continue
		}
		pt := uint8(v)
		name, mapped := names[pt]
		known := false
		for _, c := range codecDefs {
			if (mapped && name == strings.ToLower(c.name)+"/8000") || (!mapped && pt == c.pt) {
				known = true
				if _, dup := r.codecs[c.kind]; !dup {
					r.codecs[c.kind] = pt
				}
			}
		}
		if mapped && name == EventName {
			known = true
			if r.dtmfPT < 0 {
				r.dtmfPT = int(pt)
			}
		}
		r.others = r.others || !known
	}
	return r, nil
}

// normalEncoding lowers an rtpmap encoding and drops a channel count of 1.
func normalEncoding(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	return strings.TrimSuffix(s, "/1")
}

// enabledCodecs applies the service's `codecs` setting and the call's list.
func enabledCodecs(cfg map[string]bool, only []CodecSpec) []codecDef {
	var out []codecDef
	for _, c := range codecDefs {
		on := true
		for k, v := range cfg {
			if strings.EqualFold(k, c.name+"/8000") || strings.EqualFold(k, c.name) {
				on = v
			}
		}
		if on && only != nil {
			on = false
			for _, o := range only {
				if strings.EqualFold(o.Name, c.name) && (o.Rate == 0 || o.Rate == rtpClock) {
					on = true
				}
			}
		}
		if on {
			out = append(out, c)
		}
	}
	return out
}

// choose picks our most preferred codec that the peer has too.
func choose(have []codecDef, r *remoteSDP) (choice, error) {
	for _, c := range have {
		if pt, ok := r.codecs[c.kind]; ok {
			return choice{codecDef: c, pt: pt}, nil
		}
	}
	return choice{}, ErrNoCodec
}

// localDesc is what our own description is made of.
type localDesc struct {
	ip      string
	port    int
	id      uint64
	version uint64
	codecs  []choice
	dtmfPT  int // -1: none
	secure  bool
	crypto  []string // values of a=crypto
}

// marshal writes the description in the recorded order of lines.
func (l *localDesc) marshal() ([]byte, error) {
	addrType := "IP4"
	if ip, err := netip.ParseAddr(l.ip); err == nil && ip.Is6() && !ip.Is4In6() {
		addrType = "IP6"
	}
	proto := "AVP"
	if l.secure {
		proto = "SAVP"
	}
	m := &sdp.MediaDescription{
		MediaName: sdp.MediaName{
			Media:  "audio",
			Port:   sdp.RangedPort{Value: l.port},
			Protos: []string{"RTP", proto},
		},
	}
	attr := func(key, value string) {
		m.Attributes = append(m.Attributes, sdp.Attribute{Key: key, Value: value})
	}
	for _, c := range l.codecs {
		m.MediaName.Formats = append(m.MediaName.Formats, strconv.Itoa(int(c.pt)))
		attr("rtpmap", fmt.Sprintf("%d %s/%d", c.pt, c.name, rtpClock))
	}
	if l.dtmfPT >= 0 {
		m.MediaName.Formats = append(m.MediaName.Formats, strconv.Itoa(l.dtmfPT))
		attr("rtpmap", fmt.Sprintf("%d %s/%d", l.dtmfPT, dtmfName, rtpClock))
		attr("fmtp", fmt.Sprintf("%d 0-16", l.dtmfPT))
	}
	for _, c := range l.crypto {
		attr("crypto", c)
	}
	attr("ptime", "20")
	attr("sendrecv", "")
	desc := sdp.SessionDescription{
		Origin: sdp.Origin{
			Username: "-", SessionID: l.id, SessionVersion: l.version,
			NetworkType: "IN", AddressType: addrType, UnicastAddress: l.ip,
		},
		SessionName: "LiveKit",
		ConnectionInformation: &sdp.ConnectionInformation{
			NetworkType: "IN", AddressType: addrType, Address: &sdp.Address{Address: l.ip},
		},
		TimeDescriptions:  []sdp.TimeDescription{{}},
		MediaDescriptions: []*sdp.MediaDescription{m},
	}
	return desc.Marshal()
}

// randomID is the o= id of an offer: a full-range 64-bit number, as recorded.
func randomID() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])
}
