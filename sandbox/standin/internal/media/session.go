// Session: one call's media, from the port to the samples.

package media

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mrand "math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

var (
	// ErrNoPort: every even port of the range is taken.
	ErrNoPort = errors.New("no free rtp port")
	// ErrClosed: the session was closed.
	ErrClosed = errors.New("media session closed")
)

// Config is the part of the service's configuration that media needs.
type Config struct {
	// ListenIP is bound, AdvertiseIP goes into the SDP ("" = ListenIP).
	ListenIP, AdvertiseIP string
	// PortStart and PortEnd bound the RTP ports, both included; only even
	// ones are used. 0, 0 lets the system choose.
	PortStart, PortEnd int
	// Codecs switches codecs by SDP name, e.g. {"G722/8000": false}. A codec
	// not named is on.
	Codecs map[string]bool
	// SymmetricRTP sends to where packets come from, not to the SDP address.
	SymmetricRTP bool
	// IgnoreLocalAddr does so only if the SDP address is private or local.
	IgnoreLocalAddr bool
	// AudioDTMF adds the audible tones of the keys sent to the phone.
	AudioDTMF bool
	Log       *slog.Logger // nil: silent
}

// Options are the settings of one call.
type Options struct {
	Encryption Encryption
	OnlyCodecs []CodecSpec // nil: all that are on
}

// Stats are counters of a session since Open.
type Stats struct {
	PacketsIn, BytesIn   uint64 // RTP of any payload type; payload bytes
	PacketsOut, BytesOut uint64
	EventsIn, EventsOut  uint64 // the packets among them that were keys
	Lost                 uint64 // packets from the phone given up as lost
	Junk                 uint64 // datagrams that were no usable RTP
	Codec                string // "" before the negotiation
	PayloadType          uint8
	DTMFPayloadType      int // -1: none
	Encrypted            bool
	Remote               netip.AddrPort
}

// negotiated is what an answer fixed; it never changes afterwards.
type negotiated struct {
	codec  choice
	dtmfPT int // -1: none
	recv   *srtp.Context
	play   *playout
	up     *upsampler
}

// Session is the media of one call. Its methods may be called from any
// goroutine, ReadPCM by one at a time.
type Session struct {
	cfg  Config
	opts Options
	log  *slog.Logger
	conn *net.UDPConn
	port int
	have []codecDef

	mu        sync.Mutex // negotiation
	local     localDesc
	localText []byte
	offered   []cryptoLine
	started   bool

	neg   atomic.Pointer[negotiated]
	out   sender
	mixer *Mixer
	latch atomic.Bool // send to where packets come from

	// Clock of RTP timestamps: tsBase at origin.
	origin time.Time
	tsBase uint32

	first     chan struct{}
	firstOnce sync.Once
	last      atomic.Int64 // unix ns of the last RTP packet, 0: none

	seen     dtmfSeen
	keys     chan dtmfKey
	dtmfTurn chan struct{}

	readMu sync.Mutex
	pace   *pacer

	packetsIn, bytesIn, junk atomic.Uint64
	eventsIn, eventsOut      atomic.Uint64

	closed    chan struct{}
	closeOnce sync.Once
}

// Open binds a port and starts to receive. The caller must Close the session.
func Open(cfg Config, opts Options) (*Session, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	conn, err := listen(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.AdvertiseIP == "" {
		cfg.AdvertiseIP = cfg.ListenIP
	}
	var rnd [10]byte
	_, _ = rand.Read(rnd[:])
	s := &Session{
		cfg: cfg, opts: opts, log: cfg.Log, conn: conn,
		port:     conn.LocalAddr().(*net.UDPAddr).Port,
		have:     enabledCodecs(cfg.Codecs, opts.OnlyCodecs),
		mixer:    newMixer(),
		origin:   time.Now(),
		tsBase:   binary.BigEndian.Uint32(rnd[:]),
		first:    make(chan struct{}),
		keys:     make(chan dtmfKey, 64),
		dtmfTurn: make(chan struct{}, 1),
		closed:   make(chan struct{}),
	}
	s.out.conn = conn
	s.out.header = rtp.Header{
		Version:        2,
		SSRC:           binary.BigEndian.Uint32(rnd[4:]),
		SequenceNumber: binary.BigEndian.Uint16(rnd[8:]) >> 1, // far from the wrap: SRTP
	}
	s.out.plain = make([]byte, maxPacket)
	s.out.cipher = make([]byte, maxPacket)
	go s.receive()
	return s, nil
}

// listen binds an even port, trying the range from a random place on, so that
// a port just given back is not the next one taken.
func listen(cfg Config) (*net.UDPConn, error) {
	network, ip := "udp4", net.IP(nil)
	if cfg.ListenIP != "" {
		if ip = net.ParseIP(cfg.ListenIP); ip == nil {
			return nil, fmt.Errorf("listen ip %q is not an IP address", cfg.ListenIP)
		}
		if ip.To4() == nil {
			network = "udp6"
		}
	}
	if cfg.PortStart == 0 && cfg.PortEnd == 0 {
		for range 64 {
			conn, err := net.ListenUDP(network, &net.UDPAddr{IP: ip})
			if err != nil {
				return nil, err
			}
			if conn.LocalAddr().(*net.UDPAddr).Port%2 == 0 {
				return conn, nil
			}
			_ = conn.Close()
		}
		return nil, ErrNoPort
	}
	lo := (cfg.PortStart + 1) / 2
	n := cfg.PortEnd/2 - lo + 1
	if n <= 0 {
		return nil, fmt.Errorf("%w: range %d-%d", ErrNoPort, cfg.PortStart, cfg.PortEnd)
	}
	start := mrand.IntN(n)
	for i := range n {
		port := 2 * (lo + (start+i)%n)
		if conn, err := net.ListenUDP(network, &net.UDPAddr{IP: ip, Port: port}); err == nil {
			return conn, nil
		}
	}
	return nil, fmt.Errorf("%w: range %d-%d", ErrNoPort, cfg.PortStart, cfg.PortEnd)
}

// Port is the bound RTP port.
func (s *Session) Port() int { return s.port }

// Offer makes the SDP of an outbound call. Later calls give the same one.
func (s *Session) Offer() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.localText != nil {
		return s.localText, nil
	}
	if len(s.have) == 0 {
		return nil, ErrNoCodec
	}
	id := randomID()
	l := localDesc{ip: s.cfg.AdvertiseIP, port: s.port, id: id, version: id, dtmfPT: dtmfOfferedPT}
	for _, c := range s.have {
		l.codecs = append(l.codecs, choice{c, c.pt})
	}
	if s.opts.Encryption != EncryptionDisable {
		l.secure = true
		for i, su := range suites {
			c := newCrypto(strconv.Itoa(i+1), su)
			s.offered = append(s.offered, c)
			l.crypto = append(l.crypto, c.value())
		}
	}
	return s.setLocal(l)
}

func (s *Session) setLocal(l localDesc) ([]byte, error) {
	text, err := l.marshal()
	if err != nil {
		return nil, err
	}
	s.local, s.localText = l, text
	return text, nil
}

// AcceptAnswer takes the peer's answer to Offer. Once an answer was taken, a
// further one only moves the remote address.
func (s *Session) AcceptAnswer(body []byte) error {
	if s.neg.Load() != nil {
		s.Reinvite(body)
		return nil
	}
	r, err := parseSDP(body)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.localText == nil {
		return errors.New("AcceptAnswer without Offer")
	}
	codec, err := choose(s.have, r)
	if err != nil {
		return err
	}
	l := s.local
	// The recorded description after an answer: same id, version 4 higher,
	// only what was agreed on.
	l.version += 4
	l.codecs, l.dtmfPT, l.crypto, l.secure = []choice{codec}, r.dtmfPT, nil, false
	var mine, theirs *cryptoLine
	for i := range r.crypto {
		for j := range s.offered {
			if mine == nil && r.crypto[i].name == s.offered[j].name {
				theirs, mine = &r.crypto[i], &s.offered[j]
			}
		}
	}
	if mine != nil {
		l.secure, l.crypto = true, []string{mine.value()}
	} else if s.opts.Encryption == EncryptionRequire || (len(s.offered) > 0 && r.secure) {
		return ErrNoCrypto
	}
	return s.settle(l, codec, r, mine, theirs)
}

// Offered names what an offer lists, each once: what this session may speak
// and telephone-event with their clock, all the rest together as "other". ok
// is false if the offer can not be read.
func (s *Session) Offered(offer []byte) (names []string, ok bool) {
	r, err := parseSDP(offer)
	if err != nil {
		return nil, false
	}
	known := 0
	for _, c := range s.have {
		if _, has := r.codecs[c.kind]; has {
			names = append(names, sdpName(c.name))
			known++
		}
	}
	if r.others || known < len(r.codecs) {
		names = append(names, "other")
	}
	if r.dtmfPT >= 0 {
		names = append(names, EventName)
	}
	return names, true
}

// Answer makes the SDP that answers an inbound offer.
func (s *Session) Answer(offer []byte) ([]byte, error) {
	r, err := parseSDP(offer)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.neg.Load() != nil {
		return s.localText, nil
	}
	codec, err := choose(s.have, r)
	if err != nil {
		return nil, err
	}
	// Recorded: "o=x 1000 1" is answered "o=- 1000 1002".
	l := localDesc{
		ip: s.cfg.AdvertiseIP, port: s.port,
		id: r.sessionID, version: r.sessionID + 2,
		codecs: []choice{codec}, dtmfPT: r.dtmfPT,
	}
	var mine, theirs *cryptoLine
	if s.opts.Encryption != EncryptionDisable && len(r.crypto) > 0 {
		theirs = &r.crypto[0]
		c := newCrypto(theirs.tag, theirs.suite)
		mine = &c
		// An RTP/AVP offer with keys (optional SRTP) is answered in kind. No
		// recording has one.
		l.secure, l.crypto = r.secure, []string{mine.value()}
	} else if s.opts.Encryption == EncryptionRequire {
		return nil, ErrNoCrypto
	}
	if err := s.settle(l, codec, r, mine, theirs); err != nil {
		return nil, err
	}
	return s.localText, nil
}

// settle makes the agreed description effective; s.mu is held.
func (s *Session) settle(l localDesc, codec choice, r *remoteSDP, mine, theirs *cryptoLine) error {
	remote, err := r.resolve()
	if err != nil {
		return err
	}
	n := &negotiated{
		codec:  codec,
		dtmfPT: r.dtmfPT,
		// A datagram of one byte a sample, or two samples a byte.
		play: newPlayout(newPhoneDecoder(codec), codec.rate, maxPacket*codec.rate/rtpClock),
		up:   newUpsampler(codec.rate),
	}
	if mine != nil {
		if n.recv, err = theirs.context(); err != nil {
			return fmt.Errorf("%w: %w", ErrNoCrypto, err)
		}
		send, err := mine.context()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNoCrypto, err)
		}
		s.out.mu.Lock()
		s.out.srtp = send
		s.out.mu.Unlock()
	}
	if _, err := s.setLocal(l); err != nil {
		return err
	}
	s.setRemote(remote)
	s.mixer.setRate(codec.rate)
	s.neg.Store(n)
	s.log.Debug("media negotiated", "codec", codec.name, "pt", codec.pt,
		"dtmf_pt", r.dtmfPT, "encrypted", mine != nil, "remote", remote)
	return nil
}

// resolve gives the peer's address; 0.0.0.0 comes back as it is.
func (r *remoteSDP) resolve() (netip.AddrPort, error) {
	if r.host == "" {
		return r.addr, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", r.host)
	if err != nil || len(ips) == 0 {
		return netip.AddrPort{}, fmt.Errorf("%w: address %q", ErrBadSDP, r.host)
	}
	return netip.AddrPortFrom(ips[0].Unmap(), r.addr.Port()), nil
}

func (s *Session) setRemote(a netip.AddrPort) {
	ip := a.Addr()
	local := ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified()
	s.latch.Store(s.cfg.SymmetricRTP || (s.cfg.IgnoreLocalAddr && local))
	s.out.remote.Store(&a)
}

// Reinvite takes the offer of a re-INVITE. Only the remote address is
// followed, and 0.0.0.0 not even that; LocalSDP stays the answer. A body that
// cannot be used is ignored.
func (s *Session) Reinvite(offer []byte) {
	r, err := parseSDP(offer)
	if err != nil || s.neg.Load() == nil || r.isUnspecified() {
		return
	}
	if a, err := r.resolve(); err == nil {
		s.setRemote(a)
	}
}

// LocalSDP is the current description: the offer, then what was agreed; nil
// before both.
func (s *Session) LocalSDP() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.localText
}

// Start begins to send RTP: a packet now and every 20 ms, silence if there is
// nothing else. It does nothing before the negotiation or when called again.
func (s *Session) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.neg.Load()
	if n == nil || s.started {
		return
	}
	s.started = true
	go s.transmit(n)
}

// transmit is the clock of outgoing audio.
func (s *Session) transmit(n *negotiated) {
	codec := newPhoneCodec(n.codec.kind)
	pcm := make([]int16, n.codec.rate/50)
	payload := make([]byte, rtpClock/50)
	ts := s.timestamp()
	pace := newPacer()
	defer pace.stop()
	for first := true; ; first = false {
		s.mixer.mix(pcm, time.Now())
		size := codec.Encode(payload, pcm)
		if err := s.out.send(n.codec.pt, ts, first, payload[:size]); err != nil {
			s.log.Debug("rtp not sent", "err", err)
		}
		ts += rtpClock / 50
		select {
		case <-pace.next():
		case <-s.closed:
			return
		}
	}
}

// timestamp is the RTP timestamp of now, in units of 1/8000 s.
func (s *Session) timestamp() uint32 {
	return s.tsBase + uint32(time.Since(s.origin)*rtpClock/time.Second)
}

// receive reads the socket until Close.
func (s *Session) receive() {
	buf := make([]byte, maxPacket)
	plain := make([]byte, maxPacket)
	var pkt rtp.Packet
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			select {
			case <-s.closed:
				return
			case <-time.After(5 * time.Millisecond): // never spin on an error
				continue
			}
		}
		s.onDatagram(&pkt, buf[:n], plain, from)
	}
}

// comfortNoise is the static payload type of RFC 3389: it tells of silence.
const comfortNoise = 13

// onDatagram handles one datagram of any content. plain is room for
// decryption.
func (s *Session) onDatagram(pkt *rtp.Packet, data, plain []byte, from netip.AddrPort) {
	n := s.neg.Load()
	if n == nil {
		return // early: there is no codec to read it with
	}
	if len(data) < 12 || data[0]>>6 != 2 {
		s.junk.Add(1)
		return
	}
	if data[1] >= 192 && data[1] <= 223 {
		return // RTCP on the RTP port (RFC 5761)
	}
	if n.recv != nil {
		var err error
		if data, err = n.recv.DecryptRTP(plain[:0], data, &pkt.Header); err != nil {
			s.junk.Add(1)
			return
		}
	}
	if err := pkt.Unmarshal(data); err != nil {
		s.junk.Add(1)
		return
	}
	now := time.Now()
	s.packetsIn.Add(1)
	s.bytesIn.Add(uint64(len(pkt.Payload)))
	s.last.Store(now.UnixNano())
	s.firstOnce.Do(func() { close(s.first) })
	if s.latch.Load() {
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if r := s.out.remote.Load(); r == nil || *r != from {
			s.out.remote.Store(&from)
		}
	}

	// What is not audio still fills its sequence number.
	isAudio := pkt.PayloadType == n.codec.pt && len(pkt.Payload) > 0
	n.play.push(pkt.SSRC, pkt.SequenceNumber, pkt.Payload, !isAudio, now)
	if n.dtmfPT >= 0 && int(pkt.PayloadType) == n.dtmfPT && n.codec.pt != uint8(n.dtmfPT) {
		s.eventsIn.Add(1)
		s.onEvent(pkt.Timestamp, pkt.Payload)
	}
}

// FirstPacket is closed when the first RTP packet after the negotiation came.
func (s *Session) FirstPacket() <-chan struct{} { return s.first }

// LastPacketTime is the arrival of the last RTP packet of any payload type,
// zero before the first.
func (s *Session) LastPacketTime() time.Time {
	if ns := s.last.Load(); ns != 0 {
		return time.Unix(0, ns)
	}
	return time.Time{}
}

// Mixer is what the phone hears.
func (s *Session) Mixer() *Mixer { return s.mixer }

// ReadPCM waits for the next 20 ms and writes 960 samples at 48000 Hz of the
// phone's audio to frame, silence if there is none. A caller that comes late
// gets the frames of the time in between at once, up to 100 ms. After Close
// it returns io.EOF.
func (s *Session) ReadPCM(frame []int16) (int, error) {
	if len(frame) < FrameSamples {
		return 0, io.ErrShortBuffer
	}
	s.readMu.Lock()
	defer s.readMu.Unlock()
	if s.pace == nil {
		s.pace = newPacer()
	}
	select {
	case <-s.closed:
		s.pace.stop()
		return 0, io.EOF
	case <-s.pace.next():
	}
	select {
	case <-s.closed:
		return 0, io.EOF
	default:
	}
	frame = frame[:FrameSamples]
	n := s.neg.Load()
	if n == nil {
		clear(frame)
		return FrameSamples, nil
	}
	var narrow [FrameSamples / 3]int16
	pcm := narrow[:n.codec.rate/50]
	n.play.read(pcm, time.Now())
	n.up.process(frame, pcm)
	return FrameSamples, nil
}

// Stats is a snapshot of the counters.
func (s *Session) Stats() Stats {
	st := Stats{
		EventsIn: s.eventsIn.Load(), EventsOut: s.eventsOut.Load(), // first: never more than the packets
		PacketsIn: s.packetsIn.Load(), BytesIn: s.bytesIn.Load(),
		PacketsOut: s.out.packets.Load(), BytesOut: s.out.bytes.Load(),
		Junk: s.junk.Load(), DTMFPayloadType: -1,
	}
	if r := s.out.remote.Load(); r != nil {
		st.Remote = *r
	}
	if n := s.neg.Load(); n != nil {
		st.Codec, st.PayloadType, st.DTMFPayloadType = sdpName(n.codec.name), n.codec.pt, n.dtmfPT
		st.Encrypted = n.recv != nil
		st.Lost = n.play.lost()
	}
	return st
}

// Close ends everything and frees the port before it returns. It may be
// called again, and from a handler of this package.
func (s *Session) Close() error {
	s.closeOnce.Do(func() {
		close(s.closed)
		_ = s.conn.Close()
		s.mixer.close()
	})
	return nil
}
