package sipnet

import (
	"crypto/rand"
	"net/netip"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// Allow is the list that the service announces, longer than what it does.
const Allow = "INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, MESSAGE, OPTIONS, INFO, SUBSCRIBE"

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

func newBranch() string {
	var b [16]byte
	rand.Read(b[:])
	for i := range b {
		b[i] = letters[int(b[i])%len(letters)]
	}
	return "z9hG4bK." + string(b[:])
}

// Response builds the answer to req with our dialog tag on To. A tag that the
// request brought along stays.
func Response(req *sip.Request, code int, reason, tag string, body []byte) *sip.Response {
	res := sip.NewResponseFromRequest(req, code, reason, body)
	if to := res.To(); to != nil && tag != "" {
		if old := req.To(); old == nil || !old.Params.Has("tag") {
			to.Params.Add("tag", tag)
		}
	}
	return res
}

// Tag is the tag of a From or To header.
func Tag(h any) string {
	var p sip.HeaderParams
	switch h := h.(type) {
	case *sip.FromHeader:
		if h == nil {
			return ""
		}
		p = h.Params
	case *sip.ToHeader:
		if h == nil {
			return ""
		}
		p = h.Params
	}
	t, _ := p.Get("tag")
	return t
}

// ackRefusal is the ACK of a final response above 299, in the recorded order.
func ackRefusal(inv *sip.Request, res *sip.Response) *sip.Request {
	ack := sip.NewRequest(sip.ACK, *inv.Recipient.Clone())
	ack.AppendHeader(sip.HeaderClone(inv.Via()))
	mf := sip.MaxForwardsHeader(70)
	ack.AppendHeader(&mf)
	ack.AppendHeader(sip.HeaderClone(inv.From()))
	to := res.To()
	if to == nil {
		to = inv.To()
	}
	ack.AppendHeader(sip.HeaderClone(to))
	ack.AppendHeader(sip.HeaderClone(inv.CallID()))
	ack.AppendHeader(&sip.CSeqHeader{SeqNo: inv.CSeq().SeqNo, MethodName: sip.ACK})
	if c := inv.Contact(); c != nil {
		ack.AppendHeader(sip.HeaderClone(c))
	}
	ack.SetBody(nil)
	return ack
}

func cancelOf(inv *sip.Request) *sip.Request {
	c := sip.NewRequest(sip.CANCEL, *inv.Recipient.Clone())
	c.AppendHeader(sip.HeaderClone(inv.Via()))
	mf := sip.MaxForwardsHeader(70)
	c.AppendHeader(&mf)
	c.AppendHeader(sip.HeaderClone(inv.From()))
	c.AppendHeader(sip.HeaderClone(inv.To()))
	c.AppendHeader(sip.HeaderClone(inv.CallID()))
	c.AppendHeader(&sip.CSeqHeader{SeqNo: inv.CSeq().SeqNo, MethodName: sip.CANCEL})
	for _, h := range inv.GetHeaders("Route") {
		c.AppendHeader(sip.HeaderClone(h))
	}
	c.SetBody(nil)
	return c
}

// Header is a custom header, in order.
type Header struct{ Name, Value string }

// Dialog is our half of an established (or early) dialog.
type Dialog struct {
	CallID string
	// Local and Remote are rendered as From and To of our requests.
	Local  *sip.FromHeader
	Remote *sip.ToHeader
	Target sip.Uri      // the peer's Contact
	Routes []sip.Header // Route headers of our requests
	Seq    uint32       // last CSeq we used
	Caller bool         // we placed the call
	// Network and Peer are where requests go when the target names no
	// reachable address of its own.
	Network string
	Peer    netip.AddrPort
	// Transport is the parameter of the Contact of our ACK; "" is none.
	Transport string
}

// Request builds an in-dialog request. The order of the headers differs
// between calls we placed and calls we got, as recorded.
func (d *Dialog) Request(e *Endpoint, method sip.RequestMethod, extra []Header) *sip.Request {
	d.Seq++
	req := sip.NewRequest(method, *d.Target.Clone())
	mf := sip.MaxForwardsHeader(70)
	cid := sip.CallIDHeader(d.CallID)
	cseq := &sip.CSeqHeader{SeqNo: d.Seq, MethodName: method}
	custom := func() {
		for _, h := range extra {
			req.AppendHeader(sip.NewHeader(h.Name, h.Value))
		}
	}
	for _, r := range d.Routes {
		req.AppendHeader(sip.HeaderClone(r))
	}
	req.AppendHeader(&mf)
	switch {
	case method == sip.REFER:
		if d.Caller {
			d.fromTo(req)
		}
		req.AppendHeader(&cid)
		req.AppendHeader(e.Contact(d.Network))
		custom()
		req.AppendHeader(sip.NewHeader("Allow", Allow))
		req.SetBody(nil)
		req.AppendHeader(cseq)
		if !d.Caller {
			d.fromTo(req)
		}
	case d.Caller:
		d.fromTo(req)
		req.AppendHeader(&cid)
		req.SetBody(nil)
		req.AppendHeader(sip.NewHeader("User-Agent", "LiveKit"))
		custom()
		req.AppendHeader(cseq)
	default:
		req.AppendHeader(&cid)
		req.SetBody(nil)
		custom()
		req.AppendHeader(cseq)
		d.fromTo(req)
	}
	return req
}

func (d *Dialog) fromTo(req *sip.Request) {
	req.AppendHeader(sip.HeaderClone(d.Local))
	req.AppendHeader(sip.HeaderClone(d.Remote))
}

// Ack builds the ACK of a 2xx to our INVITE with CSeq seq.
func (d *Dialog) Ack(e *Endpoint, seq uint32) *sip.Request {
	req := sip.NewRequest(sip.ACK, *d.Target.Clone())
	for _, r := range d.Routes {
		req.AppendHeader(sip.HeaderClone(r))
	}
	mf := sip.MaxForwardsHeader(70)
	req.AppendHeader(&mf)
	d.fromTo(req)
	cid := sip.CallIDHeader(d.CallID)
	req.AppendHeader(&cid)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: seq, MethodName: sip.ACK})
	req.AppendHeader(e.Contact(d.Transport))
	req.SetBody(nil)
	return req
}

// Flow finds the way to the peer: the first route, else the Contact address.
func (d *Dialog) Flow(e *Endpoint) (Flow, error) {
	u := d.Target
	if len(d.Routes) > 0 {
		if r, ok := d.Routes[0].(*sip.RouteHeader); ok {
			u = r.Address
		}
	}
	network := d.Network
	if t, ok := u.UriParams.Get("transport"); ok && strings.EqualFold(t, "tcp") {
		network = "tcp"
	}
	if network == "tcp" {
		// The connection of the call itself, if it is still open.
		e.mu.Lock()
		f := e.conns[d.Peer]
		e.mu.Unlock()
		if f != nil {
			return f, nil
		}
	}
	to, err := e.Resolve(network, strings.Trim(u.Host, "[]"), u.Port)
	if err != nil {
		return nil, err
	}
	return e.Dial(network, to)
}
