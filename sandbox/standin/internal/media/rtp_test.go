// Tests of the jitter buffer.

package media

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestJitterNeverSticks drives the buffer with arbitrary sequence numbers.
func TestJitterNeverSticks(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var j jitter
	j.reset()
	now := time.Now()
	seq := uint16(0)
	for range 300000 {
		switch r.IntN(12) {
		case 0:
			seq = uint16(r.Uint32())
		case 1:
			seq -= uint16(r.IntN(40))
		default:
			seq += uint16(r.IntN(4))
		}
		j.push(seq, []byte{1}, r.IntN(5) == 0, now)
		now = now.Add(time.Duration(r.IntN(30)) * time.Millisecond)
		for range r.IntN(3) {
			j.pop(now)
		}
		used := 0
		for i := range j.slots {
			if j.slots[i].used {
				used++
			}
		}
		if used != j.count {
			t.Fatalf("%d slots used, count %d", used, j.count)
		}
	}
}

func TestJitterBuffer(t *testing.T) {
	now := time.Now()
	later := now.Add(time.Second)
	type step struct {
		push []uint16
		want []string // payloads, "-" missing, "" empty
	}
	for name, steps := range map[string][]step{
		"in order":     {{[]uint16{1, 2}, []string{"1", "2", ""}}, {[]uint16{3}, []string{"3"}}},
		"swapped":      {{[]uint16{2, 1, 3}, []string{"1", "2", "3", ""}}},
		"duplicate":    {{[]uint16{1, 1, 2, 2}, []string{"1", "2", ""}}},
		"late by one":  {{[]uint16{1, 3}, []string{"1", "-"}}, {[]uint16{2}, []string{"2", "3", ""}}},
		"one lost":     {{[]uint16{1, 3, 4}, []string{"1", "-", "3", "4", ""}}},
		"three lost":   {{[]uint16{1, 5}, []string{"1", "-", "-", "-", "5", ""}}},
		"lost and dry": {{[]uint16{1}, []string{"1", ""}}, {[]uint16{3}, []string{"3", ""}}},
		"too late":     {{[]uint16{1}, []string{"1", ""}}, {[]uint16{3}, []string{"3", ""}}, {[]uint16{2, 4}, []string{"4", ""}}},
		"wrap":         {{[]uint16{65535, 0, 1}, []string{"65535", "0", "1", ""}}},
		"jump ahead":   {{[]uint16{1}, []string{"1"}}, {[]uint16{9000, 9001}, []string{"9000", "9001", ""}}},
		"jump back":    {{[]uint16{9000}, []string{"9000"}}, {[]uint16{5, 6}, []string{"5", "6", ""}}},
		"restart":      {{[]uint16{100}, []string{"100"}}, {[]uint16{50, 51, 52, 53, 54, 55}, []string{"54", "55", ""}}},
	} {
		t.Run(name, func(t *testing.T) {
			var j jitter
			j.reset()
			for _, s := range steps {
				for _, q := range s.push {
					j.push(q, []byte(itoa(int(q))), false, now)
				}
				for i, w := range s.want {
					b, res := j.pop(later)
					got := map[jitterResult]string{jitterMissing: "-"}[res]
					if res == jitterPacket {
						got = string(b)
					}
					if got != w {
						t.Fatalf("read %d: %q, want %q", i, got, w)
					}
				}
			}
		})
	}
	t.Run("burst", func(t *testing.T) {
		var j jitter
		j.reset()
		for q := range uint16(100) {
			j.push(q, []byte{byte(q)}, false, now)
		}
		for {
			b, res := j.pop(later)
			if res == jitterDrop {
				continue
			}
			if res != jitterPacket || b[0] != 98 {
				t.Fatalf("%v %v", b, res)
			}
			break
		}
	})
	t.Run("hold", func(t *testing.T) {
		var j jitter
		j.reset()
		j.push(1, []byte{1}, false, now)
		if _, res := j.pop(now.Add(time.Millisecond)); res != jitterEmpty {
			t.Fatal(res)
		}
		if _, res := j.pop(now.Add(21 * time.Millisecond)); res != jitterPacket {
			t.Fatal(res)
		}
	})
}
