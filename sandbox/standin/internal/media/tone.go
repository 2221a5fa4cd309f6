// Tones: sine waves for tests and tools, the ETSI ringback, DTMF pairs.

package media

import (
	"math"
	"sync"
	"time"
)

// RoomRate is the rate in Hz of all PCM at the package boundary.
const RoomRate = 48000

// FrameSamples is the length of a 20 ms frame at RoomRate.
const FrameSamples = RoomRate / 50

// Tone is a sine of freqHz at 48000 Hz for d; amplitude 1 is full scale. Its
// first and last 2 ms are ramped, so that it neither clicks at the start nor
// at the end.
func Tone(freqHz float64, d time.Duration, amplitude float64) []int16 {
	return tones(d, amplitude, freqHz)
}

// tones adds sines of equal amplitude.
func tones(d time.Duration, amplitude float64, freqs ...float64) []int16 {
	n := int(int64(d) * RoomRate / int64(time.Second))
	pcm := make([]int16, n)
	const ramp = RoomRate / 500 // 2 ms
	for i := range pcm {
		v := 0.0
		for _, f := range freqs {
			v += math.Sin(2 * math.Pi * f * float64(i) / RoomRate)
		}
		g := amplitude
		if edge := min(i, n-1-i); edge < ramp {
			g *= float64(edge) / ramp
		}
		pcm[i] = clip(float32(v * g * 32767))
	}
	return pcm
}

// Ringback makes the frames of a cadenced tone without end.
type Ringback struct {
	period []int16 // one tone and its pause
	pos    int
}

// ringbackPeriod is made once: half a megabyte that all calls share.
var ringbackPeriod = sync.OnceValue(func() []int16 {
	p := make([]int16, 5*RoomRate)
	copy(p, Tone(425, time.Second, 0.25))
	return p
})

// RingbackETSI is the ETSI ringing tone: 425 Hz, 1 s on, 4 s off, starting
// with the tone.
func RingbackETSI() *Ringback {
	return &Ringback{period: ringbackPeriod()}
}

// Frame fills frame with the next samples at 48000 Hz.
func (r *Ringback) Frame(frame []int16) {
	for len(frame) > 0 {
		n := copy(frame, r.period[r.pos:])
		frame = frame[n:]
		r.pos = (r.pos + n) % len(r.period)
	}
}

// dtmfFreqs are the two frequencies in Hz of an RFC 4733 event 0 to 15.
func dtmfFreqs(code byte) (low, high float64) {
	lows := [4]float64{697, 770, 852, 941}
	highs := [4]float64{1209, 1336, 1477, 1633}
	// Rows of the keypad: 123A 456B 789C *0#D.
	const keys = "\x01\x02\x03\x0c\x04\x05\x06\x0d\x07\x08\x09\x0e\x0a\x00\x0b\x0f"
	for i := range len(keys) {
		if keys[i] == code {
			return lows[i/4], highs[i%4]
		}
	}
	return 0, 0
}
