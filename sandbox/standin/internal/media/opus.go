// Opus: the room's codec, both ways, through libopus.

package media

import (
	"fmt"

	"gopkg.in/hraban/opus.v2"
)

// OpusEncoder encodes 20 ms frames of the phone's audio for the room. It is
// for one goroutine.
type OpusEncoder struct {
	enc *opus.Encoder
	buf [1275]byte // the largest Opus frame
}

const (
	// opusBitrate in bit/s is more than telephone audio needs and keeps test
	// tones clean.
	opusBitrate = 32000
	// opusComplexity (0 to 10) is where more stops being audible at this rate
	// and bandwidth.
	opusComplexity = 4
)

// NewOpusEncoder makes an encoder for 48000 Hz mono.
func NewOpusEncoder() (*OpusEncoder, error) {
	enc, err := opus.NewEncoder(RoomRate, 1, opus.AppAudio)
	if err != nil {
		return nil, fmt.Errorf("opus encoder: %w", err)
	}
	e := &OpusEncoder{enc: enc}
	if err := enc.SetBitrate(opusBitrate); err != nil {
		return nil, fmt.Errorf("opus encoder: %w", err)
	}
	if err := enc.SetComplexity(opusComplexity); err != nil {
		return nil, fmt.Errorf("opus encoder: %w", err)
	}
	// A phone has nothing above 8000 Hz.
	if err := enc.SetMaxBandwidth(opus.Wideband); err != nil {
		return nil, fmt.Errorf("opus encoder: %w", err)
	}
	return e, nil
}

// Encode encodes one frame of 960 samples (2.5 to 60 ms frames of Opus work
// too). The result is the caller's to keep.
func (e *OpusEncoder) Encode(pcm48 []int16) ([]byte, error) {
	n, err := e.enc.Encode(pcm48, e.buf[:])
	if err != nil {
		return nil, fmt.Errorf("opus encode: %w", err)
	}
	return append([]byte(nil), e.buf[:n]...), nil
}

// opusDecoder decodes a room track straight to the rate of the mix. It is
// mono: libopus mixes stereo packets down.
type opusDecoder struct {
	dec *opus.Decoder
	gap []int16 // 20 ms
}

func newOpusDecoder(rate int) (*opusDecoder, error) {
	dec, err := opus.NewDecoder(rate, 1)
	if err != nil {
		return nil, fmt.Errorf("opus decoder: %w", err)
	}
	return &opusDecoder{dec, make([]int16, rate/50)}, nil
}

func (d *opusDecoder) decode(dst []int16, payload []byte) int {
	if len(payload) == 0 {
		return 0
	}
	n, err := d.dec.Decode(payload, dst)
	if err != nil {
		return 0
	}
	return n
}

// skip has the decoder know that something is missing: what it predicts from
// the packet before would be louder than meant.
func (d *opusDecoder) skip() { _ = d.dec.DecodePLC(d.gap) }
