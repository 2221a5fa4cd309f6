// G.711: PCMU and PCMA frames, 8000 Hz, one byte a sample.

package media

import "github.com/zaf/g711"

// The tables map a byte to its sample; a table is one load per sample.
var ulawTable, alawTable [256]int16

func init() {
	for i := range 256 {
		ulawTable[i] = g711.DecodeUlawFrame(uint8(i))
		alawTable[i] = g711.DecodeAlawFrame(uint8(i))
	}
}

type g711Codec struct {
	table  *[256]int16
	encode func(int16) uint8
}

func newPCMU() *g711Codec { return &g711Codec{&ulawTable, g711.EncodeUlawFrame} }
func newPCMA() *g711Codec { return &g711Codec{&alawTable, g711.EncodeAlawFrame} }

func (c *g711Codec) Encode(dst []byte, pcm []int16) int {
	for i, s := range pcm {
		dst[i] = c.encode(s)
	}
	return len(pcm)
}

func (c *g711Codec) Decode(dst []int16, data []byte) int {
	n := min(len(dst), len(data))
	for i, b := range data[:n] {
		dst[i] = c.table[b]
	}
	return n
}

// phoneCodec turns samples at the codec's audio rate into payload bytes and
// back. Both keep state (G.722), so each direction has its own value.
type phoneCodec interface {
	// Encode writes the payload of pcm to dst and returns its length in bytes.
	Encode(dst []byte, pcm []int16) int
	// Decode writes the samples of data to dst and returns their number.
	Decode(dst []int16, data []byte) int
}

func newPhoneCodec(k codecKind) phoneCodec {
	switch k {
	case codecG722:
		return newG722()
	case codecPCMA:
		return newPCMA()
	default:
		return newPCMU()
	}
}
