// Mixer: the room's audio tracks and local sounds, summed for the phone.

package media

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
)

// Mixer sums what the phone hears. Its methods may be called from any
// goroutine. The session reads one frame of it every 20 ms from Start on.
type Mixer struct {
	mu      sync.Mutex
	rate    int // Hz, 0 before the negotiation
	sources []*Source
	players []*player
	closed  chan struct{}
	isShut  bool
	muted   atomic.Bool

	acc   []int32 // sum of one frame
	frame []int16

	// Local sounds are summed at 48000 Hz and lowered together: a caller may
	// play frame by frame and the filter does not start anew at each.
	wide [FrameSamples]int16
	down *downsampler
	tail bool // the filter still holds the end of a sound
}

func newMixer() *Mixer { return &Mixer{closed: make(chan struct{})} }

// setRate fixes the rate of the mix in Hz.
func (m *Mixer) setRate(rate int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rate = rate
	m.acc = make([]int32, rate/50)
	m.frame = make([]int16, rate/50)
	m.down = newDownsampler(rate)
	for _, s := range m.sources {
		s.setRate(rate)
	}
}

// Source is one Opus track of the room.
type Source struct {
	id    string
	mixer *Mixer
	// play is nil before the negotiation: packets are of no use then.
	play atomic.Pointer[playout]
}

// AddOpusSource adds a track. A second source with the same id replaces the
// first.
func (m *Mixer) AddOpusSource(id string) *Source {
	s := &Source{id: id, mixer: m}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isShut {
		return s
	}
	m.remove(func(o *Source) bool { return o.id == id })
	if m.rate != 0 {
		s.setRate(m.rate)
	}
	m.sources = append(m.sources, s)
	return s
}

func (s *Source) setRate(rate int) {
	dec, err := newOpusDecoder(rate)
	if err != nil {
		return // the source stays silent; only a broken libopus gets here
	}
	s.play.Store(newPlayout(dec, rate, rate*120/1000))
}

// WriteRTP takes a packet of the track in any order. The packet is copied.
// Packets without payload (padding of the SFU) only count their number.
func (s *Source) WriteRTP(p *rtp.Packet) {
	if play := s.play.Load(); play != nil && p != nil {
		play.push(p.SSRC, p.SequenceNumber, p.Payload, len(p.Payload) == 0, time.Now())
	}
}

// Close takes the track out of the mix.
func (s *Source) Close() {
	s.mixer.mu.Lock()
	defer s.mixer.mu.Unlock()
	s.mixer.remove(func(o *Source) bool { return o == s })
}

// remove drops sources; m.mu is held.
func (m *Mixer) remove(match func(*Source) bool) {
	kept := m.sources[:0]
	for _, s := range m.sources {
		if !match(s) {
			kept = append(kept, s)
		}
	}
	clear(m.sources[len(kept):])
	m.sources = kept
}

// SetMuted silences the room's tracks; PlayPCM is heard all the same, so that
// a ringing tone can take the place of the room.
func (m *Mixer) SetMuted(muted bool) { m.muted.Store(muted) }

// player is a sound being played to the phone.
type player struct {
	pcm  []int16 // 48000 Hz, what is left of it
	done chan struct{}
}

// PlayPCM plays 48000 Hz samples to the phone on top of the tracks and returns
// when they are played, or with the error of ctx, or with ErrClosed. It waits
// for Start if that is still to come. pcm48 must not be changed meanwhile. It may
// be called frame by frame: what is put in before the next 20 ms joins up.
func (m *Mixer) PlayPCM(ctx context.Context, pcm48 []int16) error {
	if len(pcm48) == 0 {
		return nil
	}
	p := m.play(pcm48)
	select {
	case <-p.done:
		return nil
	case <-m.closed:
		return ErrClosed
	case <-ctx.Done():
		m.mu.Lock()
		defer m.mu.Unlock()
		for i, o := range m.players {
			if o == p {
				m.players = append(m.players[:i], m.players[i+1:]...)
				break
			}
		}
		return ctx.Err()
	}
}

// play starts a sound and does not wait.
func (m *Mixer) play(pcm48 []int16) *player {
	p := &player{pcm: pcm48, done: make(chan struct{})}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.isShut {
		m.players = append(m.players, p)
	}
	return p
}

// mix writes the next frame to out, which is 20 ms long.
func (m *Mixer) mix(out []int16, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	acc := m.acc[:len(out)]
	clear(acc)
	muted := m.muted.Load()
	for _, s := range m.sources {
		play := s.play.Load()
		// A muted track is read as well: it must not pile up.
		if play == nil || !play.read(m.frame, now) || muted {
			continue
		}
		for i, v := range m.frame {
			acc[i] += int32(v)
		}
	}
	if len(m.players) > 0 || m.tail {
		m.mixPlayers()
		for i, v := range m.frame {
			acc[i] += int32(v)
		}
	}
	for i, v := range acc {
		out[i] = int16(max(-32768, min(32767, v)))
	}
}

// mixPlayers writes the next frame of the local sounds to m.frame.
func (m *Mixer) mixPlayers() {
	clear(m.wide[:])
	m.tail = len(m.players) > 0
	kept := m.players[:0]
	for _, p := range m.players {
		n := min(len(p.pcm), FrameSamples)
		for i, v := range p.pcm[:n] {
			m.wide[i] = int16(max(-32768, min(32767, int32(m.wide[i])+int32(v))))
		}
		if p.pcm = p.pcm[n:]; len(p.pcm) == 0 {
			close(p.done)
		} else {
			kept = append(kept, p)
		}
	}
	clear(m.players[len(kept):])
	m.players = kept
	m.down.process(m.frame, m.wide[:])
}

func (m *Mixer) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isShut {
		return
	}
	m.isShut = true
	m.sources, m.players = nil, nil
	close(m.closed)
}
