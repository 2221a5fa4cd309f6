package sipnet

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"livekit-sip-sandbox/standin/internal/sipnet/siptest"
)

// nowhere is a flow that swallows what is written.
type nowhere struct{ network string }

func (n nowhere) Network() string      { return n.network }
func (nowhere) Remote() netip.AddrPort { return netip.MustParseAddrPort("127.0.0.1:5060") }
func (nowhere) write(b []byte) error   { return nil }

// deaf is an endpoint without sockets, whose handler does with a request what
// the service does, and which waits for the answer to an INVITE of its own.
func deaf() *Endpoint {
	ctx, cancel := context.WithCancel(context.Background())
	e := &Endpoint{
		cfg: Config{SignalIP: "127.0.0.1", SignalPort: 5060, UDPMaxPayload: 1300}, log: slog.New(slog.DiscardHandler),
		parser: sip.NewParser(), ctx: ctx, cancel: cancel, conns: map[netip.AddrPort]*tcpFlow{},
		servers: map[string]*ServerTx{}, acks: map[string]*ServerTx{}, clients: map[string]*ClientTx{},
	}
	e.handle = func(tx *ServerTx) {
		switch tx.Method {
		case "INVITE":
			if to := tx.Req.To(); to != nil && Tag(to) == "" {
				to.Params.Add("tag", "SCL_known")
			}
			tx.OnCancel(func(*sip.Request) { tx.Respond(sip.NewResponseFromRequest(tx.Req, 487, "Request Terminated", nil)) })
			tx.Respond(sip.NewResponseFromRequest(tx.Req, 180, "Ringing", nil))
			tx.Respond(sip.NewResponseFromRequest(tx.Req, 200, "OK", []byte("v=0")))
		default:
			tx.Respond(Response(tx.Req, 481, "Call does not exist", "x", nil))
		}
	}
	inv := sip.NewRequest(sip.INVITE, sip.Uri{Scheme: "sip", Host: "h"})
	inv.AppendHeader(e.via("udp", "z9hG4bK.fuzz"))
	inv.AppendHeader(&sip.FromHeader{Address: sip.Uri{Scheme: "sip", Host: "h"}, Params: sip.NewParams()})
	inv.AppendHeader(&sip.ToHeader{Address: sip.Uri{Scheme: "sip", Host: "h"}, Params: sip.NewParams()})
	id := sip.CallIDHeader("fuzz")
	inv.AppendHeader(&id)
	inv.AppendHeader(&sip.CSeqHeader{SeqNo: 1, MethodName: sip.INVITE})
	tx := &ClientTx{e: e, key: "z9hG4bK.fuzz|INVITE", Req: inv, flow: nowhere{"udp"}, res: make(chan *sip.Response, 16),
		stop: make(chan struct{}), done: make(chan struct{})}
	e.clients[tx.key] = tx
	return e
}

// quiet waits until the INVITEs in hand are answered, so that a panic in one
// is charged to its message.
func (e *Endpoint) quiet() {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Microsecond) {
		e.mu.Lock()
		busy := false
		for _, tx := range e.servers {
			tx.mu.Lock()
			busy = busy || !tx.final && !tx.silent
			tx.mu.Unlock()
		}
		e.mu.Unlock()
		if !busy {
			return
		}
		if time.Now().After(deadline) {
			panic("a request was not answered in 5 s")
		}
	}
}

func seeds(f *testing.F) {
	for _, m := range append(siptest.Recorded(), siptest.Torture...) {
		f.Add([]byte(m))
	}
}

// FuzzDatagram takes a message from UDP, twice: a retransmission must do no
// harm either.
func FuzzDatagram(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		e := deaf()
		defer e.cancel()
		for range 2 {
			e.datagram(append([]byte(nil), b...), nowhere{"udp"})
			e.quiet()
		}
		for _, m := range []string{"ACK", "CANCEL", "BYE"} {
			// The same message as the request that would follow it.
			s := strings.ReplaceAll(string(b), "INVITE", m)
			e.datagram([]byte(s), nowhere{"udp"})
		}
		e.quiet()
	})
}

// FuzzStream takes the same bytes from TCP in two parts.
func FuzzStream(f *testing.F) {
	for _, m := range append(siptest.Recorded(), siptest.Torture...) {
		f.Add([]byte(m), len(m)/2)
	}
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		e := deaf()
		defer e.cancel()
		stream := e.parser.NewSIPStream()
		defer stream.Close()
		if cut < 0 || cut > len(b) {
			cut = len(b) / 2
		}
		for _, part := range [][]byte{b[:cut], b[cut:], []byte("\r\n\r\n"), b} {
			if len(part) == 0 {
				continue
			}
			if e.chunk(stream, append([]byte(nil), part...), nowhere{"tcp"}) != nil {
				return
			}
		}
		e.quiet()
	})
}

// FuzzDialog makes requests of what a peer said in an INVITE or an answer.
func FuzzDialog(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		msg, err := sip.NewParser().ParseSIP(b)
		if err != nil || msg.From() == nil || msg.To() == nil || msg.CallID() == nil {
			return
		}
		e := deaf()
		defer e.cancel()
		d := &Dialog{CallID: string(*msg.CallID()), Local: msg.From(), Remote: msg.To(), Network: "udp"}
		if c, ok := msg.(interface{ GetHeader(string) sip.Header }).GetHeader("Contact").(*sip.ContactHeader); ok {
			d.Target = c.Address
		}
		for _, caller := range []bool{true, false} {
			d.Caller = caller
			for _, m := range []sip.RequestMethod{sip.BYE, sip.REFER} {
				if d.Request(e, m, []Header{{"X-A", "b"}}).String() == "" {
					t.Error("empty request")
				}
			}
		}
		if d.Ack(e, 1).String() == "" {
			t.Error("empty ACK")
		}
	})
}
