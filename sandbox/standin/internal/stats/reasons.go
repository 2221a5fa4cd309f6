package stats

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/livekit/protocol/livekit"
)

// Refused is the reason of a call out that the peer refused with a status.
func Refused(status int) string {
	switch status {
	case 401, 407:
		return "auth-failed"
	case 403:
		return "forbidden"
	case 404:
		return "not-found"
	case 408:
		return "request-timeout"
	case 480:
		return "unavailable"
	case 486:
		return "busy"
	case 488:
		return "not-acceptable"
	}
	switch status / 100 {
	case 4:
		return fmt.Sprintf("client-error-%d", status)
	case 5:
		return fmt.Sprintf("upstream-server-error-%d", status)
	case 6:
		return fmt.Sprintf("global-decline-%d", status)
	}
	return "invite-failed"
}

// named are the statuses that invite_error calls by name. All others are
// "status-N", those that the LiveKit API has a name for too.
var named = map[int]bool{
	202: true, 301: true, 302: true, 305: true,
	400: true, 402: true, 403: true, 404: true, 405: true, 406: true, 408: true, 409: true, 410: true,
	413: true, 414: true, 415: true, 416: true, 420: true, 421: true, 423: true,
	480: true, 481: true, 482: true, 483: true, 484: true, 485: true, 486: true, 487: true, 488: true,
	500: true, 501: true, 502: true, 503: true, 504: true, 505: true, 513: true,
	600: true, 603: true, 604: true, 606: true,
}

// name is the status's name in the LiveKit API, BUSY_HERE; "" if it has none.
func name(status int) string {
	return strings.TrimPrefix(livekit.SIPStatusCode_name[int32(status)], "SIP_STATUS_")
}

// StatusLabel is a status as reason of invite_error: "486-BusyHere", or
// "status-607".
func StatusLabel(status int) string {
	n := name(status)
	if !named[status] || n == "" {
		return fmt.Sprintf("status-%d", status)
	}
	switch status { // spelled differently from the API
	case 404:
		n = "NOT_FOUND"
	case 414:
		return "414-RequestURITooLong"
	}
	b := strings.Builder{}
	for _, word := range strings.Split(n, "_") {
		b.WriteString(word[:1] + strings.ToLower(word[1:]))
	}
	return fmt.Sprintf("%d-%s", status, b.String())
}

// StatusWord is a status as reason of transfers_failed_total: "busy_here", or
// the number of one that the LiveKit API does not know.
func StatusWord(status int) string {
	if n := name(status); n != "" {
		return strings.ToLower(n)
	}
	return strconv.Itoa(status)
}

// result groups the reasons of ended calls.
func result(reason string) string {
	switch reason {
	case "hangup", "bye", "cancelled", "rpc", "call transferred", "removed":
		return "success"
	case "media-timeout", "no-ack":
		return "indeterminate"
	case "flood", "no-rule", "no-trunk", "unauthorized", "wrong-pin",
		"no-common-codec", "no-common-crypto", "sdp-error",
		"auth-failed", "busy", "carrier-blocked", "dns-resolution", "duplicate-identity", "forbidden",
		"no-answer", "not-acceptable", "not-found", "request-timeout", "unavailable":
		return "client_error"
	}
	for prefix, group := range map[string]string{
		"bye-": "success", "client-error-": "client_error", "global-decline-": "client_error",
		"upstream-": "upstream_error",
	} {
		if strings.HasPrefix(reason, prefix) {
			return group
		}
	}
	return "server_error"
}
