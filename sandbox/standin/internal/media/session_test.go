// Tests of whole sessions over loopback UDP.

package media

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
)

// goertzel is the amplitude (0 to 1) of freq in pcm at 48000 Hz.
func goertzel(pcm []int16, rate int, freq float64) float64 {
	w := 2 * math.Pi * freq / float64(rate)
	var s1, s2 float64
	for i, v := range pcm {
		// A Hann window keeps other tones out of the result.
		h := 1 - math.Cos(2*math.Pi*float64(i)/float64(len(pcm)))
		s1, s2 = float64(v)/32768*h+2*math.Cos(w)*s1-s2, s1
	}
	re, im := s1-s2*math.Cos(w), s2*math.Sin(w)
	return 2 * math.Hypot(re, im) / float64(len(pcm))
}

func rms(pcm []int16) float64 {
	sum := 0.0
	for _, v := range pcm {
		sum += float64(v) * float64(v) / 32768 / 32768
	}
	return math.Sqrt(sum / float64(len(pcm)))
}

// connect makes two sessions of one call: a offers, b answers.
func connect(tb testing.TB, ca, cb Config, oa, ob Options) (a, b *Session) {
	tb.Helper()
	a, b = open(tb, ca, oa), open(tb, cb, ob)
	offer, err := a.Offer()
	if err != nil {
		tb.Fatal(err)
	}
	answer, err := b.Answer(offer)
	if err != nil {
		tb.Fatal(err)
	}
	if err := a.AcceptAnswer(answer); err != nil {
		tb.Fatal(err)
	}
	return a, b
}

// capture reads d of audio from the phone side of s.
func capture(tb testing.TB, s *Session, d time.Duration) []int16 {
	tb.Helper()
	var out []int16
	frame := make([]int16, FrameSamples)
	for range int(d / frameTime) {
		n, err := s.ReadPCM(frame)
		if err != nil || n != FrameSamples {
			tb.Fatalf("ReadPCM: %d, %v", n, err)
		}
		out = append(out, frame...)
	}
	return out
}

// eventually is for what a busy machine may spoil: one good try is enough.
func eventually(t *testing.T, try func() error) {
	t.Helper()
	var err error
	for range 4 {
		if err = try(); err == nil {
			return
		}
		t.Log("again:", err)
	}
	t.Error(err)
}

func only(name string) Options { return Options{OnlyCodecs: []CodecSpec{{name, 8000}}} }

func TestToneEachCodec(t *testing.T) {
	for _, codec := range []string{"PCMU", "PCMA", "G722"} {
		for _, freq := range []float64{440, 3000} {
			a, b := connect(t, testConfig(), testConfig(), only(codec), Options{})
			a.Start()
			b.Start()
			ctx, cancel := context.WithCancel(t.Context())
			go func() { _ = a.Mixer().PlayPCM(ctx, Tone(freq, 3*time.Second, 0.4)) }()
			select {
			case <-b.FirstPacket():
			case <-time.After(10 * time.Second):
				t.Fatal("no packet")
			}
			capture(t, b, 300*time.Millisecond)
			// The best of three: the machine may be busy.
			best, level := 0.0, 0.0
			for range 3 {
				pcm := capture(t, b, 400*time.Millisecond)
				amp := goertzel(pcm, RoomRate, freq)
				if q := amp / (rms(pcm) * math.Sqrt2); q > best {
					best, level = q, amp
				}
			}
			if best < 0.97 || math.Abs(level-0.4) > 0.04 {
				t.Errorf("%s: %v Hz has amplitude %.3f and is %.3f of the signal", codec, freq, level, best)
			}
			st := b.Stats()
			if st.Codec != sdpName(codec) || st.PacketsIn < 50 || st.BytesIn < 50*160 || st.Remote.Port() != uint16(a.Port()) {
				t.Errorf("stats %+v", st)
			}
			if d := time.Since(b.LastPacketTime()); d > time.Second {
				t.Errorf("last packet %v ago", d)
			}
			cancel()
			_ = a.Close()
			_ = b.Close()
		}
	}
}

func TestSRTPSuites(t *testing.T) {
	for i, su := range suites {
		a := open(t, testConfig(), Options{Encryption: EncryptionRequire})
		b := open(t, testConfig(), Options{Encryption: EncryptionAllow})
		offer, err := a.Offer()
		if err != nil {
			t.Fatal(err)
		}
		// Leave only one suite in the offer.
		var lines []string
		for _, l := range strings.Split(string(offer), "\r\n") {
			if !strings.HasPrefix(l, "a=crypto:") || strings.Contains(l, su.name+" ") {
				lines = append(lines, l)
			}
		}
		answer, err := b.Answer([]byte(strings.Join(lines, "\r\n")))
		if err != nil {
			t.Fatal(err)
		}
		tag := string(rune('1' + i))
		if !strings.Contains(string(answer), "a=crypto:"+tag+" "+su.name+" inline:") ||
			!strings.Contains(string(answer), " RTP/SAVP ") {
			t.Fatalf("answer %q", answer)
		}
		if err := a.AcceptAnswer(answer); err != nil {
			t.Fatal(err)
		}
		a.Start()
		b.Start()
		go func() { _ = a.Mixer().PlayPCM(t.Context(), Tone(700, 5*time.Second, 0.4)) }()
		go func() { _ = b.Mixer().PlayPCM(t.Context(), Tone(440, 5*time.Second, 0.4)) }()
		digits := make(chan string, 4)
		a.OnDTMF(func(_ byte, d string) { digits <- d })
		if err := b.SendDTMF(t.Context(), "7"); err != nil {
			t.Fatal(err)
		}
		if d := <-digits; d != "7" {
			t.Fatalf("digit %q", d)
		}
		for s, f := range map[*Session]float64{a: 440, b: 700} {
			eventually(t, func() error {
				pcm := capture(t, s, 400*time.Millisecond)
				if amp := goertzel(pcm, RoomRate, f); amp < 0.3 {
					return fmt.Errorf("%s: %v Hz has amplitude %.3f", su.name, f, amp)
				}
				return nil
			})
			if st := s.Stats(); !st.Encrypted || st.Junk != 0 {
				t.Errorf("%s: %+v", su.name, st)
			}
		}
		_ = a.Close()
		_ = b.Close()
	}
}

// rawPeer is a bare UDP socket that plays the phone.
type rawPeer struct {
	tb   testing.TB
	conn *net.UDPConn
	to   netip.AddrPort
	pkts chan rtp.Packet
	at   chan time.Time
	seq  uint16
	ssrc uint32
}

// newRawPeer makes a session whose phone is a bare socket.
func newRawPeer(tb testing.TB, cfg Config, formats string) (*rawPeer, *Session) {
	tb.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	s := open(tb, cfg, Options{})
	offer := strings.ReplaceAll(sdpHead+"m=audio PORT RTP/AVP "+formats+"\r\na=rtpmap:101 telephone-event/8000\r\n",
		"PORT", itoa(conn.LocalAddr().(*net.UDPAddr).Port))
	if _, err := s.Answer([]byte(offer)); err != nil {
		tb.Fatal(err)
	}
	p := &rawPeer{
		tb: tb, conn: conn, ssrc: 7, seq: 1000,
		to:   netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(s.Port())),
		pkts: make(chan rtp.Packet, 1000), at: make(chan time.Time, 1000),
	}
	go func() {
		buf := make([]byte, 2000)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			var k rtp.Packet
			if err := k.Unmarshal(append([]byte(nil), buf[:n]...)); err == nil {
				p.at <- time.Now()
				p.pkts <- k
			}
		}
	}()
	return p, s
}

func itoa(i int) string { return netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(i)).String()[8:] }

func (p *rawPeer) raw(b []byte) {
	if _, err := p.conn.WriteToUDPAddrPort(b, p.to); err != nil {
		p.tb.Error(err)
	}
}

func (p *rawPeer) send(pt uint8, seq uint16, ts uint32, payload []byte) {
	b, err := (&rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: pt, SequenceNumber: seq, Timestamp: ts, SSRC: p.ssrc}, Payload: payload}).Marshal()
	if err != nil {
		p.tb.Fatal(err)
	}
	p.raw(b)
}

func (p *rawPeer) event(code byte, ts uint32, dur uint16, end bool) {
	f := byte(10)
	if end {
		f |= 0x80
	}
	p.send(101, p.seq, ts, []byte{code, f, byte(dur >> 8), byte(dur)})
	p.seq++
}

func TestDTMFReceive(t *testing.T) {
	p, s := newRawPeer(t, testConfig(), "0 101")
	type key struct {
		code  byte
		digit string
	}
	var mu sync.Mutex
	var got []key
	s.OnDTMF(func(c byte, d string) {
		mu.Lock()
		got = append(got, key{c, d})
		mu.Unlock()
	})
	want := []key{{1, "1"}, {11, "#"}, {10, "*"}, {12, "a"}, {15, "d"}, {0, "0"}}
	for i, k := range want {
		ts := uint32(1000 + 4000*i)
		for d := uint16(160); d <= 800; d += 160 {
			p.event(k.code, ts, d, false)
		}
		for range 3 {
			p.event(k.code, ts, 960, true)
		}
		if i > 0 {
			p.event(want[i-1].code, ts-4000, 960, true) // a straggler
		}
	}
	p.event(16, 90000, 160, false)       // flash
	p.send(101, p.seq, 95000, []byte{1}) // truncated
	deadline := time.Now().Add(2 * time.Second)
	for time.Now().Before(deadline) {
		mu.Lock()
		n := len(got)
		mu.Unlock()
		if n >= len(want) && s.Stats().PacketsIn >= uint64(len(want)*8+len(want)-1+2) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond)
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(got, want) {
		t.Fatalf("keys %v, want %v", got, want)
	}
}

func TestDTMFSendAsRecorded(t *testing.T) {
	eventually(t, func() error { return sendDTMFAsRecorded(t) })
}

func sendDTMFAsRecorded(t *testing.T) (bad error) {
	p, s := newRawPeer(t, testConfig(), "0 101")
	begin := time.Now()
	// As in the recording: a string with an unknown character and a pause,
	// another string behind it.
	var wg sync.WaitGroup
	wg.Add(1)
	var took time.Duration
	go func() {
		defer wg.Done()
		if err := s.SendDTMF(t.Context(), "1w#x"); err != nil {
			t.Error(err)
		}
		took = time.Since(begin)
		if err := s.SendDTMF(t.Context(), "5"); err != nil {
			t.Error(err)
		}
	}()
	wg.Wait()
	time.Sleep(30 * time.Millisecond)
	type key struct {
		ev       byte
		n, ends  int
		dur      uint16
		at, last time.Duration
		ts       uint32
		marker   bool
	}
	var keys []key
	var seq uint16
	for i := 0; len(p.pkts) > 0; i++ {
		k, at := <-p.pkts, (<-p.at).Sub(begin)
		if k.PayloadType != 101 {
			t.Fatalf("payload type %d before Start", k.PayloadType)
		}
		if i > 0 && k.SequenceNumber != seq+1 {
			t.Errorf("sequence %d after %d", k.SequenceNumber, seq)
		}
		seq = k.SequenceNumber
		if len(keys) == 0 || keys[len(keys)-1].ts != k.Timestamp {
			keys = append(keys, key{ev: k.Payload[0], at: at, ts: k.Timestamp, marker: k.Marker})
		}
		c := &keys[len(keys)-1]
		c.n++
		c.last = at
		c.dur = uint16(k.Payload[2])<<8 | uint16(k.Payload[3])
		if k.Payload[1]&0x7f != 10 {
			t.Errorf("volume %d", k.Payload[1]&0x7f)
		}
		if k.Payload[1]&0x80 != 0 {
			c.ends++
		}
	}
	near := func(what string, got, want time.Duration) {
		if d := got - want; d < -5*time.Millisecond || d > 25*time.Millisecond {
			bad = errors.Join(bad, fmt.Errorf("%s: %v, want %v", what, got, want))
		}
	}
	if len(keys) != 3 {
		t.Fatalf("keys %+v", keys)
	}
	// 20, +520+500, +520 (x) + 520 + 20
	starts := []time.Duration{20, 1040, 1040 + 540 + 520}
	for i, k := range keys {
		if k.ev != []byte{1, 11, 5}[i] || k.n != 15 || k.ends != 3 || k.dur != 2080 || !k.marker {
			t.Errorf("key %d: %+v", i, k)
		}
		near("start", k.at, starts[i]*time.Millisecond)
		near("length", k.last-k.at, 240*time.Millisecond)
		if i > 0 {
			gap := time.Duration(k.ts-keys[i-1].ts) * time.Second / 8000
			near("timestamps", gap, k.at-keys[i-1].at-5*time.Millisecond)
		}
	}
	near("SendDTMF", took, 2080*time.Millisecond)
	return bad
}

func TestDTMFSharesTheStream(t *testing.T) {
	p, s := newRawPeer(t, testConfig(), "0 101")
	s.Start()
	time.Sleep(50 * time.Millisecond)
	if err := s.SendDTMF(t.Context(), "5"); err != nil {
		t.Fatal(err)
	}
	var ssrc uint32
	counts := map[uint8]int{}
	var seq uint16
	var audioTS uint32
	for i := 0; len(p.pkts) > 0; i++ {
		k := <-p.pkts
		if i == 0 {
			ssrc = k.SSRC
		} else if k.SSRC != ssrc || k.SequenceNumber != seq+1 {
			t.Fatalf("packet %d: ssrc %d, sequence %d after %d", i, k.SSRC, k.SequenceNumber, seq)
		}
		seq = k.SequenceNumber
		counts[k.PayloadType]++
		if k.PayloadType == 0 {
			if counts[0] > 1 && k.Timestamp != audioTS+160 {
				t.Fatalf("timestamp step %d", k.Timestamp-audioTS)
			}
			audioTS = k.Timestamp
			if len(k.Payload) != 160 {
				t.Fatalf("payload of %d bytes", len(k.Payload))
			}
		}
	}
	// Audio goes on while a key is down: about 590 ms of it.
	if counts[101] != 15 || counts[0] < 26 || counts[0] > 40 {
		t.Fatalf("packets by payload type: %v", counts)
	}
}

func TestDTMFNotNegotiated(t *testing.T) {
	p, s := newRawPeer(t, testConfig(), "0")
	begin := time.Now()
	if err := s.SendDTMF(t.Context(), "123"); err != nil {
		t.Fatal(err)
	}
	if time.Since(begin) > 500*time.Millisecond || len(p.pkts) != 0 {
		t.Fatal("something was sent")
	}
}

func TestDTMFCancelEndsTheKey(t *testing.T) {
	p, s := newRawPeer(t, testConfig(), "0 101")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.SendDTMF(ctx, "12"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond)
	ends := 0
	for len(p.pkts) > 0 {
		if k := <-p.pkts; k.Payload[1]&0x80 != 0 {
			ends++
		}
	}
	if ends != 3 {
		t.Fatalf("%d end packets", ends)
	}
}

func TestAudioDTMF(t *testing.T) {
	cfg := testConfig()
	cfg.AudioDTMF = true
	a, b := connect(t, cfg, testConfig(), only("PCMU"), Options{})
	a.Start()
	<-b.FirstPacket()
	eventually(t, func() error {
		go func() { _ = a.SendDTMF(t.Context(), "5") }()
		pcm := capture(t, b, 400*time.Millisecond)
		if lo, hi := goertzel(pcm, RoomRate, 770), goertzel(pcm, RoomRate, 1336); lo < 0.05 || hi < 0.05 {
			return fmt.Errorf("770 Hz %.3f, 1336 Hz %.3f", lo, hi)
		}
		return nil
	})
}

func TestPortsRunOutAndComeBack(t *testing.T) {
	// A range of its own: find four free even ports in a row.
	var cfg Config
	for base := 41000; ; base += 8 {
		cfg = Config{ListenIP: "127.0.0.1", PortStart: base + 1, PortEnd: base + 9}
		var held []*Session
		for range 4 {
			if s, err := Open(cfg, Options{}); err == nil {
				held = append(held, s)
			}
		}
		for _, s := range held {
			_ = s.Close()
		}
		if len(held) == 4 {
			break
		}
		if base > 60000 {
			t.Skip("no free ports")
		}
	}
	var all []*Session
	seen := map[int]bool{}
	for range 4 {
		s, err := Open(cfg, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if s.Port()%2 != 0 || seen[s.Port()] || s.Port() < cfg.PortStart || s.Port() > cfg.PortEnd {
			t.Fatalf("port %d", s.Port())
		}
		seen[s.Port()] = true
		all = append(all, s)
	}
	if _, err := Open(cfg, Options{}); !errors.Is(err, ErrNoPort) {
		t.Fatalf("got %v", err)
	}
	for i := range 50 {
		port := all[i%4].Port()
		if err := all[i%4].Close(); err != nil {
			t.Fatal(err)
		}
		s, err := Open(cfg, Options{})
		if err != nil || s.Port() != port {
			t.Fatalf("round %d: %v", i, err)
		}
		all[i%4] = s
	}
	for _, s := range all {
		_ = s.Close()
	}
	if _, err := Open(Config{ListenIP: "127.0.0.1", PortStart: 40001, PortEnd: 40001}, Options{}); !errors.Is(err, ErrNoPort) {
		t.Fatalf("got %v", err)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	time.Sleep(100 * time.Millisecond)
	before := runtime.NumGoroutine()
	long := Tone(440, 5*time.Second, 0.1)
	for range 20 {
		a, b := connect(t, testConfig(), testConfig(), Options{}, Options{})
		a.OnDTMF(func(byte, string) {})
		a.Start()
		b.Start()
		src := a.Mixer().AddOpusSource("x")
		errs := make(chan error, 3)
		go func() { errs <- a.Mixer().PlayPCM(context.Background(), long) }()
		go func() { errs <- b.SendDTMF(context.Background(), "1234567890") }()
		go func() {
			frame := make([]int16, FrameSamples)
			for {
				if _, err := a.ReadPCM(frame); err != nil {
					errs <- err
					return
				}
			}
		}()
		time.Sleep(30 * time.Millisecond)
		for _, s := range []*Session{a, b} {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			_ = s.Close()
		}
		src.WriteRTP(&rtp.Packet{Payload: []byte{1}})
		src.Close()
		for range 3 {
			select {
			case err := <-errs:
				if !errors.Is(err, io.EOF) && !errors.Is(err, ErrClosed) {
					t.Fatal(err)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("something hangs after Close")
			}
		}
		if _, err := a.ReadPCM(make([]int16, FrameSamples)); err != io.EOF {
			t.Fatal(err)
		}
		if err := a.SendDTMF(context.Background(), "1"); !errors.Is(err, ErrClosed) {
			t.Fatal(err)
		}
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	buf := make([]byte, 1<<16)
	t.Fatalf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
}

func TestSymmetricRTP(t *testing.T) {
	for _, symmetric := range []bool{false, true} {
		cfg := testConfig()
		cfg.SymmetricRTP = symmetric
		p, s := newRawPeer(t, cfg, "0 101")
		other, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		sdpPort := s.Stats().Remote.Port()
		b, _ := (&rtp.Packet{Header: rtp.Header{Version: 2, SSRC: 1}, Payload: make([]byte, 160)}).Marshal()
		_, _ = other.WriteToUDPAddrPort(b, p.to)
		<-s.FirstPacket()
		want := sdpPort
		if symmetric {
			want = uint16(other.LocalAddr().(*net.UDPAddr).Port)
		}
		time.Sleep(20 * time.Millisecond)
		if got := s.Stats().Remote.Port(); got != want {
			t.Errorf("symmetric %v: sends to %d, want %d", symmetric, got, want)
		}
		_ = other.Close()
	}
}

// ulawTone is 20 ms frames of a tone as PCMU payloads.
func ulawTone(freq float64, frames int) [][]byte {
	pcm := make([]int16, 160*frames)
	for i := range pcm {
		pcm[i] = int16(13000 * math.Sin(2*math.Pi*freq*float64(i)/8000))
	}
	out := make([][]byte, frames)
	enc := newPCMU()
	for i := range out {
		out[i] = make([]byte, 160)
		enc.Encode(out[i], pcm[i*160:(i+1)*160])
	}
	return out
}

func TestJunkReorderingAndRestart(t *testing.T) {
	p, s := newRawPeer(t, testConfig(), "0 101")
	frames := ulawTone(500, 150)
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		pace := newPacer()
		defer pace.stop()
		seq, ts := uint16(65500), uint32(0)
		for i := 0; i < len(frames); i += 2 {
			if i == 60 { // a new stream
				p.ssrc, seq = 99, 5
			}
			if i == 90 { // a jump
				seq += 5000
			}
			// Every pair is swapped.
			p.send(0, seq+1, ts+160, frames[i+1])
			p.raw([]byte{0x80, 200, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}) // RTCP
			p.raw([]byte{1, 2, 3})
			p.raw(nil)
			p.raw([]byte{0xff, 0x00, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0})
			p.raw(append([]byte{0xa0, 0, byte(seq >> 8), byte(seq), 0, 0, 0, 0, 0, 0, 0, 7}, 255)) // padding beyond
			p.send(0, seq, ts, frames[i])
			p.send(0, seq, ts, frames[i]) // duplicate
			p.send(77, seq+2, ts, []byte("unknown type"))
			seq += 3
			ts += 320
			<-pace.next()
			<-pace.next()
		}
	}()
	<-s.FirstPacket()
	time.Sleep(30 * time.Millisecond)
	var total, good int
	for range 12 {
		pcm := capture(t, s, 200*time.Millisecond)
		total++
		if goertzel(pcm, RoomRate, 500)/(rms(pcm)*math.Sqrt2+1e-9) > 0.9 {
			good++
		}
	}
	<-stop
	if good < 8 {
		t.Errorf("%d of %d windows hold the tone", good, total)
	}
	if st := s.Stats(); st.Junk == 0 {
		t.Errorf("stats %+v", st)
	}
	// Any bytes at all, plain and encrypted.
	a, b := connect(t, testConfig(), testConfig(), Options{Encryption: EncryptionRequire}, Options{Encryption: EncryptionRequire})
	for _, s := range []*Session{s, a, b} {
		var pkt rtp.Packet
		plain := make([]byte, maxPacket)
		data := make([]byte, 64)
		data[0] = 0x80
		for n := range len(data) {
			for _, first := range []byte{0x80, 0x90, 0x8f, 0xbf} {
				data[0] = first
				s.onDatagram(&pkt, data[:n], plain, p.to)
			}
		}
	}
}

// FuzzDatagram feeds a session with datagrams: a length byte before each. The
// session is made by hand and anew, because a socket each would be too slow.
func FuzzDatagram(f *testing.F) {
	f.Add([]byte("\x0f\x80\x09\x00\x01\x00\x00\x00\x01\x00\x00\x00\x07\x01\x02\x03" +
		"\x0f\x80\x09\x00\x03\x00\x00\x00\x01\x00\x00\x00\x07\x01\x02\x03"))
	f.Add([]byte("\x18\x90\x65\x00\x01\x00\x00\x00\x01\x00\x00\x00\x07\xbe\xde\x00\x01\x10\x00\x00\x00\x01\x0a\x00\xa0"))
	from := netip.MustParseAddrPort("127.0.0.1:9")
	g722 := choice{codecDefs[0], 9}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 500 {
			return
		}
		s := &Session{keys: make(chan dtmfKey, 64), first: make(chan struct{}), log: slog.New(slog.DiscardHandler)}
		n := &negotiated{codec: g722, dtmfPT: 101, play: newPlayout(newPhoneDecoder(g722), 16000, 4096)}
		s.neg.Store(n)
		pcm := make([]int16, 320)
		var pkt rtp.Packet
		for len(b) > 0 {
			size := min(int(b[0]), len(b)-1)
			s.onDatagram(&pkt, b[1:1+size], nil, from)
			b = b[1+size:]
			n.play.read(pcm, time.Now().Add(time.Minute))
			if n.play.jitter.count < 0 || n.play.jitter.count > jitterSlots {
				t.Fatal(n.play.jitter.count)
			}
		}
	})
}
