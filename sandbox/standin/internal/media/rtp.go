// RTP: the jitter buffer of received packets and the stream of sent ones.

package media

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

const (
	// frameTime is the length of a packet sent to the phone.
	frameTime = 20 * time.Millisecond
	// maxPacket is the largest datagram read, in bytes.
	maxPacket = 2048

	// jitterSlots bounds the reordering and the backlog, in packets.
	jitterSlots = 32
	// jitterHold is how long the first packet of a talk spurt waits, so that
	// the next ones may be this late without a gap. It is the price in delay.
	jitterHold = 10 * time.Millisecond
	// jitterBacklog is the number of waiting packets from which on old audio
	// is thrown away to less than jitterKeep: a burst must not become a delay.
	jitterBacklog = 6
	jitterKeep    = 2
	// jitterWindow is the number of reads over which a standing surplus of
	// jitterKeep packets is noticed and cut by one (clock drift, old bursts).
	jitterWindow = 100
	// jitterResync is the number of packets in a row from before the playing
	// point after which the sender is taken to have started over.
	jitterResync = 5
)

type slot struct {
	used    bool
	noAudio bool // fills a sequence number, has no audio (telephone-event, padding)
	seq     uint16
	buf     []byte // reused
}

// jitterResult says what a read of the jitter buffer gave.
type jitterResult int

const (
	jitterPacket  jitterResult = iota // a payload, in order
	jitterMissing                     // a gap: make one frame up
	jitterEmpty                       // nothing here: make one up, or be silent
	jitterDrop                        // a payload to decode and throw away
)

// jitter orders packets by sequence number and gives them out one by one. It
// is not locked; its owner is.
type jitter struct {
	slots   [jitterSlots]slot
	started bool
	popped  bool // something of this run was given out
	idle    bool // the buffer ran dry: hold the next packet again
	waited  bool // a frame was already played in place of next
	next    uint16
	count   int
	first   time.Time // arrival of the packet that ended the idle state
	stale   int       // late packets in a row
	burst   bool      // throwing a backlog away

	surplus int // least backlog in the running window
	reads   int

	lost uint64 // packets given up
}

func (j *jitter) reset() {
	for i := range j.slots {
		j.slots[i].used = false
	}
	j.started, j.popped, j.idle, j.waited = false, false, true, false
	j.count, j.stale, j.reads, j.burst = 0, 0, 0, false
	j.surplus = jitterSlots
}

// push stores a copy of payload.
func (j *jitter) push(seq uint16, payload []byte, noAudio bool, now time.Time) {
	if !j.started {
		j.reset()
		j.started, j.next = true, seq
	}
	d := int(int16(seq - j.next))
	switch {
	case d < 0 && !j.popped && d >= -3:
		j.next = seq // the first packets came out of order
	case d < 0:
		if j.stale++; j.stale < jitterResync && d > -1000 {
			return // too late, or a duplicate
		}
		j.reset()
		j.started, j.next = true, seq
	case d >= jitterSlots:
		// A jump forward: whatever waits is older than the jump.
		j.reset()
		j.started, j.next = true, seq
	}
	j.stale = 0
	s := &j.slots[seq%jitterSlots]
	if s.used {
		return // duplicate: a slot holds only seq in [next, next+jitterSlots)
	}
	if j.count == 0 && j.idle {
		j.first = now
	}
	s.used, s.noAudio, s.seq = true, noAudio, seq
	s.buf = append(s.buf[:0], payload...)
	j.count++
	// Nobody reads (yet): keep the newest.
	if j.count > jitterSlots-4 {
		j.trim()
	}
}

// trim throws the oldest packets away until jitterKeep are left.
func (j *jitter) trim() {
	for j.count > jitterKeep {
		s := &j.slots[j.next%jitterSlots]
		if s.used {
			s.used = false
			j.count--
		}
		j.next++
	}
	j.waited = false
}

// pop gives the next payload, valid until the next push.
func (j *jitter) pop(now time.Time) ([]byte, jitterResult) {
	for {
		if j.count == 0 {
			// Whatever comes next was already replaced by one frame.
			j.waited = j.started
			j.idle = true
			j.reads, j.surplus = 0, jitterSlots
			return nil, jitterEmpty
		}
		if j.idle {
			if j.count < 2 && now.Sub(j.first) < jitterHold && !j.onlyNoAudio() {
				return nil, jitterEmpty
			}
			j.idle = false
		}
		s := &j.slots[j.next%jitterSlots]
		if !s.used {
			gap := 1
			for !j.slots[(j.next+uint16(gap))%jitterSlots].used {
				gap++
			}
			if gap == 1 && !j.waited {
				j.waited = true // it may still be on its way
				return nil, jitterMissing
			}
			j.next++
			j.lost++
			if j.waited {
				j.waited = false
				continue
			}
			return nil, jitterMissing
		}
		s.used = false
		j.count--
		j.next++
		j.waited, j.popped = false, true
		if s.noAudio {
			continue
		}
		if j.count >= jitterBacklog {
			j.burst = true
		}
		if j.burst = j.burst && j.count >= jitterKeep; j.burst {
			return s.buf, jitterDrop
		}
		j.surplus = min(j.surplus, j.count)
		if j.reads++; j.reads >= jitterWindow {
			over := j.surplus >= jitterKeep
			j.reads, j.surplus = 0, jitterSlots
			if over {
				return s.buf, jitterDrop
			}
		}
		return s.buf, jitterPacket
	}
}

// onlyNoAudio tells that nothing audible would be held back.
func (j *jitter) onlyNoAudio() bool {
	s := &j.slots[j.next%jitterSlots]
	return s.used && s.noAudio
}

// sender numbers, encrypts and sends the packets of the one stream to the
// phone. Audio and telephone-event share its SSRC and sequence numbers, as
// recorded.
type sender struct {
	mu     sync.Mutex
	conn   *net.UDPConn
	remote atomic.Pointer[netip.AddrPort]
	srtp   *srtp.Context // nil: plain
	header rtp.Header
	plain  []byte
	cipher []byte

	packets, bytes atomic.Uint64
}

// send writes one packet. Without a remote address it only counts the
// sequence number on, as a phone on hold expects.
func (s *sender) send(pt uint8, ts uint32, marker bool, payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &s.header
	h.PayloadType, h.Timestamp, h.Marker = pt, ts, marker
	h.SequenceNumber++
	remote := s.remote.Load()
	if remote == nil || !remote.IsValid() || remote.Addr().IsUnspecified() {
		return nil
	}
	hn, err := h.MarshalTo(s.plain)
	if err != nil {
		return err
	}
	n := hn + copy(s.plain[hn:], payload)
	out := s.plain[:n]
	if s.srtp != nil {
		if out, err = s.srtp.EncryptRTP(s.cipher, out, h); err != nil {
			return err
		}
	}
	// A full socket buffer or an ICMP error of the peer is a lost packet.
	if _, err = s.conn.WriteToUDPAddrPort(out, *remote); err != nil {
		return err
	}
	s.packets.Add(1)
	s.bytes.Add(uint64(len(payload)))
	return nil
}

// decoder turns the payloads of one stream into samples.
type decoder interface {
	// decode writes the samples of payload to dst (room for 120 ms) and
	// returns their number, 0 when the payload is junk.
	decode(dst []int16, payload []byte) int
	// skip tells of packets that never came, just before the next is decoded.
	skip()
}

// playout reads a stream at a steady 20 ms whatever the size of its packets.
type playout struct {
	mu      sync.Mutex
	jitter  jitter
	ssrc    uint32
	hasSSRC bool

	dec     decoder
	fifo    []int16 // decoded, not played
	scratch []int16 // 120 ms and more, one packet
	last    []int16 // the last 20 ms played
	misses  int     // frames made up in a row
	heard   bool    // something was played since the last reset
	told    uint64  // of how many lost packets the decoder knows
}

func newPlayout(dec decoder, rate, maxSamples int) *playout {
	p := &playout{
		dec:     dec,
		fifo:    make([]int16, 0, maxSamples+rate/50),
		scratch: make([]int16, maxSamples),
		last:    make([]int16, rate/50),
	}
	p.jitter.reset()
	return p
}

// push takes a packet from the network. A new SSRC is a new stream.
func (p *playout) push(ssrc uint32, seq uint16, payload []byte, noAudio bool, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.hasSSRC || ssrc != p.ssrc {
		p.jitter.reset()
		p.ssrc, p.hasSSRC = ssrc, true
	}
	p.jitter.push(seq, payload, noAudio, now)
}

// read fills dst with one frame; false means that it is plain silence.
func (p *playout) read(dst []int16, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.fifo) < len(dst) {
		payload, res := p.jitter.pop(now)
		n := 0
		if res == jitterPacket || res == jitterDrop {
			if p.told != p.jitter.lost {
				p.told = p.jitter.lost
				p.dec.skip()
			}
			n = p.dec.decode(p.scratch, payload)
			if res == jitterDrop {
				continue // decoded all the same: the decoder has memory
			}
		}
		if n > 0 {
			p.fifo = append(p.fifo, p.scratch[:n]...)
			p.misses, p.heard = 0, true
			continue
		}
		if len(p.fifo) == 0 && (!p.heard || p.misses > 0) {
			clear(dst)
			p.heard = false
			return false
		}
		// A whole frame, or what is wanting to one (short packets).
		p.fifo = append(p.fifo, p.madeUp(len(dst)-len(p.fifo))...)
		p.misses++
	}
	copy(dst, p.fifo)
	copy(p.last, dst)
	p.fifo = p.fifo[:copy(p.fifo, p.fifo[len(dst):])]
	return true
}

// madeUp gives n samples in place of what is not there: once an echo of the
// last frame, fading; then silence. The decoder is not asked: it would take what
// it makes up for heard, and decode a packet that was only late wrong, with
// Opus far too loud for as long as a second.
func (p *playout) madeUp(n int) []int16 {
	out := p.scratch[:n:n]
	if p.misses > 0 {
		clear(out)
		return out
	}
	for i := range out {
		out[i] = int16(int(p.last[i%len(p.last)]) * (n - i) / n)
	}
	return out
}

func (p *playout) lost() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.jitter.lost
}

// phoneDecoder decodes the phone's codec.
type phoneDecoder struct{ codec phoneCodec }

func newPhoneDecoder(c choice) *phoneDecoder {
	return &phoneDecoder{newPhoneCodec(c.kind)}
}

func (d *phoneDecoder) decode(dst []int16, payload []byte) int {
	return d.codec.Decode(dst, payload)
}

// skip does nothing: these codecs find their way back by themselves.
func (d *phoneDecoder) skip() {}
