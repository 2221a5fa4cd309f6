// Tests of the room side: Opus in, Opus out, mixing.

package media

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"
	"gopkg.in/hraban/opus.v2"
)

// opusTrack sends a tone to a source in 20 ms packets until ctx ends.
func opusTrack(ctx context.Context, tb testing.TB, src *Source, freq float64, channels int, lose func(i int) bool) {
	enc, err := opus.NewEncoder(RoomRate, channels, opus.AppVoIP)
	if err != nil {
		tb.Error(err)
		return
	}
	pace := newPacer()
	defer pace.stop()
	buf := make([]byte, 1500)
	pcm := make([]int16, FrameSamples*channels)
	for i := 0; ctx.Err() == nil; i++ {
		for k := range FrameSamples {
			v := int16(9000 * math.Sin(2*math.Pi*freq*float64(i*FrameSamples+k)/RoomRate))
			for c := range channels {
				pcm[k*channels+c] = v
			}
		}
		n, err := enc.Encode(pcm, buf)
		if err != nil {
			tb.Error(err)
			return
		}
		if lose == nil || !lose(i) {
			src.WriteRTP(&rtp.Packet{
				Header:  rtp.Header{Version: 2, PayloadType: 111, SequenceNumber: uint16(65530 + i), Timestamp: uint32(i * FrameSamples), SSRC: uint32(freq)},
				Payload: append([]byte(nil), buf[:n]...),
			})
		}
		<-pace.next()
	}
}

func TestMixOfTwoOpusSources(t *testing.T) {
	for _, codec := range []string{"PCMU", "G722"} {
		a, b := connect(t, testConfig(), testConfig(), only(codec), Options{})
		a.Start()
		ctx, cancel := context.WithCancel(t.Context())
		one, two := a.Mixer().AddOpusSource("one"), a.Mixer().AddOpusSource("two")
		go opusTrack(ctx, t, one, 440, 1, nil)
		go opusTrack(ctx, t, two, 1000, 2, func(i int) bool { return i%25 == 24 })
		<-b.FirstPacket()
		capture(t, b, 400*time.Millisecond)
		check := func(what string, want440, want1000 bool) {
			t.Helper()
			eventually(t, func() error {
				pcm := capture(t, b, 600*time.Millisecond)
				x, y := goertzel(pcm, RoomRate, 440), goertzel(pcm, RoomRate, 1000)
				if (x > 0.1) != want440 || (y > 0.1) != want1000 {
					return fmt.Errorf("%s, %s: 440 Hz %.3f, 1000 Hz %.3f", codec, what, x, y)
				}
				return nil
			})
		}
		settle := func() { capture(t, b, 200*time.Millisecond) }
		check("both", true, true)
		a.Mixer().SetMuted(true)
		settle()
		check("muted", false, false)
		a.Mixer().SetMuted(false)
		settle()
		check("unmuted", true, true)
		two.Close()
		settle()
		check("one closed", true, false)
		cancel()
		_ = a.Close()
		_ = b.Close()
	}
}

func TestPlayPCM(t *testing.T) {
	a, b := connect(t, testConfig(), testConfig(), only("PCMU"), Options{})
	a.Mixer().SetMuted(true) // does not touch it
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := a.Mixer().PlayPCM(ctx, Tone(440, time.Second, 0.3)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	a.Start()
	<-b.FirstPacket()
	eventually(t, func() error {
		begin := time.Now()
		got := make(chan []int16)
		go func() { got <- capture(t, b, 400*time.Millisecond) }()
		if err := a.Mixer().PlayPCM(t.Context(), Tone(600, 410*time.Millisecond, 0.3)); err != nil {
			return err
		}
		d := time.Since(begin)
		pcm := <-got
		if d < 390*time.Millisecond || d > 500*time.Millisecond {
			return fmt.Errorf("410 ms took %v", d)
		}
		if amp := goertzel(pcm[len(pcm)/2:], RoomRate, 600); math.Abs(amp-0.3) > 0.05 {
			return fmt.Errorf("600 Hz has amplitude %.3f", amp)
		}
		if amp := goertzel(pcm, RoomRate, 440); amp > 0.01 {
			return fmt.Errorf("the cancelled sound is heard: %.3f", amp)
		}
		return nil
	})
}

func TestPlayPCMFrameByFrame(t *testing.T) {
	m := newMixer()
	m.setRate(16000)
	pcm := Tone(440, time.Second, 0.3)
	out := make([]int16, 16000)
	for i := range 50 {
		p := m.play(pcm[i*FrameSamples : (i+1)*FrameSamples])
		m.mix(out[i*320:(i+1)*320], time.Now())
		<-p.done
	}
	out = out[1600 : 16000-1600]
	if q := goertzel(out, 16000, 440) / (rms(out) * math.Sqrt2); q < 0.999 {
		t.Errorf("only %.4f of the signal is the tone", q)
	}
}

func TestOpusEncoder(t *testing.T) {
	e, err := NewOpusEncoder()
	if err != nil {
		t.Fatal(err)
	}
	dec, err := newOpusDecoder(RoomRate)
	if err != nil {
		t.Fatal(err)
	}
	pcm := Tone(1000, 500*time.Millisecond, 0.3)
	var out []int16
	buf := make([]int16, 5760)
	for len(pcm) >= FrameSamples {
		data, err := e.Encode(pcm[:FrameSamples])
		if err != nil || len(data) == 0 || len(data) > 400 {
			t.Fatalf("%d bytes, %v", len(data), err)
		}
		n := dec.decode(buf, data)
		if n != FrameSamples {
			t.Fatalf("%d samples", n)
		}
		out = append(out, buf[:n]...)
		pcm = pcm[FrameSamples:]
	}
	out = out[len(out)/4 : len(out)*3/4]
	if q := goertzel(out, RoomRate, 1000) / (rms(out) * math.Sqrt2); q < 0.98 {
		t.Errorf("only %.3f of the signal is the tone", q)
	}
	if _, err := e.Encode(make([]int16, 7)); err == nil {
		t.Error("a frame of 7 samples was encoded")
	}
}

// What comes late is heard as it was sent: Opus predicts each packet from the
// one before, and what the playout makes up meanwhile is none.
func TestALatePacketIsDecodedAsItWasSent(t *testing.T) {
	packets := chimes(t, 60)
	want := playedOut(t, packets, 0)
	for pause := 1; pause <= 4; pause++ {
		got := playedOut(t, packets, pause)
		for i, frame := range want {
			if !slices.Equal(got[i], frame) {
				t.Fatalf("after a pause of %d packets, packet %d: rms %.3f, sent %.3f", pause, i, rms(got[i]), rms(frame))
			}
		}
	}
}

// chimes are Opus packets of tones that change every 40 ms.
func chimes(t *testing.T, count int) [][]byte {
	t.Helper()
	enc, err := opus.NewEncoder(RoomRate, 1, opus.AppVoIP)
	if err != nil {
		t.Fatal(err)
	}
	var packets [][]byte
	pcm, buf := make([]int16, FrameSamples), make([]byte, 1500)
	for i := range count {
		freq := 500 + 75*float64(i/2*7%16)
		for k := range pcm {
			at := float64(i*FrameSamples+k) / RoomRate
			pcm[k] = int16(4000 * (math.Sin(2*math.Pi*freq*at) + math.Sin(2*math.Pi*2.2*freq*at)))
		}
		n, err := enc.Encode(pcm, buf)
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, slices.Clone(buf[:n]))
	}
	return packets
}

// playedOut is what is heard of each packet, when the sender pauses for so many
// packets in the middle and then goes on in time.
func playedOut(t *testing.T, packets [][]byte, pause int) [][]int16 {
	t.Helper()
	dec, err := newOpusDecoder(16000)
	if err != nil {
		t.Fatal(err)
	}
	p := newPlayout(dec, 16000, 1920)
	now := time.Now()
	var heard [][]int16
	for i, packet := range packets {
		if i == len(packets)/2 {
			for range pause {
				now = now.Add(frameTime)
				p.read(make([]int16, 320), now)
			}
		}
		now = now.Add(frameTime)
		p.push(1, uint16(i), packet, false, now)
		frame := make([]int16, 320)
		// The first packet of a run is held back for a moment.
		if !p.read(frame, now.Add(jitterHold)) {
			t.Fatalf("packet %d is not heard", i)
		}
		heard = append(heard, frame)
	}
	return heard
}

func TestDecodersTakeJunk(t *testing.T) {
	d, err := newOpusDecoder(8000)
	if err != nil {
		t.Fatal(err)
	}
	p := newPlayout(d, 8000, 960)
	out := make([]int16, 160)
	for i := range 400 {
		p.push(1, uint16(i), []byte{byte(i), byte(i >> 1), byte(i * 7)}[:1+i%3], false, time.Now())
		p.read(out, time.Now())
	}
	for _, c := range codecDefs {
		d := newPhoneDecoder(choice{c, c.pt})
		for n := range 300 {
			if got := d.decode(make([]int16, 4096), make([]byte, n)); got != n*c.rate/8000 {
				t.Fatalf("%s: %d bytes give %d samples", c.name, n, got)
			}
		}
	}
}

func TestResampler(t *testing.T) {
	for _, rate := range []int{8000, 16000} {
		for _, freq := range []float64{440, 1000, 3000} {
			in := Tone(freq, time.Second, 0.5)
			down, up := newDownsampler(rate), newUpsampler(rate)
			narrow := make([]int16, rate/50)
			frame := make([]int16, FrameSamples)
			var mid, out []int16
			for i := 0; i+FrameSamples <= len(in); i += FrameSamples {
				down.process(narrow, in[i:i+FrameSamples])
				mid = append(mid, narrow...)
				up.process(frame, narrow)
				out = append(out, frame...)
			}
			mid, out = mid[rate/5:rate*4/5], out[RoomRate/5:RoomRate*4/5]
			for what, amp := range map[string]float64{
				"down": goertzel(mid, rate, freq), "up": goertzel(out, RoomRate, freq),
			} {
				if math.Abs(amp-0.5) > 0.01 {
					t.Errorf("%d Hz %s, %v Hz: amplitude %.4f", rate, what, freq, amp)
				}
			}
			// The first image of the tone.
			if img := goertzel(out, RoomRate, float64(rate)-freq); img > 0.5/1000 {
				t.Errorf("%d Hz, %v Hz: image of %.5f", rate, freq, img)
			}
		}
		// A tone above the band does not come back as another one.
		alias := float64(rate)/2 + 1200
		in := Tone(alias, time.Second, 0.5)
		down := newDownsampler(rate)
		out := make([]int16, len(in)/(RoomRate/rate))
		for i := 0; i+FrameSamples <= len(in); i += FrameSamples {
			down.process(out[i*rate/RoomRate:][:rate/50], in[i:i+FrameSamples])
		}
		if r := rms(out[rate/5 : rate*4/5]); r > 0.001 {
			t.Errorf("%d Hz: alias of %v Hz has rms %.5f", rate, alias, r)
		}
	}
}

func TestRingbackCadence(t *testing.T) {
	r := RingbackETSI()
	pcm := make([]int16, 0, 7*RoomRate)
	frame := make([]int16, FrameSamples)
	for range 7 * 50 {
		r.Frame(frame)
		pcm = append(pcm, frame...)
	}
	for sec, on := range []bool{true, false, false, false, false, true, false} {
		p := pcm[sec*RoomRate : (sec+1)*RoomRate]
		if amp := goertzel(p, RoomRate, 425); (amp > 0.2) != on || (!on && rms(p) != 0) {
			t.Errorf("second %d: 425 Hz has amplitude %.3f", sec, amp)
		}
	}
}
