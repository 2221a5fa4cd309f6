package stats

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"sync"
)

// cpuLoad is the share of the machine's CPU time that was in use since the
// last call, 0 to 1.
type cpuLoad struct {
	mu         sync.Mutex
	busy, idle uint64
	last       float64
	read       func() (busy, idle uint64, ok bool)
}

func (c *cpuLoad) value() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	busy, idle, ok := c.read()
	if !ok || busy < c.busy || idle < c.idle {
		return c.last
	}
	b, i := busy-c.busy, idle-c.idle
	if b+i == 0 {
		return c.last
	}
	c.busy, c.idle = busy, idle
	c.last = float64(b) / float64(b+i)
	return c.last
}

// procStat reads the first line of /proc/stat.
func procStat() (busy, idle uint64, ok bool) {
	f, err := os.Open("/proc/stat")
	if err != nil {
		return 0, 0, false
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	if !s.Scan() {
		return 0, 0, false
	}
	fields := strings.Fields(s.Text())
	if len(fields) < 6 || fields[0] != "cpu" {
		return 0, 0, false
	}
	for i, v := range fields[1:] {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			return 0, 0, false
		}
		switch {
		case i == 3 || i == 4: // idle, iowait
			idle += n
		case i < 8: // what follows is counted in user time already
			busy += n
		}
	}
	return busy, idle, true
}
