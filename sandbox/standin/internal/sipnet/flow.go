package sipnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// ErrTooLarge is returned for a UDP message above the configured size; like
// the real service there is no change to TCP.
var ErrTooLarge = errors.New("message is too large for UDP")

// Flow is the way one message came in, and the way its answer goes out: a UDP
// peer or a TCP connection.
type Flow interface {
	// Network is "udp" or "tcp".
	Network() string
	// Remote is the peer.
	Remote() netip.AddrPort
	write(b []byte) error
}

type udpFlow struct {
	e    *Endpoint
	addr netip.AddrPort
}

func (f udpFlow) Network() string        { return "udp" }
func (f udpFlow) Remote() netip.AddrPort { return f.addr }
func (f udpFlow) write(b []byte) error {
	if len(b) > f.e.cfg.UDPMaxPayload {
		return fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, len(b), f.e.cfg.UDPMaxPayload)
	}
	_, err := f.e.udp.WriteToUDPAddrPort(b, f.addr)
	return err
}

type tcpFlow struct {
	e      *Endpoint
	conn   net.Conn
	remote netip.AddrPort
	mu     sync.Mutex
	gone   chan struct{} // closed when the connection is
}

func (f *tcpFlow) Network() string        { return "tcp" }
func (f *tcpFlow) Remote() netip.AddrPort { return f.remote }
func (f *tcpFlow) write(b []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
	_, err := f.conn.Write(b)
	return err
}

// serveUDP reads datagrams until the socket closes.
func (e *Endpoint) serveUDP() {
	defer e.wg.Done()
	buf := make([]byte, 65536)
	for {
		n, from, err := e.udp.ReadFromUDPAddrPort(buf)
		if err != nil {
			if e.ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
				e.log.Warn("udp read failed", "err", err)
				continue
			}
			return
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		e.datagram(append([]byte(nil), buf[:n]...), udpFlow{e, from})
	}
}

// datagram takes one message.
func (e *Endpoint) datagram(b []byte, flow Flow) {
	if len(b) <= 4 {
		return // keep-alive
	}
	msg, err := e.parser.ParseSIP(b)
	if err != nil {
		// The real service stays silent on what it can not parse.
		e.log.Info("dropped a message that does not parse", "from", flow.Remote(), "err", err, "bytes", len(b))
		return
	}
	e.receive(msg, flow)
}

func (e *Endpoint) serveTCP() {
	defer e.wg.Done()
	for {
		conn, err := e.tcp.Accept()
		if err != nil {
			if e.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			e.log.Warn("tcp accept failed", "err", err)
			time.Sleep(50 * time.Millisecond) // out of descriptors, most likely
			continue
		}
		e.addConn(conn)
	}
}

// addConn registers a connection and starts reading it.
func (e *Endpoint) addConn(conn net.Conn) *tcpFlow {
	remote, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	f := &tcpFlow{e: e, conn: conn, remote: remote, gone: make(chan struct{})}
	e.mu.Lock()
	e.conns[remote] = f
	e.mu.Unlock()
	e.wg.Add(1)
	go e.readConn(f)
	return f
}

func (e *Endpoint) readConn(f *tcpFlow) {
	defer e.wg.Done()
	defer func() {
		f.conn.Close()
		e.mu.Lock()
		if e.conns[f.remote] == f {
			delete(e.conns, f.remote)
		}
		e.mu.Unlock()
		close(f.gone)
	}()
	stream := e.parser.NewSIPStream()
	defer stream.Close()
	buf := make([]byte, 65536)
	for {
		n, err := f.conn.Read(buf)
		if n > 0 {
			if perr := e.chunk(stream, buf[:n], f); perr != nil {
				e.log.Info("closed a connection: its data does not parse", "from", f.remote, "err", perr)
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// chunk takes the next part of a stream.
func (e *Endpoint) chunk(stream *sip.ParserStream, data []byte, flow Flow) error {
	err := stream.ParseSIPStream(data, func(m sip.Message) { e.receive(m, flow) })
	if errors.Is(err, sip.ErrParseSipPartial) {
		return nil
	}
	return err
}

// Dial gives the flow to an address, reusing an open TCP connection.
func (e *Endpoint) Dial(network string, to netip.AddrPort) (Flow, error) {
	if network != "tcp" {
		return udpFlow{e, to}, nil
	}
	e.mu.Lock()
	f := e.conns[to]
	e.mu.Unlock()
	if f != nil {
		return f, nil
	}
	d := net.Dialer{Timeout: 5 * time.Second}
	if ip := net.ParseIP(e.cfg.ListenIP); ip != nil && !ip.IsUnspecified() {
		d.LocalAddr = &net.TCPAddr{IP: ip}
	}
	conn, err := d.DialContext(e.ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	return e.addConn(conn), nil
}

// Resolve finds the address of host:port; without a port SRV records are tried
// first and 5060 is the default.
func (e *Endpoint) Resolve(network, host string, port int) (netip.AddrPort, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		if port == 0 {
			port = 5060
		}
		return netip.AddrPortFrom(ip, uint16(port)), nil
	}
	r := net.DefaultResolver
	if port == 0 && net.ParseIP(host) == nil {
		if _, srv, err := r.LookupSRV(e.ctx, "sip", network, host); err == nil && len(srv) > 0 {
			host, port = srv[0].Target, int(srv[0].Port)
		}
	}
	if port == 0 {
		port = 5060
	}
	ips, err := r.LookupNetIP(e.ctx, "ip4", host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(ips[0].Unmap(), uint16(port)), nil
}

func splitHostPort(s string) (string, int) {
	host, p, err := net.SplitHostPort(s)
	if err != nil {
		return s, 0
	}
	port, _ := strconv.Atoi(p)
	return host, port
}
