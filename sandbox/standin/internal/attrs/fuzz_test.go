package attrs

import (
	"testing"
	"unicode/utf8"

	"github.com/emiago/sipgo/sip"
	"github.com/livekit/protocol/livekit"

	"livekit-sip-sandbox/standin/internal/sipnet/siptest"
)

// FuzzHeaders maps the headers of any message; what comes out must be fit for
// protobuf, that is valid UTF-8.
func FuzzHeaders(f *testing.F) {
	for _, m := range append(siptest.Recorded(), siptest.Torture...) {
		f.Add([]byte(m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		msg, err := sip.NewParser().ParseSIP(b)
		if err != nil {
			return
		}
		h := msg.(interface{ Headers() []sip.Header }).Headers()
		a := map[string]string{}
		FromHeaders(a, h, livekit.SIPHeaderOptions_SIP_ALL_HEADERS, map[string]string{"From": "from", "via": "via", "X-A": "a"})
		for k, v := range a {
			if !utf8.ValidString(k) || !utf8.ValidString(v) {
				t.Errorf("%q: %q", k, v)
			}
		}
		for k, v := range Remote(h, nil, []string{"from"}) {
			if !utf8.ValidString(k) || !utf8.ValidString(v) {
				t.Errorf("rpc %q: %q", k, v)
			}
		}
	})
}
