package call

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/rpc"
	"github.com/livekit/psrpc"

	"livekit-sip-sandbox/standin/internal/attrs"
	"livekit-sip-sandbox/standin/internal/media"
	"livekit-sip-sandbox/standin/internal/sipnet"
	"livekit-sip-sandbox/standin/internal/stats"
)

// defaultTransferTimeout is used when the request names none.
const defaultTransferTimeout = 120 * time.Second

// byeAfterTransfer is how long a transferred peer has for hanging up itself.
const byeAfterTransfer = time.Second

// transfer is one REFER and what became of it.
type transfer struct {
	to   string
	once sync.Once
	done chan struct{}
	err  error
}

func (x *transfer) finish(err error) {
	x.once.Do(func() {
		x.err = err
		close(x.done)
	})
}

func (x *transfer) settled() bool {
	select {
	case <-x.done:
		return true
	default:
		return false
	}
}

// callEnded settles a transfer whose call went away without a NOTIFY, whoever
// ended it: that is a success.
func (x *transfer) callEnded() { x.finish(nil) }

// sipfrag reads the status line that a NOTIFY carries.
func sipfrag(body []byte) (code int, reason string, err error) {
	line, _, _ := strings.Cut(string(body), "\n")
	f := strings.SplitN(strings.TrimSpace(line), " ", 3)
	if len(f) < 2 {
		return 0, "", errors.New("invalid notify body: not enough tokens")
	}
	if f[0] != "SIP/2.0" {
		return 0, "", errors.New("invalid notify body: wrong prefix or SIP version")
	}
	if code, err = strconv.Atoi(f[1]); err != nil {
		return 0, "", err
	}
	if len(f) == 3 {
		reason = f[2]
	}
	return code, reason, nil
}

// referTo renders the target: SIP URIs in brackets, tel: bare.
func referTo(to string) string {
	if strings.HasPrefix(to, "<") || strings.HasPrefix(strings.ToLower(to), "tel:") {
		return to
	}
	return "<" + to + ">"
}

// Transfer sends the peer elsewhere and waits for the outcome. A second
// request for the same target joins the first.
func (l *Leg) Transfer(ctx context.Context, req *rpc.InternalTransferSIPParticipantRequest) error {
	timeout := defaultTransferTimeout
	if d := req.RingingTimeout.AsDuration(); d > 0 {
		timeout = d
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	l.mu.Lock()
	if !l.established || l.ended {
		l.mu.Unlock()
		l.Call.Transfer()("psrpc_error")
		return psrpc.NewErrorf(psrpc.FailedPrecondition, "can't transfer non established call")
	}
	x := l.xfer
	if x != nil && x.settled() {
		x = nil // its goroutine is about to take it away
	}
	if x != nil && x.to != req.TransferTo {
		l.mu.Unlock()
		return psrpc.NewErrorf(psrpc.InvalidArgument, "call already being transferred elsewhere")
	}
	first := x == nil
	if first {
		x = &transfer{to: req.TransferTo, done: make(chan struct{})}
		l.xfer = x
	}
	l.mu.Unlock()
	if first {
		l.Log.Info("transfer", "to", req.TransferTo)
		go l.refer(ctx, x, req)
	}
	select {
	case <-x.done:
	case <-ctx.Done():
		// The server's own deadline says the same, whoever is first.
		err := psrpc.NewErrorf(psrpc.DeadlineExceeded, "request timed out")
		if first {
			x.finish(err)
		}
		return err
	}
	return x.err
}

// refer sends the REFER and looks after the call until the transfer is
// settled.
func (l *Leg) refer(ctx context.Context, x *transfer, req *rpc.InternalTransferSIPParticipantRequest) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	counted := l.Call.Transfer()
	if req.PlayDialtone {
		l.Media.Mixer().SetMuted(true)
		go l.ringPhone(ctx)
	}
	extra := append([]sipnet.Header{{Name: "Refer-To", Value: referTo(req.TransferTo)}}, attrs.Headers(req.Headers)...)
	if r := l.Room(); r != nil {
		extra = append(extra, attrs.ToHeaders(r.Attributes(), l.AttrsToHeaders)...)
	}
	tx, err := l.request(sip.REFER, extra)
	if err != nil {
		x.finish(psrpc.NewError(psrpc.Unavailable, fmt.Errorf("refer not sent: %w", err)))
	} else {
		go func() {
			res, err := tx.Final(ctx)
			switch {
			case err != nil:
				l.Log.Info("no answer to REFER", "err", err) // the deadline of the request decides
			case res.StatusCode != 200 && res.StatusCode != 202:
				x.finish(SIPError("", res.StatusCode, res.Reason))
			}
		}()
	}
	<-x.done
	cancel()
	l.Media.Mixer().SetMuted(false)
	l.mu.Lock()
	if l.xfer == x {
		l.xfer = nil
	}
	l.mu.Unlock()
	if x.err != nil {
		l.Log.Info("transfer failed, the call goes on", "err", x.err)
		counted(failureReason(x.err))
		return
	}
	l.Log.Info("transferred")
	counted("")
	t := time.NewTimer(byeAfterTransfer)
	defer t.Stop()
	select {
	case <-t.C:
		e := EndTransferred
		if l.Inbound {
			e.Why = EndRemoteBye.Why
		}
		l.Stop(e)
	case <-l.endC:
	}
}

// failureReason is the label of a failed transfer: the SIP status or the code of
// the error.
func failureReason(err error) string {
	var e psrpc.Error
	if errors.As(err, &e) {
		for _, d := range e.Details() {
			if st, ok := d.(*livekit.SIPStatus); ok {
				return stats.StatusWord(int(st.Code))
			}
		}
		if e.Code() == psrpc.DeadlineExceeded {
			return "canceled" // what the request's end does to the transfer
		}
	}
	return "psrpc_error"
}

// ringPhone plays the ringing tone to the phone.
func (l *Leg) ringPhone(ctx context.Context) {
	tone := media.RingbackETSI()
	frame := make([]int16, 48000)
	for ctx.Err() == nil {
		tone.Frame(frame)
		if l.Media.Mixer().PlayPCM(ctx, frame) != nil {
			return
		}
	}
}
