// G.722: 16000 Hz audio at 64 kbit/s through libspandsp.

package media

/*
#cgo LDFLAGS: -lspandsp
#include <inttypes.h>
#include <spandsp/telephony.h>
#include <spandsp/g722.h>
#include <spandsp/private/g722.h>
*/
import "C"

import "unsafe"

// g722Codec holds the C states by value: they contain no pointers, so the Go
// heap may own them and nothing has to be freed at the end of a call.
type g722Codec struct {
	enc C.g722_encode_state_t
	dec C.g722_decode_state_t
}

func newG722() *g722Codec {
	c := &g722Codec{}
	C.g722_encode_init(&c.enc, 64000, 0)
	C.g722_decode_init(&c.dec, 64000, 0)
	return c
}

// Encode makes one byte of every two samples.
func (c *g722Codec) Encode(dst []byte, pcm []int16) int {
	n := min(len(pcm), 2*len(dst)) &^ 1
	if n == 0 {
		return 0
	}
	return int(C.g722_encode(&c.enc, (*C.uint8_t)(unsafe.Pointer(&dst[0])),
		(*C.int16_t)(unsafe.Pointer(&pcm[0])), C.int(n)))
}

// Decode makes two samples of every byte.
func (c *g722Codec) Decode(dst []int16, data []byte) int {
	n := min(len(data), len(dst)/2)
	if n == 0 {
		return 0
	}
	return int(C.g722_decode(&c.dec, (*C.int16_t)(unsafe.Pointer(&dst[0])),
		(*C.uint8_t)(unsafe.Pointer(&data[0])), C.int(n)))
}
