package inbound

import (
	"context"
	"errors"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/rpc"

	"livekit-sip-sandbox/standin/internal/attrs"
	"livekit-sip-sandbox/standin/internal/call"
	"livekit-sip-sandbox/standin/internal/media"
	"livekit-sip-sandbox/standin/internal/room"
)

// pinLimit is the longest PIN; a longer entry is wrong.
const pinLimit = 16

// Lengths of the prompts. The recorded ones are spoken; these are tones that
// last as long, so that the times seen from outside are the same.
const (
	joinPromptTime  = 1500 * time.Millisecond
	wrongPromptTime = 2000 * time.Millisecond
	enterPromptTime = 2500 * time.Millisecond
)

func prompt(total time.Duration, freqs ...float64) []int16 {
	var out []int16
	for _, f := range freqs {
		out = append(out, media.Tone(f, 200*time.Millisecond, 0.2)...)
	}
	if n := int(total.Seconds() * 48000); len(out) < n {
		out = append(out, make([]int16, n-len(out))...)
	}
	return out
}

// withPIN answers at once, asks for the PIN and only then joins the room.
func (c *inboundCall) withPIN(trunk string, desc *rpc.SIPCall, rule *rpc.EvaluateSIPDispatchRulesResponse) {
	if !c.openMedia(rule) {
		return
	}
	accepted := c.leg.Call.Stage("call-accept")
	answered, ok := c.accept(nil) // the rule is not known, so no headers of it
	if !ok {
		return
	}
	accepted()
	keys := make(chan string, 64)
	c.leg.OnKey(func(digit string) {
		select {
		case keys <- digit:
		default:
		}
	})
	pin, ok := c.readPIN(keys, answered)
	if !ok {
		c.leg.Close(c.leg.Ended(), true)
		return
	}
	c.log.Info("pin entered", "digits", len(pin))
	found := (*rpc.EvaluateSIPDispatchRulesResponse)(nil)
	if len(pin) <= pinLimit {
		found, ok = c.dispatchPIN(trunk, desc, pin)
		if !ok {
			return
		}
	}
	if found == nil {
		c.play(c.leg.Context(), prompt(wrongPromptTime, 480, 380, 300))
		c.leg.Close(call.End{Why: "wrong-pin", Reason: livekit.DisconnectReason_CLIENT_INITIATED}, true)
		return
	}
	c.play(c.leg.Context(), prompt(joinPromptTime, 440, 554, 659))
	select {
	case <-c.leg.Ending():
		c.leg.Close(c.leg.Ended(), true)
		return
	default:
	}
	if err := c.leg.Join(c.leg.Context(), c.participant(found, attrs.Active)); err != nil {
		if out := (*room.ClosedError)(nil); errors.As(err, &out) {
			c.leg.Close(call.End{Why: "removed", Reason: out.Reason}, true)
			return
		}
		c.log.Warn("could not join the room", "err", err)
		c.leg.Close(call.End{Why: "participant-failed", Reason: livekit.DisconnectReason_CLIENT_INITIATED}, true)
		return
	}
	// Beside the call: who is removed meanwhile is hung up on at once.
	r := c.leg.Room()
	go func() {
		if err := c.publish(); err != nil {
			select {
			case <-r.Closed(): // the room is the reason, not the track
			default:
				c.log.Warn("could not publish", "err", err)
			}
		}
	}()
	c.leg.PhoneToRoom()
	c.inCall(answered)
}

// dispatchPIN evaluates the rules with the PIN; nil is a wrong PIN. ok is false
// when the call is over: where livekit-server does not answer it ends at once.
func (c *inboundCall) dispatchPIN(trunk string, desc *rpc.SIPCall, pin string) (*rpc.EvaluateSIPDispatchRulesResponse, bool) {
	rule, err := c.evaluate(c.leg.Context(), trunk, desc, pin, pin == "")
	select {
	case <-c.leg.Ending():
		c.leg.Close(c.leg.Ended(), true)
		return nil, false
	default:
	}
	if err != nil {
		c.log.Warn("dispatch failed", "err", err)
		c.leg.Close(call.End{Why: "dispatch-error", Reason: livekit.DisconnectReason_CLIENT_INITIATED}, true)
		return nil, false
	}
	if rule.Result != rpc.SIPDispatchResult_ACCEPT || rule.RoomName == "" {
		return nil, true
	}
	c.adopt(rule)
	return rule, true
}

// readPIN plays the prompt and collects digits up to '#'.
func (c *inboundCall) readPIN(keys <-chan string, answered time.Time) (string, bool) {
	ctx, cancel := context.WithCancel(c.leg.Context())
	defer cancel()
	go c.play(ctx, prompt(enterPromptTime, 660, 660))
	go c.leg.RunWithoutRoom(c.started, answered, c.noRTP(answered))
	c.waitMedia(nil)
	pin := ""
	for {
		select {
		case d := <-keys:
			cancel()
			if d == "#" {
				return pin, true
			}
			if pin += d; len(pin) > pinLimit {
				return pin, true
			}
		case <-c.leg.Ending():
			return "", false
		}
	}
}

func (c *inboundCall) play(ctx context.Context, pcm []int16) {
	if err := c.leg.Media.Mixer().PlayPCM(ctx, pcm); err != nil && ctx.Err() == nil {
		c.log.Warn("prompt not played", "err", err)
	}
}
