// DTMF: telephone-event (RFC 4733) in and out, with the recorded timing.

package media

import (
	"context"
	"encoding/binary"
	"time"
)

const (
	// dtmfTicks is the number of 20 ms steps of a key: twelve packets while
	// it is down, three end packets in the thirteenth step.
	dtmfTicks = 13
	// dtmfGapTicks is the pause behind a key: keys of one string start
	// 520 ms apart, those of two strings 540 ms.
	dtmfGapTicks = 13
	// dtmfWaitTicks is the pause for 'w', 0.5 s.
	dtmfWaitTicks = 25
	dtmfEndCopies = 3
	dtmfVolume    = 10 // -10 dBm0
	dtmfStep      = rtpClock / 50
)

// dtmfCode gives the RFC 4733 event of a digit. Upper-case A to D are not
// digits to the real service, so they are none here.
func dtmfCode(digit rune) (byte, bool) {
	switch {
	case digit >= '0' && digit <= '9':
		return byte(digit - '0'), true
	case digit == '*':
		return 10, true
	case digit == '#':
		return 11, true
	case digit >= 'a' && digit <= 'd':
		return byte(digit-'a') + 12, true
	}
	return 0, false
}

// dtmfDigit is the digit of an event, "" when it is not a key.
func dtmfDigit(code byte) string {
	const digits = "0123456789*#abcd"
	if int(code) >= len(digits) {
		return ""
	}
	return digits[code : code+1]
}

// dtmfSeen remembers the RTP timestamps of the last keys. All packets of a key
// carry the timestamp of its start; more than the last one is kept, so that a
// packet that comes late does not count as a new key.
type dtmfSeen struct {
	ts [8]uint32
	n  int
}

func (d *dtmfSeen) add(ts uint32) (isNew bool) {
	for i := range min(d.n, len(d.ts)) {
		if d.ts[i] == ts {
			return false
		}
	}
	d.ts[d.n%len(d.ts)] = ts
	d.n++
	return true
}

type dtmfKey struct {
	code  byte
	digit string
}

// onEvent handles a received telephone-event payload. Only the reading
// goroutine calls it.
func (s *Session) onEvent(ts uint32, payload []byte) {
	if len(payload) < 4 || !s.seen.add(ts) {
		return
	}
	digit := dtmfDigit(payload[0])
	if digit == "" {
		return // flash and the like
	}
	select {
	case s.keys <- dtmfKey{payload[0], digit}:
	default:
		s.log.Warn("dtmf dropped, handler too slow", "digit", digit)
	}
}

// OnDTMF sets the handler of keys pressed on the phone. It is called once per
// key, when the key goes down, in order, on a goroutine of its own; letters
// are lower-case. Keys pressed before the handler is set wait for it (up to
// 64). Call it once.
func (s *Session) OnDTMF(fn func(code byte, digit string)) {
	go func() {
		for {
			select {
			case k := <-s.keys:
				fn(k.code, k.digit)
			case <-s.closed:
				return
			}
		}
	}()
}

// SendDTMF presses digits one after the other and returns when the pause
// behind the last one is over (520 ms after it went down), or with the error of ctx, or with ErrClosed.
// 'w' waits 0.5 s. Any other character takes the time of a key and sends
// nothing, as recorded. Calls are serialised. Without a negotiated
// telephone-event it returns at once. It works before Start: then only the
// events are sent.
func (s *Session) SendDTMF(ctx context.Context, digits string) error {
	n := s.neg.Load()
	if n == nil || n.dtmfPT < 0 || digits == "" {
		return nil
	}
	select {
	case s.dtmfTurn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closed:
		return ErrClosed
	}
	defer func() { <-s.dtmfTurn }()

	tick := newPacer()
	defer tick.stop()
	wait := func(ticks int) error {
		for range ticks {
			select {
			case <-tick.next():
			case <-ctx.Done():
				return ctx.Err()
			case <-s.closed:
				return ErrClosed
			}
		}
		return nil
	}
	for _, d := range digits {
		if d == 'w' {
			if err := wait(dtmfWaitTicks); err != nil {
				return err
			}
			continue
		}
		code, ok := dtmfCode(d)
		if !ok {
			if err := wait(dtmfTicks + dtmfGapTicks); err != nil {
				return err
			}
			continue
		}
		if err := s.sendKey(uint8(n.dtmfPT), code, wait); err != nil {
			return err
		}
		if err := wait(dtmfGapTicks); err != nil {
			return err
		}
	}
	return wait(1)
}

// sendKey sends the packets of one key. A key that is cut short by an error
// still gets its end packets: a phone would hear it for ever otherwise.
func (s *Session) sendKey(pt uint8, code byte, wait func(int) error) (err error) {
	var payload [4]byte
	var ts uint32
	payload[0] = code
	duration, last := 0, false
	for i := 1; !last; i++ {
		err = wait(1)
		if err != nil && i == 1 {
			return err
		}
		if i == 1 {
			ts = s.timestamp()
			if s.cfg.AudioDTMF {
				low, high := dtmfFreqs(code)
				s.mixer.play(tones(dtmfTicks*frameTime, 0.25, low, high))
			}
		}
		if err == nil {
			duration += dtmfStep
		}
		last = i == dtmfTicks || err != nil
		payload[1] = dtmfVolume
		copies := 1
		if last {
			payload[1] |= 0x80 // E bit
			copies = dtmfEndCopies
		}
		binary.BigEndian.PutUint16(payload[2:], uint16(duration))
		for range copies {
			if e := s.out.send(pt, ts, i == 1, payload[:]); e != nil {
				s.log.Debug("dtmf not sent", "err", e)
				continue
			}
			s.eventsOut.Add(1)
		}
	}
	return err
}

// pacer gives steps of 20 ms without drift: a late step does not move the
// later ones, unless it is so late that catching up would be a burst.
type pacer struct {
	at    time.Time
	timer *time.Timer
}

func newPacer() *pacer {
	return &pacer{at: time.Now(), timer: time.NewTimer(time.Hour)}
}

// next arms the timer for the next step.
func (p *pacer) next() <-chan time.Time {
	now := time.Now()
	p.at = p.at.Add(frameTime)
	if late := now.Sub(p.at); late > 5*frameTime {
		p.at = now
	}
	p.timer.Reset(p.at.Sub(now))
	return p.timer.C
}

func (p *pacer) stop() { p.timer.Stop() }
