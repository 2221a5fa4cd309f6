// Benchmarks: the cost of a frame, and of many sessions at once.

package media

import (
	"context"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pion/rtp"
)

func BenchmarkOpusEncode(b *testing.B) {
	e, err := NewOpusEncoder()
	if err != nil {
		b.Fatal(err)
	}
	pcm := noisy(FrameSamples * 50)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		k := i % 50 * FrameSamples
		if _, err := e.Encode(pcm[k : k+FrameSamples]); err != nil {
			b.Fatal(err)
		}
	}
}

// noisy is a sound that does not compress to nothing.
func noisy(n int) []int16 {
	pcm := make([]int16, n)
	x := uint32(1)
	for i, v := range tones(time.Duration(n)*time.Second/RoomRate, 0.1, 310, 620, 1240, 2480) {
		x = x*1664525 + 1013904223
		pcm[i] = v + int16(x>>20) - 2048
	}
	return pcm
}

func BenchmarkOpusDecode(b *testing.B) {
	e, _ := NewOpusEncoder()
	data, err := e.Encode(noisy(FrameSamples))
	if err != nil {
		b.Fatal(err)
	}
	for _, rate := range []int{8000, 16000, 48000} {
		b.Run(strconv.Itoa(rate), func(b *testing.B) {
			d, _ := newOpusDecoder(rate)
			out := make([]int16, rate*120/1000)
			b.ReportAllocs()
			for b.Loop() {
				d.decode(out, data)
			}
		})
	}
}

func BenchmarkUpsample8k(b *testing.B) {
	u, in, out := newUpsampler(8000), make([]int16, 160), make([]int16, FrameSamples)
	b.ReportAllocs()
	for b.Loop() {
		u.process(out, in)
	}
}

func BenchmarkG722(b *testing.B) {
	c, pcm, data := newG722(), noisy(320), make([]byte, 160)
	b.ReportAllocs()
	for b.Loop() {
		c.Encode(data, pcm)
		c.Decode(pcm, data)
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestManySessions is a measurement, run with MEDIA_SESSIONS=50: that many
// calls of G.722 or PCMU, each with a phone socket of its own, an Opus track
// to the phone and an Opus encoder from it.
func TestManySessions(t *testing.T) {
	count, _ := strconv.Atoi(os.Getenv("MEDIA_SESSIONS"))
	if count == 0 {
		t.Skip("MEDIA_SESSIONS not set")
	}
	format := "0 101"
	if os.Getenv("MEDIA_CODEC") == "G722" {
		format = "9 101"
	}
	e, _ := NewOpusEncoder()
	var packets [][]byte
	pcm := noisy(50 * FrameSamples)
	for i := range 50 {
		p, _ := e.Encode(pcm[i*FrameSamples : (i+1)*FrameSamples])
		packets = append(packets, p)
	}
	const length = 10 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var gaps []time.Duration
	var in, out, lost uint64
	before := cpuTime()
	for range count {
		p, s := newRawPeer(t, testConfig(), format)
		enc, _ := NewOpusEncoder()
		src := s.Mixer().AddOpusSource("a")
		s.Start()
		wg.Add(2)
		go func() { // phone and room track
			defer wg.Done()
			pace := newPacer()
			payload := make([]byte, 160)
			var last time.Time
			for i := 0; ctx.Err() == nil; i++ {
				p.send(s.Stats().PayloadType, uint16(i), uint32(i*160), payload)
				src.WriteRTP(&rtp.Packet{Header: rtp.Header{SequenceNumber: uint16(i)}, Payload: packets[i%50]})
				<-pace.next()
				for len(p.pkts) > 0 {
					<-p.pkts
					at := <-p.at
					if !last.IsZero() {
						mu.Lock()
						gaps = append(gaps, at.Sub(last))
						mu.Unlock()
					}
					last = at
				}
			}
		}()
		go func() { // room side
			defer wg.Done()
			frame := make([]int16, FrameSamples)
			for ctx.Err() == nil {
				if _, err := s.ReadPCM(frame); err != nil {
					return
				}
				_, _ = enc.Encode(frame)
			}
			st := s.Stats()
			mu.Lock()
			in, out, lost = in+st.PacketsIn, out+st.PacketsOut, lost+st.Lost
			mu.Unlock()
		}()
	}
	wg.Wait()
	used := cpuTime() - before
	slices.Sort(gaps)
	t.Logf("%d sessions %s: %.2f %% of a core each; in %.1f out %.1f packets/s each, lost %d; gap between packets p50 %v p99 %v max %v",
		count, format, 100*used.Seconds()/length.Seconds()/float64(count),
		float64(in)/length.Seconds()/float64(count), float64(out)/length.Seconds()/float64(count), lost,
		gaps[len(gaps)/2], gaps[len(gaps)*99/100], gaps[len(gaps)-1])
}

// TestLatency measures the way of a click: room to phone over RTP to room.
func TestLatency(t *testing.T) {
	for _, codec := range []string{"PCMU", "G722"} {
		var all []time.Duration
		for range 6 {
			a, b := connect(t, testConfig(), testConfig(), only(codec), Options{})
			a.Start()
			<-b.FirstPacket()
			click := Tone(1000, 20*time.Millisecond, 0.8)
			var sent time.Time
			frame := make([]int16, FrameSamples)
			for i := range 60 {
				if i == 20 {
					sent = time.Now()
					a.Mixer().play(click)
				}
				if _, err := b.ReadPCM(frame); err != nil {
					t.Fatal(err)
				}
				at := slices.IndexFunc(frame, func(v int16) bool { return v > 3000 })
				if i > 20 && at >= 0 {
					// The sample at goes out that much after the frame began.
					all = append(all, time.Since(sent)+time.Duration(at)*time.Second/RoomRate)
					break
				}
			}
			_ = a.Close()
			_ = b.Close()
		}
		if len(all) < 3 {
			t.Fatalf("%s: %d of 6 clicks arrived", codec, len(all))
		}
		slices.Sort(all)
		t.Logf("%s: click to sample %v", codec, all)
		if all[0] > 100*time.Millisecond {
			t.Errorf("%s: the fastest took %v", codec, all[0])
		}
	}
}
