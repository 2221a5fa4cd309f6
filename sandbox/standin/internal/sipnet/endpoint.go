package sipnet

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// RFC 3261 timers.
const (
	t1     = 500 * time.Millisecond
	t2     = 4 * time.Second
	timerB = 64 * t1
)

// Config is where the endpoint listens and what it calls itself.
type Config struct {
	ListenIP      string // "" = all
	ListenPort    int
	SignalIP      string // in Via, Contact, From
	SignalPort    int
	UDPMaxPayload int
	Log           *slog.Logger
}

// Handler gets every request that starts something: INVITE, BYE, NOTIFY and so
// on. ACK and CANCEL do not come here, they belong to an INVITE.
type Handler func(tx *ServerTx)

// Endpoint is one SIP port, UDP and TCP.
type Endpoint struct {
	cfg    Config
	log    *slog.Logger
	parser *sip.Parser
	udp    *net.UDPConn
	tcp    net.Listener
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	handle Handler

	mu      sync.Mutex
	conns   map[netip.AddrPort]*tcpFlow
	servers map[string]*ServerTx // by branch, sent-by and method
	acks    map[string]*ServerTx // INVITEs answered 2xx, by dialog and CSeq
	clients map[string]*ClientTx // by branch and method
}

// Listen opens the sockets. Call Serve next.
func Listen(cfg Config) (*Endpoint, error) {
	ip := net.ParseIP(cfg.ListenIP)
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: ip, Port: cfg.ListenPort})
	if err != nil {
		return nil, fmt.Errorf("sip udp: %w", err)
	}
	// Bursts of calls should wait in the socket and not be lost.
	udp.SetReadBuffer(4 << 20)
	host := cfg.ListenIP
	if host == "" {
		host = "0.0.0.0"
	}
	tcp, err := net.Listen("tcp4", net.JoinHostPort(host, strconv.Itoa(cfg.ListenPort)))
	if err != nil {
		udp.Close()
		return nil, fmt.Errorf("sip tcp: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Endpoint{
		cfg: cfg, log: cfg.Log, parser: sip.NewParser(),
		udp: udp, tcp: tcp, ctx: ctx, cancel: cancel,
		conns:   map[netip.AddrPort]*tcpFlow{},
		servers: map[string]*ServerTx{},
		acks:    map[string]*ServerTx{},
		clients: map[string]*ClientTx{},
	}, nil
}

// Serve starts reading. The handler of an INVITE runs on a goroutine of its
// own, that of other requests must not block.
func (e *Endpoint) Serve(h Handler) {
	e.handle = h
	e.wg.Add(2)
	go e.serveUDP()
	go e.serveTCP()
}

// Close ends all transactions without another word on the wire.
func (e *Endpoint) Close() {
	e.cancel()
	e.udp.Close()
	e.tcp.Close()
	e.mu.Lock()
	for _, c := range e.conns {
		c.conn.Close()
	}
	e.mu.Unlock()
	e.wg.Wait()
}

// Contact is our own address as the peer should call it; a transport of "" is
// left to the peer.
func (e *Endpoint) Contact(transport string) *sip.ContactHeader {
	p := sip.NewParams()
	if transport != "" {
		p.Add("transport", transport)
	}
	return &sip.ContactHeader{Address: sip.Uri{
		Scheme: "sip", Host: e.cfg.SignalIP, Port: e.cfg.SignalPort, UriParams: p,
	}, Params: sip.NewParams()}
}

// SignalIP is the host of our From header.
func (e *Endpoint) SignalIP() string { return e.cfg.SignalIP }

func (e *Endpoint) receive(msg sip.Message, flow Flow) {
	switch m := msg.(type) {
	case *sip.Request:
		m.SetSource(flow.Remote().String())
		m.SetTransport(strings.ToUpper(flow.Network()))
		e.receiveRequest(m, flow)
	case *sip.Response:
		e.receiveResponse(m)
	}
}

func (e *Endpoint) receiveRequest(req *sip.Request, flow Flow) {
	via, cseq := req.Via(), req.CSeq()
	if via == nil || cseq == nil {
		e.log.Info("dropped a request without Via or CSeq", "from", flow.Remote(), "request", req.StartLine())
		return
	}
	method := strings.ToUpper(string(req.Method))
	switch method {
	case "ACK":
		e.receiveACK(req)
		return
	case "CANCEL":
		e.receiveCancel(req, flow)
		return
	}
	key := serverKey(via, method)
	e.mu.Lock()
	if tx := e.servers[key]; tx != nil {
		e.mu.Unlock()
		tx.repeat()
		return
	}
	tx := &ServerTx{e: e, key: key, Req: req, Method: method, Flow: replyFlow(e, via, flow), Source: flow.Remote(),
		acked: make(chan struct{}), done: make(chan struct{})}
	e.servers[key] = tx
	e.mu.Unlock()
	if method == "INVITE" {
		go e.handle(tx)
		return
	}
	e.handle(tx) // quick, and so answers keep the order of the requests
}

// replyFlow is where answers go: the connection of a TCP request; for UDP the
// source address when the Via asks for it (rport), else the port of the Via.
func replyFlow(e *Endpoint, via *sip.ViaHeader, flow Flow) Flow {
	u, ok := flow.(udpFlow)
	if !ok || via.Params.Has("rport") {
		return flow
	}
	port := via.Port
	if port == 0 {
		port = 5060
	}
	return udpFlow{e, netip.AddrPortFrom(u.addr.Addr(), uint16(port))}
}

func serverKey(via *sip.ViaHeader, method string) string {
	branch, _ := via.Params.Get("branch")
	return branch + "|" + via.SentBy() + "|" + method
}

// dialogKey identifies the 2xx that an ACK acknowledges: by our tag, whatever
// tag the From has (recorded: dup_callid).
func dialogKey(callID *sip.CallIDHeader, to *sip.ToHeader, seq uint32) string {
	if callID == nil || to == nil {
		return ""
	}
	return string(*callID) + "|" + Tag(to) + "|" + strconv.FormatUint(uint64(seq), 10)
}

func (e *Endpoint) receiveACK(req *sip.Request) {
	e.mu.Lock()
	tx := e.servers[serverKey(req.Via(), "INVITE")]
	if tx == nil {
		tx = e.acks[dialogKey(req.CallID(), req.To(), req.CSeq().SeqNo)]
	}
	e.mu.Unlock()
	if tx != nil {
		tx.ackOnce.Do(func() { close(tx.acked) })
	}
}

// receiveCancel answers a CANCEL that has something to cancel, and is silent
// otherwise, as recorded.
func (e *Endpoint) receiveCancel(req *sip.Request, flow Flow) {
	key := serverKey(req.Via(), "CANCEL")
	e.mu.Lock()
	if tx := e.servers[key]; tx != nil {
		e.mu.Unlock()
		tx.repeat()
		return
	}
	inv := e.servers[serverKey(req.Via(), "INVITE")]
	e.mu.Unlock()
	if inv == nil || !inv.cancel() {
		e.log.Info("CANCEL for nothing that rings", "from", flow.Remote(), "sipCallID", callIDOf(req))
		return
	}
	tx := &ServerTx{e: e, key: key, Req: req, Method: "CANCEL", Flow: replyFlow(e, req.Via(), flow), Source: flow.Remote(),
		acked: make(chan struct{}), done: make(chan struct{})}
	e.mu.Lock()
	e.servers[key] = tx
	e.mu.Unlock()
	tx.Respond(sip.NewResponseFromRequest(req, 200, "OK", nil))
	inv.runCancel(req)
}

func (e *Endpoint) forget(tx *ServerTx) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.servers[tx.key] == tx {
		delete(e.servers, tx.key)
	}
	if tx.ackKey != "" && e.acks[tx.ackKey] == tx {
		delete(e.acks, tx.ackKey)
	}
}

func callIDOf(m sip.Message) string {
	if h := m.CallID(); h != nil {
		return string(*h)
	}
	return ""
}
