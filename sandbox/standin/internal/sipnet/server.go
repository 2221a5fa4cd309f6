package sipnet

import (
	"net/netip"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// okRepeats are the pauses before an unacknowledged 200 is sent again: three
// transmissions in all, then the service gives up repeating and keeps the call.
var okRepeats = []time.Duration{250 * time.Millisecond, 500 * time.Millisecond}

// ServerTx is a request that came in.
type ServerTx struct {
	e      *Endpoint
	key    string
	ackKey string

	Req    *sip.Request
	Method string // upper case, whatever was sent
	Flow   Flow
	// Source is where the request really came from.
	Source netip.AddrPort

	mu       sync.Mutex
	last     []byte // last response, for retransmissions of the request
	final    bool
	silent   bool // nothing more will be said
	canceled bool
	onCancel func(*sip.Request)

	ackOnce sync.Once
	acked   chan struct{}
	done    chan struct{}
}

// Acked is closed when the ACK of the final response is here.
func (tx *ServerTx) Acked() <-chan struct{} { return tx.acked }

// OnCancel sets what a CANCEL does; it must answer the INVITE. It runs at once
// when the CANCEL is already here.
func (tx *ServerTx) OnCancel(f func(*sip.Request)) {
	tx.mu.Lock()
	late := tx.canceled && tx.onCancel == nil && !tx.final
	tx.onCancel = f
	tx.mu.Unlock()
	if late {
		f(nil)
	}
}

// cancel notes a CANCEL and tells whether there is something to cancel.
func (tx *ServerTx) cancel() bool {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.final || tx.silent {
		return false
	}
	tx.canceled = true
	return true
}

func (tx *ServerTx) runCancel(req *sip.Request) {
	tx.mu.Lock()
	f := tx.onCancel
	tx.mu.Unlock()
	if f != nil {
		f(req)
	}
}

// repeat answers a retransmission. After a 2xx the INVITE is left alone: the
// 200 has its own repetitions.
func (tx *ServerTx) repeat() {
	tx.mu.Lock()
	b := tx.last
	if tx.silent || tx.ackKey != "" {
		b = nil
	}
	tx.mu.Unlock()
	if b != nil {
		tx.Flow.write(b)
	}
}

// Abandon ends the transaction without a final response. Retransmissions are
// absorbed and a CANCEL is not answered, as recorded for dropped calls.
func (tx *ServerTx) Abandon() {
	tx.mu.Lock()
	tx.silent = true
	tx.mu.Unlock()
	time.AfterFunc(timerB, func() { tx.e.forget(tx) })
}

// Respond sends a response. A second final response is ignored.
func (tx *ServerTx) Respond(res *sip.Response) error {
	b := []byte(res.String())
	tx.mu.Lock()
	if tx.final || tx.silent {
		tx.mu.Unlock()
		return nil
	}
	tx.last = b
	final := res.StatusCode >= 200
	tx.final = final
	invite := tx.Method == "INVITE"
	if final && invite && res.StatusCode < 300 {
		tx.ackKey = dialogKey(res.CallID(), res.To(), res.CSeq().SeqNo)
	}
	ackKey := tx.ackKey
	tx.mu.Unlock()
	if ackKey != "" { // first: the ACK may be here before write returns
		tx.e.mu.Lock()
		tx.e.acks[ackKey] = tx
		tx.e.mu.Unlock()
	}
	err := tx.Flow.write(b)
	if !final {
		return err
	}
	if invite {
		go tx.retransmit(b, res.StatusCode)
	} else {
		time.AfterFunc(timerB, func() { tx.e.forget(tx) })
	}
	return err
}

// retransmit repeats the final response of an INVITE until the ACK is here.
func (tx *ServerTx) retransmit(b []byte, code int) {
	defer time.AfterFunc(timerB, func() { tx.e.forget(tx) })
	if tx.Flow.Network() != "udp" {
		return
	}
	wait := func(d time.Duration) bool {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			return true
		case <-tx.acked:
		case <-tx.e.ctx.Done():
		}
		return false
	}
	if code < 300 {
		for _, d := range okRepeats {
			if !wait(d) {
				return
			}
			tx.Flow.write(b)
		}
		return
	}
	for d, total := t1, time.Duration(0); total < timerB; d = min(2*d, t2) {
		if !wait(d) {
			return
		}
		total += d
		tx.Flow.write(b)
	}
}
