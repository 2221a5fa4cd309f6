package siptest

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

// SDP is an offer or answer of the phone, PCMU at a port where nobody listens.
const SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n"

// Phone is a UDP socket that speaks SIP by hand.
type Phone struct {
	t    testing.TB
	conn *net.UDPConn
	peer *net.UDPAddr // where the last message came from
}

// NewPhone opens a phone. peer is the service, "" if it will call.
func NewPhone(t testing.TB, peer string) *Phone {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	p := &Phone{t: t, conn: conn}
	if peer != "" {
		if p.peer, err = net.ResolveUDPAddr("udp4", peer); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// For makes t the test that fails with the phone.
func (p *Phone) For(t testing.TB) { p.t = t }

// Addr is host:port of the phone.
func (p *Phone) Addr() string { return p.conn.LocalAddr().String() }

// Send writes bytes as they are.
func (p *Phone) Send(s string) {
	p.t.Helper()
	if _, err := p.conn.WriteToUDP([]byte(s), p.peer); err != nil {
		p.t.Fatal(err)
	}
}

// Ask sends a request of a dialog: from tag "x", the given To tag, if any.
func (p *Phone) Ask(method, callID, totag string, seq int, body string, headers ...string) {
	p.t.Helper()
	if totag != "" {
		totag = ";tag=" + totag
	}
	head := []string{
		method + " sip:+1@127.0.0.1 SIP/2.0",
		fmt.Sprintf("Via: SIP/2.0/UDP %s;branch=z9hG4bK%s%s%d;rport", p.Addr(), callID, method, seq),
		"From: <sip:+2@127.0.0.1>;tag=x",
		"To: <sip:+1@127.0.0.1>" + totag,
		"Call-ID: " + callID,
		fmt.Sprintf("CSeq: %d %s", seq, method),
		"Contact: <sip:+2@" + p.Addr() + ">",
	}
	head = append(append(head, headers...), fmt.Sprintf("Content-Length: %d", len(body)))
	p.Send(strings.Join(head, "\r\n") + "\r\n\r\n" + body)
}

// Next gives the next message that is not a repetition of a 180, nil if there
// is none in time.
func (p *Phone) Next(within time.Duration) sip.Message {
	p.t.Helper()
	buf := make([]byte, 65536)
	for deadline := time.Now().Add(within); ; {
		p.conn.SetReadDeadline(deadline)
		n, from, err := p.conn.ReadFromUDP(buf)
		if err != nil {
			return nil
		}
		p.peer = from
		m, err := sip.ParseMessage(append([]byte(nil), buf[:n]...))
		if err != nil {
			p.t.Fatalf("%v in %q", err, buf[:n])
		}
		return m
	}
}

// Request waits for a request; others of the same kind as before are skipped.
func (p *Phone) Request(method string) *sip.Request {
	p.t.Helper()
	for {
		switch m := p.Next(3 * time.Second).(type) {
		case *sip.Request:
			if string(m.Method) == method {
				return m
			}
		case nil:
			p.t.Fatalf("no %s", method)
		}
	}
}

// Response waits for a response with the status.
func (p *Phone) Response(status int) *sip.Response {
	p.t.Helper()
	for {
		switch m := p.Next(3 * time.Second).(type) {
		case *sip.Response:
			if m.StatusCode == status {
				return m
			}
			if m.StatusCode >= 200 {
				p.t.Fatalf("got %d %s, want %d", m.StatusCode, m.Reason, status)
			}
		case nil:
			p.t.Fatalf("no %d", status)
		}
	}
}

// Reply answers a request with tag "phone" on To.
func (p *Phone) Reply(req *sip.Request, status int, reason, body string, headers ...string) {
	p.t.Helper()
	res := sip.NewResponseFromRequest(req, status, reason, []byte(body))
	if to := res.To(); to != nil && status > 100 {
		to.Params.Add("tag", "phone")
	}
	res.AppendHeader(sip.NewHeader("Contact", "<sip:callee@"+p.Addr()+">"))
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		res.AppendHeader(sip.NewHeader(name, value))
	}
	p.Send(res.String())
}
