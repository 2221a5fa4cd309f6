package sipnet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"
)

// TimeoutError says that a request got no final response.
type TimeoutError struct{ Intermediate int }

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("transaction failed to complete (%d intermediate responses)", e.Intermediate)
}

// ErrClosed is the error of transactions that the endpoint's end cut short.
var ErrClosed = errors.New("endpoint closed")

// ErrConnLost is the error of requests in a call whose TCP connection closed
// before an answer: they may never have arrived.
var ErrConnLost = errors.New("connection closed before the answer")

// ClientTx is a request that went out.
type ClientTx struct {
	e    *Endpoint
	key  string
	Req  *sip.Request
	flow Flow
	raw  []byte

	res  chan *sip.Response
	stop chan struct{} // no more retransmissions
	once sync.Once
	done chan struct{} // failed
	err  error
	prov atomic.Int32

	mu  sync.Mutex
	ack []byte // sent again for each repeated 2xx
}

// Request sends req through flow and starts its transaction. The Via is put in
// front; every request gets its own branch.
func (e *Endpoint) Request(req *sip.Request, flow Flow) (*ClientTx, error) {
	branch := newBranch()
	req.PrependHeader(e.via(flow.Network(), branch))
	method := strings.ToUpper(string(req.Method))
	tx := &ClientTx{
		e: e, key: branch + "|" + method, Req: req, flow: flow, raw: []byte(req.String()),
		res: make(chan *sip.Response, 16), stop: make(chan struct{}), done: make(chan struct{}),
	}
	e.mu.Lock()
	e.clients[tx.key] = tx
	e.mu.Unlock()
	if err := flow.write(tx.raw); err != nil {
		e.drop(tx)
		return nil, err
	}
	go tx.run(method == "INVITE")
	return tx, nil
}

// Send writes a request that has no transaction (ACK).
func (e *Endpoint) Send(req *sip.Request, flow Flow) error {
	req.PrependHeader(e.via(flow.Network(), newBranch()))
	return flow.write([]byte(req.String()))
}

func (e *Endpoint) via(network, branch string) *sip.ViaHeader {
	p := sip.NewParams()
	p.Add("branch", branch)
	p.Add("alias", "")
	return &sip.ViaHeader{
		ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: strings.ToUpper(network),
		Host: e.cfg.SignalIP, Port: e.cfg.SignalPort, Params: p,
	}
}

func (e *Endpoint) drop(tx *ClientTx) {
	e.mu.Lock()
	if e.clients[tx.key] == tx {
		delete(e.clients, tx.key)
	}
	e.mu.Unlock()
}

// run repeats the request on UDP until something comes back, and gives up
// after 64*T1. A provisional response ends both for an INVITE.
func (tx *ClientTx) run(invite bool) {
	deadline := time.NewTimer(timerB)
	defer deadline.Stop()
	var again <-chan time.Time
	d := t1
	if tx.flow.Network() == "udp" {
		again = time.After(d)
	}
	var lost <-chan struct{}
	if f, ok := tx.flow.(*tcpFlow); ok && !invite {
		lost = f.gone
	}
	for {
		select {
		case <-again:
			tx.flow.write(tx.raw)
			d *= 2
			if !invite {
				d = min(d, t2)
			}
			again = time.After(d)
		case <-tx.stop:
			return
		case <-lost:
			tx.fail(ErrConnLost)
			return
		case <-tx.e.ctx.Done():
			tx.fail(ErrClosed)
			return
		case <-deadline.C:
			tx.fail(&TimeoutError{Intermediate: int(tx.prov.Load())})
			return
		}
	}
}

func (tx *ClientTx) fail(err error) {
	tx.once.Do(func() { close(tx.stop) })
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.err == nil {
		tx.err = err
		close(tx.done)
	}
	tx.e.drop(tx)
}

// Next waits for the next response. Repetitions of a final response do not
// come here.
func (tx *ClientTx) Next(ctx context.Context) (*sip.Response, error) {
	select {
	case r := <-tx.res:
		return r, nil
	default:
	}
	select {
	case r := <-tx.res:
		return r, nil
	case <-tx.done:
		return nil, tx.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Final waits for the final response.
func (tx *ClientTx) Final(ctx context.Context) (*sip.Response, error) {
	for {
		r, err := tx.Next(ctx)
		if err != nil || r.StatusCode >= 200 {
			return r, err
		}
	}
}

func (e *Endpoint) receiveResponse(res *sip.Response) {
	via, cseq := res.Via(), res.CSeq()
	if via == nil || cseq == nil || res.From() == nil || res.To() == nil || res.CallID() == nil {
		e.log.Info("dropped a response without Via, CSeq, From, To or Call-ID", "response", res.StartLine())
		return
	}
	branch, _ := via.Params.Get("branch")
	e.mu.Lock()
	tx := e.clients[branch+"|"+strings.ToUpper(string(cseq.MethodName))]
	e.mu.Unlock()
	if tx == nil {
		e.log.Debug("response to nothing", "response", res.StartLine(), "sipCallID", callIDOf(res))
		return
	}
	tx.receive(res)
}

func (tx *ClientTx) receive(res *sip.Response) {
	invite := strings.EqualFold(string(tx.Req.Method), "INVITE")
	if res.StatusCode < 200 {
		tx.prov.Add(1)
		if invite {
			tx.once.Do(func() { close(tx.stop) })
		}
		select {
		case tx.res <- res:
		default: // nobody reads: a flood of provisional responses
		}
		return
	}
	tx.once.Do(func() { close(tx.stop) })
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if invite && res.StatusCode >= 300 {
		// The ACK of a refusal belongs to the transaction.
		if tx.ack == nil {
			tx.ack = []byte(ackRefusal(tx.Req, res).String())
			tx.deliver(res)
		}
		tx.flow.write(tx.ack)
		return
	}
	if tx.ack != nil {
		tx.flow.write(tx.ack)
		return
	}
	tx.deliver(res)
}

// deliver hands over the final response once; the caller holds mu.
func (tx *ClientTx) deliver(res *sip.Response) {
	if tx.err != nil {
		return
	}
	if tx.ack == nil {
		tx.ack = []byte{} // from now on repetitions are ours
	}
	select {
	case tx.res <- res:
	default:
	}
	time.AfterFunc(timerB, func() { tx.e.drop(tx) })
}

// Ack sends the ACK of a 2xx and keeps it for repetitions.
func (tx *ClientTx) Ack(req *sip.Request, flow Flow) error {
	req.PrependHeader(tx.e.via(flow.Network(), newBranch()))
	b := []byte(req.String())
	tx.mu.Lock()
	tx.ack = b
	tx.mu.Unlock()
	return flow.write(b)
}

// Cancel sends the CANCEL of an INVITE that rings.
func (tx *ClientTx) Cancel() {
	c := cancelOf(tx.Req)
	branch, _ := tx.Req.Via().Params.Get("branch")
	ctx := &ClientTx{
		e: tx.e, key: branch + "|CANCEL", Req: c, flow: tx.flow, raw: []byte(c.String()),
		res: make(chan *sip.Response, 4), stop: make(chan struct{}), done: make(chan struct{}),
	}
	tx.e.mu.Lock()
	tx.e.clients[ctx.key] = ctx
	tx.e.mu.Unlock()
	tx.flow.write(ctx.raw)
	go ctx.run(false)
}
