// Tests of the negotiation against the recorded SDPs.

package media

import (
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
)

type recordedSDP struct {
	Inbound []struct {
		Case, Doc  string
		Encryption Encryption
		Offer      string
		Status     int
		Answer     string
		Reinvites  []struct{ Offer, Answer string }
	}
	OutReinvite struct {
		Offer, Answer, Reinvite string
		ReinviteAnswer          string `json:"reinvite_answer"`
	} `json:"out_reinvite"`
}

func loadRecorded(tb testing.TB) *recordedSDP {
	tb.Helper()
	b, err := os.ReadFile("testdata/recorded_sdp.json")
	if err != nil {
		tb.Fatal(err)
	}
	var r recordedSDP
	if err := json.Unmarshal(b, &r); err != nil {
		tb.Fatal(err)
	}
	if len(r.Inbound) == 0 {
		tb.Fatal("no recordings")
	}
	return &r
}

func testConfig() Config { return Config{ListenIP: "127.0.0.1"} }

func open(tb testing.TB, cfg Config, opts Options) *Session {
	tb.Helper()
	s, err := Open(cfg, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

var (
	portRE = regexp.MustCompile(`m=audio \d+`)
	keyRE  = regexp.MustCompile(`inline:\S+`)
)

// normal hides what differs from call to call.
func normal(s string) string {
	return keyRE.ReplaceAllString(portRE.ReplaceAllString(s, "m=audio PORT"), "inline:KEY")
}

func TestAnswerAsRecorded(t *testing.T) {
	want := map[string]error{
		"codec_no_sdp": ErrNoAudio, "codec_port0": ErrNoAudio,
		"codec_unknown": ErrNoCodec, "enc_require": ErrNoCrypto,
	}
	for _, c := range loadRecorded(t).Inbound {
		t.Run(c.Case, func(t *testing.T) {
			s := open(t, testConfig(), Options{Encryption: c.Encryption})
			got, err := s.Answer([]byte(c.Offer))
			if c.Status != 200 {
				if err == nil || !errors.Is(err, want[c.Case]) {
					t.Fatalf("recorded status %d, got %v", c.Status, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if normal(string(got)) != normal(c.Answer) {
				t.Fatalf("answer\n%q\nrecorded\n%q", got, c.Answer)
			}
			for _, r := range c.Reinvites {
				s.Reinvite([]byte(r.Offer))
				if normal(string(s.LocalSDP())) != normal(r.Answer) {
					t.Fatalf("re-INVITE answer\n%q\nrecorded\n%q", s.LocalSDP(), r.Answer)
				}
			}
			if c.Case == "reinvite_newport" {
				if p := s.Stats().Remote.Port(); p != 34949 {
					t.Fatalf("remote port %d, want that of the re-INVITE", p)
				}
			}
		})
	}
}

var originRE = regexp.MustCompile(`o=- (\d+) (\d+) `)

func TestOfferAsRecorded(t *testing.T) {
	r := loadRecorded(t).OutReinvite
	s := open(t, testConfig(), Options{})
	offer, err := s.Offer()
	if err != nil {
		t.Fatal(err)
	}
	m := originRE.FindStringSubmatch(string(offer))
	rec := originRE.FindStringSubmatch(r.Offer)
	if m == nil || m[1] != m[2] {
		t.Fatalf("origin of %q", offer)
	}
	if got := strings.ReplaceAll(normal(string(offer)), m[1], rec[1]); got != normal(r.Offer) {
		t.Fatalf("offer\n%q\nrecorded\n%q", got, r.Offer)
	}
	if err := s.AcceptAnswer([]byte(r.Answer)); err != nil {
		t.Fatal(err)
	}
	// The answer to a re-INVITE, with the origin of this session.
	id := s.local.id
	got := originRE.ReplaceAllString(normal(string(s.LocalSDP())), "o=- ID VERSION ")
	if got != originRE.ReplaceAllString(normal(r.ReinviteAnswer), "o=- ID VERSION ") {
		t.Fatalf("after the answer\n%q\nrecorded\n%q", got, r.ReinviteAnswer)
	}
	if s.local.version != id+4 {
		t.Fatalf("version %d of id %d", s.local.version, id)
	}
	s.Reinvite([]byte(r.Reinvite))
	if st := s.Stats(); st.Codec != "PCMU/8000" || st.DTMFPayloadType != 101 || st.Remote.Port() != 59789 {
		t.Fatalf("stats %+v", st)
	}
}

const sdpHead = "v=0\r\no=x 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"

func TestAcceptAnswerErrors(t *testing.T) {
	for name, c := range map[string]struct {
		enc  Encryption
		body string
		want error
	}{
		"empty":          {0, "", ErrNoAudio},
		"blank":          {0, "\r\n", ErrNoAudio},
		"garbage":        {0, "hello world", ErrBadSDP},
		"video only":     {0, sdpHead + "m=video 9 RTP/AVP 96\r\n", ErrNoAudio},
		"port 0":         {0, sdpHead + "m=audio 0 RTP/AVP 0\r\n", ErrNoAudio},
		"g729":           {0, sdpHead + "m=audio 9000 RTP/AVP 18\r\na=rtpmap:18 G729/8000\r\n", ErrNoCodec},
		"events only":    {0, sdpHead + "m=audio 9000 RTP/AVP 101\r\na=rtpmap:101 telephone-event/8000\r\n", ErrNoCodec},
		"no c=":          {0, "v=0\r\no=x 1 1 IN IP4 1.1.1.1\r\ns=-\r\nt=0 0\r\nm=audio 9000 RTP/AVP 0\r\n", ErrBadSDP},
		"require, plain": {EncryptionRequire, sdpHead + "m=audio 9000 RTP/AVP 0\r\n", ErrNoCrypto},
		"allow, plain":   {EncryptionAllow, sdpHead + "m=audio 9000 RTP/AVP 0\r\n", nil},
		"savp, no key":   {EncryptionAllow, sdpHead + "m=audio 9000 RTP/SAVP 0\r\n", ErrNoCrypto},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, testConfig(), Options{Encryption: c.enc})
			if _, err := s.Offer(); err != nil {
				t.Fatal(err)
			}
			if err := s.AcceptAnswer([]byte(c.body)); !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestOfferEncrypted(t *testing.T) {
	for _, enc := range []Encryption{EncryptionAllow, EncryptionRequire} {
		s := open(t, testConfig(), Options{Encryption: enc})
		offer, err := s.Offer()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(offer), " RTP/SAVP 9 0 8 101\r\n") ||
			strings.Count(string(offer), "a=crypto:") != 4 ||
			strings.Index(string(offer), "a=crypto:") < strings.Index(string(offer), "a=fmtp:") ||
			strings.Index(string(offer), "a=crypto:") > strings.Index(string(offer), "a=ptime:") {
			t.Fatalf("offer %q", offer)
		}
	}
}

func TestCodecSelection(t *testing.T) {
	all := sdpHead + "m=audio 9000 RTP/AVP 8 0 9 101\r\na=rtpmap:101 telephone-event/8000\r\n"
	for name, c := range map[string]struct {
		cfg  map[string]bool
		only []CodecSpec
		body string
		want string // formats of the answer, or ""
	}{
		"all":              {nil, nil, all, "9 101"},
		"g722 off":         {map[string]bool{"G722/8000": false}, nil, all, "0 101"},
		"g722 off, lower":  {map[string]bool{"g722/8000": false}, nil, all, "0 101"},
		"only pcma":        {nil, []CodecSpec{{"PCMA", 8000}}, all, "8 101"},
		"only pcma, lower": {nil, []CodecSpec{{"pcma", 0}}, all, "8 101"},
		"wrong rate":       {nil, []CodecSpec{{"PCMA", 16000}}, all, ""},
		"off beats only":   {map[string]bool{"PCMA/8000": false}, []CodecSpec{{"PCMA", 8000}}, all, ""},
		"empty list":       {nil, []CodecSpec{}, all, ""},
		"dynamic pt":       {nil, nil, sdpHead + "m=audio 9000 RTP/AVP 97 98\r\na=rtpmap:97 pcmu/8000/1\r\na=rtpmap:98 TELEPHONE-EVENT/8000\r\n", "97 98"},
		"pt 0 remapped":    {nil, nil, sdpHead + "m=audio 9000 RTP/AVP 0 8\r\na=rtpmap:0 G729/8000\r\n", "8"},
		"48k events":       {nil, nil, sdpHead + "m=audio 9000 RTP/AVP 0 96 97\r\na=rtpmap:96 telephone-event/48000\r\na=rtpmap:97 telephone-event/8000\r\n", "0 97"},
		"second m=audio":   {nil, nil, sdpHead + "m=audio 0 RTP/AVP 8\r\nm=video 9 RTP/AVP 96\r\nm=audio 9000 RTP/AVP 0\r\n", "0"},
		"media level c=":   {nil, nil, "v=0\r\no=x 1 1 IN IP4 1.1.1.1\r\ns=-\r\nt=0 0\r\nm=audio 9000 RTP/AVP 0\r\nc=IN IP4 127.0.0.1/127\r\n", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig()
			cfg.Codecs = c.cfg
			s := open(t, cfg, Options{OnlyCodecs: c.only})
			got, err := s.Answer([]byte(c.body))
			if c.want == "" {
				if !errors.Is(err, ErrNoCodec) {
					t.Fatalf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(got), " RTP/AVP "+c.want+"\r\n") {
				t.Fatalf("answer %q", got)
			}
		})
	}
}

func TestHoldAddressIsIgnored(t *testing.T) {
	s := open(t, testConfig(), Options{})
	if _, err := s.Answer([]byte(sdpHead + "m=audio 9000 RTP/AVP 0\r\n")); err != nil {
		t.Fatal(err)
	}
	hold := strings.ReplaceAll(sdpHead, "c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0") + "m=audio 9002 RTP/AVP 0\r\n"
	s.Reinvite([]byte(hold))
	s.Reinvite([]byte("garbage"))
	s.Reinvite(nil)
	if p := s.Stats().Remote.Port(); p != 9000 {
		t.Fatalf("remote port %d", p)
	}
}

func TestIPv6Description(t *testing.T) {
	s := open(t, Config{ListenIP: "127.0.0.1", AdvertiseIP: "2001:db8::1"}, Options{})
	offer, err := s.Offer()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(offer), "c=IN IP6 2001:db8::1\r\n") {
		t.Fatalf("offer %q", offer)
	}
}

func FuzzParseSDP(f *testing.F) {
	for _, c := range loadRecorded(f).Inbound {
		f.Add([]byte(c.Offer))
	}
	f.Add([]byte(sdpHead + "m=audio 9000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAA|2^31|1:4\r\n"))
	f.Add([]byte("v=0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseSDP(b)
		if err != nil {
			if r != nil || !(errors.Is(err, ErrNoAudio) || errors.Is(err, ErrBadSDP)) {
				t.Fatalf("%v, %v", r, err)
			}
			return
		}
		if r.addr.Port() == 0 || r.dtmfPT > 127 {
			t.Fatalf("%+v", r)
		}
		c, err := choose(codecDefs, r)
		if err != nil {
			return
		}
		l := localDesc{ip: "127.0.0.1", port: 4000, id: r.sessionID, codecs: []choice{c}, dtmfPT: r.dtmfPT}
		out, err := l.marshal()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := parseSDP(out); err != nil || back.codecs[c.kind] != c.pt || back.dtmfPT != r.dtmfPT {
			t.Fatalf("own answer %q does not parse: %v", out, err)
		}
	})
}
