package sipnet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

// peer is a UDP socket that speaks SIP by hand.
type peer struct {
	t    *testing.T
	conn *net.UDPConn
	to   *net.UDPAddr
}

func setUp(t *testing.T, h Handler) (*Endpoint, *peer) {
	t.Helper()
	e, err := Listen(Config{ListenIP: "127.0.0.1", SignalIP: "127.0.0.1", SignalPort: 5060, UDPMaxPayload: 1300, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Skip(err) // the TCP port of the chosen UDP port is taken
	}
	e.Serve(h)
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(); conn.Close() })
	return e, &peer{t, conn, e.udp.LocalAddr().(*net.UDPAddr)}
}

func (p *peer) port() int { return p.conn.LocalAddr().(*net.UDPAddr).Port }

func (p *peer) send(method, branch string, seq int, totag string) {
	p.t.Helper()
	if totag != "" {
		totag = ";tag=" + totag
	}
	p.raw(fmt.Sprintf("%s sip:+1@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%d;branch=%s;rport\r\n"+
		"From: <sip:a@b>;tag=x\r\nTo: <sip:+1@127.0.0.1>%s\r\nCall-ID: c\r\nCSeq: %d %s\r\nContent-Length: 0\r\n\r\n",
		method, p.port(), branch, totag, seq, method))
}

func (p *peer) raw(s string) {
	p.t.Helper()
	if _, err := p.conn.WriteToUDP([]byte(s), p.to); err != nil {
		p.t.Fatal(err)
	}
}

// next gives the next message, "" after the wait.
func (p *peer) next(wait time.Duration) string {
	buf := make([]byte, 65536)
	p.conn.SetReadDeadline(time.Now().Add(wait))
	n, err := p.conn.Read(buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

func (p *peer) expect(prefix string) string {
	p.t.Helper()
	m := p.next(2 * time.Second)
	if !strings.HasPrefix(m, prefix) {
		p.t.Fatalf("got %q, want %q", firstLine(m), prefix)
	}
	return m
}

func (p *peer) silence(d time.Duration) {
	p.t.Helper()
	if m := p.next(d); m != "" {
		p.t.Fatalf("got %q, want silence", firstLine(m))
	}
}

func firstLine(s string) string { l, _, _ := strings.Cut(s, "\r\n"); return l }

func TestUnacknowledged200IsSentThreeTimes(t *testing.T) {
	_, p := setUp(t, func(tx *ServerTx) {
		tx.Req.To().Params.Add("tag", "ours")
		tx.Respond(sip.NewResponseFromRequest(tx.Req, 200, "OK", nil))
	})
	p.send("INVITE", "z9hG4bK1", 1, "")
	start := time.Now()
	for _, want := range []time.Duration{0, 250 * time.Millisecond, 750 * time.Millisecond} {
		p.expect("SIP/2.0 200 OK")
		if got := time.Since(start); got < want-20*time.Millisecond || got > want+150*time.Millisecond {
			t.Errorf("200 after %v, want %v", got, want)
		}
	}
	p.silence(1200 * time.Millisecond)
	p.send("INVITE", "z9hG4bK1", 1, "") // absorbed
	p.silence(100 * time.Millisecond)
}

func TestAckStopsThe200(t *testing.T) {
	acked := make(chan struct{})
	_, p := setUp(t, func(tx *ServerTx) {
		tx.Req.To().Params.Add("tag", "ours")
		tx.Respond(sip.NewResponseFromRequest(tx.Req, 200, "OK", nil))
		<-tx.Acked()
		close(acked)
	})
	p.send("INVITE", "z9hG4bK1", 1, "")
	p.expect("SIP/2.0 200 OK")
	p.send("ACK", "z9hG4bK2", 1, "ours")
	p.silence(400 * time.Millisecond)
	<-acked
}

func TestCancel(t *testing.T) {
	_, p := setUp(t, func(tx *ServerTx) {
		tx.OnCancel(func(*sip.Request) { tx.Respond(sip.NewResponseFromRequest(tx.Req, 487, "Request Terminated", nil)) })
		tx.Respond(sip.NewResponseFromRequest(tx.Req, 180, "Ringing", nil))
	})
	p.send("INVITE", "z9hG4bK1", 1, "")
	p.expect("SIP/2.0 180")
	p.send("INVITE", "z9hG4bK1", 1, "") // a retransmission gets the last response
	p.expect("SIP/2.0 180")
	p.send("CANCEL", "z9hG4bK1", 1, "")
	p.expect("SIP/2.0 200 OK")
	p.expect("SIP/2.0 487")
	p.expect("SIP/2.0 487") // not acknowledged, so again
	p.send("ACK", "z9hG4bK1", 1, "")
	p.silence(1200 * time.Millisecond)
	p.send("CANCEL", "z9hG4bKother", 1, "")
	p.silence(100 * time.Millisecond)
}

func TestAbandonedIsSilent(t *testing.T) {
	abandoned := make(chan struct{})
	_, p := setUp(t, func(tx *ServerTx) {
		tx.Respond(sip.NewResponseFromRequest(tx.Req, 180, "Ringing", nil))
		tx.Abandon()
		close(abandoned)
	})
	p.send("INVITE", "z9hG4bK1", 1, "")
	p.expect("SIP/2.0 180")
	<-abandoned
	p.send("INVITE", "z9hG4bK1", 1, "")
	p.send("CANCEL", "z9hG4bK1", 1, "")
	p.silence(200 * time.Millisecond)
}

func TestGarbageIsSilent(t *testing.T) {
	_, p := setUp(t, func(tx *ServerTx) { tx.Respond(sip.NewResponseFromRequest(tx.Req, 200, "OK", nil)) })
	p.raw("garbage\r\n\r\n")
	p.raw("INVITE sip:x SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa\r\nFrom: <sip:a@b>;tag=x\r\nTo: <sip:c@d>\r\nCall-ID: c\r\n\r\n") // no CSeq
	p.silence(100 * time.Millisecond)
	p.send("options", "z9hG4bKb", 1, "") // lower case is a method all the same
	p.expect("SIP/2.0 200")
}

func request(e *Endpoint, method sip.RequestMethod, extra ...string) *sip.Request {
	d := &Dialog{
		CallID: "cid", Local: &sip.FromHeader{Address: sip.Uri{Scheme: "sip", User: "a", Host: "b"}, Params: sip.NewParams()},
		Remote: &sip.ToHeader{Address: sip.Uri{Scheme: "sip", User: "c", Host: "d"}, Params: sip.NewParams()},
		Target: sip.Uri{Scheme: "sip", User: "c", Host: "127.0.0.1"}, Network: "udp", Caller: true,
	}
	var h []Header
	for _, v := range extra {
		h = append(h, Header{"X-A", v})
	}
	return d.Request(e, method, h)
}

func (p *peer) flow(e *Endpoint) Flow {
	f, _ := e.Dial("udp", netip.MustParseAddrPort(fmt.Sprintf("127.0.0.1:%d", p.port())))
	return f
}

func TestRequestIsRepeatedUntilAnswered(t *testing.T) {
	e, p := setUp(t, nil)
	tx, err := e.Request(request(e, sip.BYE), p.flow(e))
	if err != nil {
		t.Fatal(err)
	}
	m := p.expect("BYE")
	if p.expect("BYE") != m {
		t.Error("the repetition differs")
	}
	order := []string{}
	for _, l := range strings.Split(m, "\r\n")[1:] {
		if n, _, ok := strings.Cut(l, ":"); ok {
			order = append(order, n)
		}
	}
	if got := strings.Join(order, " "); got != "Via Max-Forwards From To Call-ID Content-Length User-Agent CSeq" {
		t.Errorf("header order %s", got)
	}
	req, _ := sip.ParseMessage([]byte(m))
	p.raw(sip.NewResponseFromRequest(req.(*sip.Request), 200, "OK", nil).String())
	res, err := tx.Final(context.Background())
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	p.silence(1200 * time.Millisecond)
}

func TestRefusalIsAcknowledged(t *testing.T) {
	e, p := setUp(t, nil)
	inv := request(e, sip.INVITE)
	inv.AppendHeader(e.Contact("udp"))
	tx, err := e.Request(inv, p.flow(e))
	if err != nil {
		t.Fatal(err)
	}
	m, _ := sip.ParseMessage([]byte(p.expect("INVITE")))
	res := sip.NewResponseFromRequest(m.(*sip.Request), 486, "Busy", nil).String()
	for range 2 { // a repeated refusal gets its ACK again
		p.raw(res)
		p.expect("ACK")
	}
	if r, err := tx.Final(context.Background()); err != nil || r.StatusCode != 486 {
		t.Fatal(r, err)
	}
}

func TestTooLargeForUDP(t *testing.T) {
	e, p := setUp(t, nil)
	if _, err := e.Request(request(e, sip.BYE, strings.Repeat("x", 2000)), p.flow(e)); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
}
