// Resampling between the phone's 8000/16000 Hz and the room's 48000 Hz.

package media

import (
	"math"
	"sync"
)

// The filter is a low-pass FIR at 48000 Hz, a Kaiser-windowed sinc of firTaps
// taps, run polyphase. For 8000 Hz (factor 6) the cutoff is at 3900 Hz with a
// transition of about 1200 Hz: a 3000 Hz tone passes unchanged and its image
// at 5000 Hz is down by 60 dB and more. For 16000 Hz (factor 3) the cutoff is
// at 7800 Hz. The delay is (firTaps-1)/2 samples at 48000 Hz = 1.5 ms.
const (
	firTaps    = 144
	kaiserBeta = 6.2 // about 64 dB of stop-band attenuation
)

var (
	firOnce [2]sync.Once
	firBank [2][]float32 // unity gain at 0 Hz, by factor: 6, 3
)

// firFor gives the prototype filter for an integer factor of 3 or 6.
func firFor(factor int) []float32 {
	i, cutoff := 0, 3900.0
	if factor == 3 {
		i, cutoff = 1, 7800.0
	}
	firOnce[i].Do(func() {
		h := make([]float64, firTaps)
		mid := float64(firTaps-1) / 2
		sum := 0.0
		for n := range h {
			x := float64(n) - mid
			w := bessel0(kaiserBeta*math.Sqrt(1-(x/mid)*(x/mid))) / bessel0(kaiserBeta)
			h[n] = sinc(2*cutoff/48000*x) * w
			sum += h[n]
		}
		f := make([]float32, firTaps)
		for n := range h {
			f[n] = float32(h[n] / sum)
		}
		firBank[i] = f
	})
	return firBank[i]
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// bessel0 is the modified Bessel function of the first kind, order 0.
func bessel0(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1; k < 40; k++ {
		term *= (x / 2 / float64(k)) * (x / 2 / float64(k))
		sum += term
	}
	return sum
}

// upsampler raises 8000 or 16000 Hz to 48000 Hz, block by block.
type upsampler struct {
	factor int
	phases [][]float32 // phase p, newest sample last
	hist   []float32   // the last taps-1 input samples, then the block
}

func newUpsampler(rate int) *upsampler {
	u := &upsampler{factor: 48000 / rate}
	fir := firFor(u.factor)
	taps := firTaps / u.factor
	for p := range u.factor {
		ph := make([]float32, taps)
		for k := range taps {
			// The gain makes up for the zeros stuffed between samples.
			ph[taps-1-k] = fir[k*u.factor+p] * float32(u.factor)
		}
		u.phases = append(u.phases, ph)
	}
	u.hist = make([]float32, taps-1, taps-1+960)
	return u
}

// process writes len(in)*factor samples to out.
func (u *upsampler) process(out, in []int16) {
	taps := len(u.phases[0])
	buf := u.hist[:taps-1]
	for _, s := range in {
		buf = append(buf, float32(s))
	}
	o := 0
	for i := range in {
		win := buf[i : i+taps]
		for _, ph := range u.phases {
			out[o] = clip(dot(ph, win))
			o++
		}
	}
	copy(buf, buf[len(in):])
	u.hist = buf[:taps-1]
}

// downsampler lowers 48000 Hz to 8000 or 16000 Hz, block by block.
type downsampler struct {
	factor int
	fir    []float32
	hist   []float32
}

func newDownsampler(rate int) *downsampler {
	d := &downsampler{factor: 48000 / rate, fir: firFor(48000 / rate)}
	d.hist = make([]float32, firTaps-1, firTaps-1+960)
	return d
}

// process writes len(in)/factor samples to out; len(in) must be a multiple of
// the factor. The filter is symmetric, so its direction does not matter.
func (d *downsampler) process(out, in []int16) {
	buf := d.hist[:firTaps-1]
	for _, s := range in {
		buf = append(buf, float32(s))
	}
	for i := range len(in) / d.factor {
		out[i] = clip(dot(d.fir, buf[i*d.factor:i*d.factor+firTaps]))
	}
	copy(buf, buf[len(in):])
	d.hist = buf[:firTaps-1]
}

// dot keeps four sums, so that the additions do not wait for each other. The
// lengths are equal and multiples of 4.
func dot(a, b []float32) float32 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float32
	for i := 0; i+3 < len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	return s0 + s1 + s2 + s3
}

func clip(v float32) int16 {
	switch {
	case v >= 32767:
		return 32767
	case v <= -32768:
		return -32768
	case v >= 0:
		return int16(v + 0.5)
	default:
		return int16(v - 0.5)
	}
}
