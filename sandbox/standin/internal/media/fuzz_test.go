package media

import (
	"testing"
	"time"

	"livekit-sip-sandbox/standin/internal/sipnet/siptest"
)

// FuzzSDP takes a description as offer, as answer and in a re-INVITE. What is
// accepted is answered with one that we can read ourselves.
func FuzzSDP(f *testing.F) {
	for _, s := range siptest.SDPs() {
		f.Add([]byte(s), uint8(0))
	}
	for i, s := range []string{
		"", "v=0", "v=0\r\nm=audio 9 RTP/AVP\r\n",
		"v=0\r\no=- 99999999999999999999 -1 IN IP4 h\r\ns=\r\nc=IN IP4 999.1.1.1/127\r\nt=0 0\r\nm=audio 99999 RTP/AVP 0\r\n",
		"v=0\r\no=- 1 18446744073709551615 IN IP4 h\r\ns=-\r\nc=IN IP6 ::1\r\nt=0 0\r\nm=audio 9/2 RTP/AVP 0 255 -1 x\r\na=rtpmap:0\r\na=rtpmap:255 /\r\na=ptime:0\r\n",
		"v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=audio 9 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AA==|2^20|1:4\r\na=crypto:x\r\n",
		"v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nt=0 0\r\nm=video 9 RTP/AVP 96\r\nm=audio 0 RTP/AVP 0\r\nm=audio 9 RTP/AVP 9 9 9\r\nc=IN IP4 127.0.0.1\r\na=rtpmap:9 G722/16000/2\r\na=fmtp:9 ;;=\r\n",
	} {
		f.Add([]byte(s), uint8(i))
	}
	f.Fuzz(func(t *testing.T, b []byte, how uint8) {
		if r, err := parseSDP(b); err == nil && r.host != "" {
			return // a name would be looked up in the DNS
		}
		opts := Options{Encryption: Encryption(how % 3), OnlyCodecs: nil}
		open := func() *Session {
			s, err := Open(Config{ListenIP: "127.0.0.1"}, opts)
			if err != nil {
				t.Skip(err)
			}
			return s
		}
		start := time.Now()
		in := open()
		defer in.Close()
		if answer, err := in.Answer(b); err == nil {
			if _, err := parseSDP(answer); err != nil {
				t.Errorf("our answer does not parse: %v\n%s", err, answer)
			}
			in.Start()
			in.Reinvite(b)
		}
		out := open()
		defer out.Close()
		if _, err := out.Offer(); err != nil {
			t.Fatal(err)
		}
		if out.AcceptAnswer(b) == nil {
			out.Start()
			out.Reinvite(b)
		}
		if d := time.Since(start); d > 2*time.Second {
			t.Errorf("took %v", d)
		}
	})
}
