package call

import (
	"errors"
	"fmt"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/psrpc"
	"google.golang.org/grpc/codes"

	"livekit-sip-sandbox/standin/internal/media"
)

// SIPError is the API error of a SIP response: the text is prefix and status,
// the code follows from the status, and the status rides along as detail so
// that livekit-server can put it into the error's meta.
func SIPError(prefix string, code int, reason string) error {
	st := &livekit.SIPStatus{Code: livekit.SIPStatusCode(code), Status: reason}
	err := error(st)
	if prefix != "" {
		err = fmt.Errorf("%s: %w", prefix, st)
	}
	c := st.GRPCStatus().Code()
	if c == codes.OK {
		c = codes.Unknown // 202 and the like: an error all the same
	}
	// errors.New: the status must be a detail once, not be found twice.
	return psrpc.NewError(psrpc.ErrorCodeFromGRPC(c), errors.New(err.Error()), st)
}

// InviteError is the API error of a refused INVITE. The real service words
// five statuses differently from the rest.
func InviteError(code int, reason string) error {
	switch code {
	case 400, 404, 480, 486, 488:
		return SIPError("INVITE failed", code, reason)
	}
	return SIPError("unexpected status from INVITE response", code, reason)
}

// RefusedReason is what the room sees of a refused outbound call.
func RefusedReason(code int) livekit.DisconnectReason {
	switch {
	case code == 404 || code == 408 || code == 480:
		return livekit.DisconnectReason_USER_UNAVAILABLE
	case code >= 400 && code < 500, code >= 600:
		return livekit.DisconnectReason_USER_REJECTED
	}
	return livekit.DisconnectReason_CLIENT_INITIATED
}

// MediaFailure is the reason, in the metrics, of a description that can not be
// taken.
func MediaFailure(err error) string {
	switch {
	case errors.Is(err, media.ErrNoCodec):
		return "no-common-codec"
	case errors.Is(err, media.ErrNoCrypto):
		return "no-common-crypto"
	}
	return "sdp-error"
}
