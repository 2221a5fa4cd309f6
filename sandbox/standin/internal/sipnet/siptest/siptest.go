// Package siptest has messages for tests and fuzzing: the recorded ones, and
// torture in the manner of RFC 4475.
package siptest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"sort"
	"strings"
)

// Recorded gives the raw messages of the conformance recordings, one of each
// shape (start line and header names, without what differs from call to call).
// It is empty where the recordings are not at hand.
func Recorded() []string {
	_, here, _, _ := runtime.Caller(0)
	files, _ := filepath.Glob(filepath.Join(filepath.Dir(here), "../../../../../tests/conformance/recordings/*.json"))
	sort.Strings(files)
	seen := map[string]bool{}
	var out []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		var rec struct {
			SIP []struct {
				Raw string `json:"raw"`
			} `json:"sip"`
		}
		if json.Unmarshal(b, &rec) != nil {
			continue
		}
		for _, m := range rec.SIP {
			if s := shape(m.Raw); m.Raw != "" && !seen[s] && len(m.Raw) < 4000 {
				seen[s] = true
				out = append(out, m.Raw)
			}
		}
	}
	return out
}

var digits = regexp.MustCompile(`[0-9]+`)

func shape(raw string) string {
	head, _, _ := strings.Cut(raw, "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	first, _, _ := strings.Cut(lines[0], "@")
	out := digits.ReplaceAllString(first, "0")
	if strings.HasPrefix(lines[0], "SIP/") {
		out = lines[0]
	}
	for _, l := range lines[1:] {
		name, _, _ := strings.Cut(l, ":")
		out += "\n" + name
	}
	return out
}

// SDPs gives the bodies of the recorded messages.
func SDPs() []string {
	var out []string
	for _, m := range append(Recorded(), Torture...) {
		if _, body, ok := strings.Cut(m, "\r\n\r\n"); ok && strings.HasPrefix(body, "v=") {
			out = append(out, body)
		}
	}
	return out
}

// message ends the lines as SIP wants it.
func message(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

const body = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"

// Torture are messages that a parser may stumble over, valid and not.
var Torture = []string{
	// Short names, folding, odd white space and case, unknown parameters.
	message("INVITE sip:vivekg@127.0.0.1;unknown SIP/2.0\nTO :\n sip:vivekg@127.0.0.1 ;   tag    = 1918181833n\nfrom   : \"J Rosenberg \\\\\\\"\"       <sip:j@example.com>\n  ;\n  tag = 98asjd8\nMaX-fOrWaRdS: 0068\nCall-ID: w.1@192.0.2.1\nContent-Length   : 0\ncseq: 0009\n  INVITE\nVia  : SIP  /   2.0\n /UDP\n    192.0.2.2;branch=390skdjuw\ns :\nNewFangledHeader:   newfangled value\n continued newfangled value\nUnknownHeader: ;;,,;;,;\nContent-Type: application/sdp\nRoute:\n <sip:services.example.com;lr;unknownwith=value;unknown-no-value>\nv:  SIP  / 2.0  / TCP     spindle.example.com   ;\n  branch  =   z9hG4bK9ikj8  ,\n SIP  /    2.0   / UDP  192.168.255.111   ; branch=\n z9hG4bK30239\nm:\"Quoted string \\\"\\\"\" <sip:j@example.com> ; newparam = newvalue ;\n  secondparam ; q = 0.33\n\n"),
	// Every character that a token may have.
	message("!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0\nVia: SIP/2.0/UDP host1.example.com;rport;branch=z9hG4bK-.!%66*_+`'~\nTo: \"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7F\" <sip:1_unusual.URI~(to-be!sure)@example.com>\nFrom: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"\xd1\x80\xd0\xb0\";tag=_token~1'+`*%!-.\nCall-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{\nCSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~\nMax-Forwards: 255\nextensionHeader-!.%*+_`'~: \xef\xbb\xbf\xe5\xa4\xa7\xe5\x81\x9c\xe9\x9b\xbb\nContent-Length: 0\n\n"),
	// Escapes, also of NUL, in URI and display names.
	message("INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0\nTo: sip:%75se%72@example.com\nFrom: <sip:I%20have%20spaces@example.net>;tag=938\nMax-Forwards: 87\nCall-ID: esc01\nCSeq: 1 INVITE\nContact: <sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31>\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKkdjuw\nContent-Type: application/sdp\nContent-Length: 0\n\n"),
	message("REGISTER sip:null-%00-null@example.com SIP/2.0\nTo: sip:null-%00-null@example.com\nFrom: sip:null-%00-null@example.com;tag=839923423\nMax-Forwards: 70\nCall-ID: escnull\nCSeq: 14398234 REGISTER\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKkdjuw\nContact: <sip:%00@host5.example.com>\nContact: *\nL:0\n\n"),
	// Numbers out of range.
	message("INVITE sip:a@127.0.0.1:99999999999 SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1:70000;branch=z9hG4bKa;ttl=256;received=1.2.3.4.5\nMax-Forwards: 300\nFrom: <sip:a@b:-1>;tag=1\nTo: <sip:c@d:0>\nCall-ID: scalar02\nCSeq: 36893488147419103232 INVITE\nExpires: 1000000000000000000000000000000\nContact: <sip:a@127.0.0.1>;expires=280297596632815;q=9.99\nContent-Length: 0\n\n"),
	// Content-Length: negative, too large, not a number, twice.
	message("INVITE sip:a@b SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKa\nFrom: <sip:a@b>;tag=1\nTo: <sip:c@d>\nCall-ID: ncl\nCSeq: 1 INVITE\nContent-Length: -999\n\n"),
	message("INVITE sip:a@b SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKa\nFrom: <sip:a@b>;tag=1\nTo: <sip:c@d>\nCall-ID: clerr\nCSeq: 1 INVITE\nContent-Length: 9999\n\n") + body,
	message("INVITE sip:a@b SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKa\nFrom: <sip:a@b>;tag=1\nTo: <sip:c@d>\nCall-ID: mult\nCSeq: 1 INVITE\nContent-Length: 5\nContent-Length: 138\nl: x\nCSeq: 59 INVITE\nCall-ID: again\nFrom: sip:f@g;tag=2\nTo: sip:h@i\n\n") + body,
	// Lists, empty elements, missing parts.
	message("INVITE sip:a@b SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKa,,;,\nVia:\nFrom: <sip:a@b;tag=1\nTo: \"Watson, Thomas\" < sip:t.watson@example.org >\nCall-ID:\nCSeq: INVITE\nContact: \"Joe\" <sip:joe@example.org>;;;;,\nContact: ,\nRecord-Route: <sip:;lr>,<sip:127.0.0.1;lr>\nRoute:,\nContent-Length: 0\n\n"),
	message("INVITE sip:a@b SIP/2.0\nVia: SIP/2.0/UDP ;branch=\nFrom:\nTo:\nCall-ID: x\nCSeq: 1\nContact:\n\n"),
	message("INVITE  sip:a@b  SIP/2.0 \nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKlws\nFrom: <sip:a@b>;tag=1\nTo: <sip:c@d>\nCall-ID: lws\nCSeq: 1 INVITE\n\n"),
	message("INVITE <sip:a@b> SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKang\nFrom: <sip:a@b?Route=%3Csip:x%3E>;tag=1\nTo: <sip:c@d>\nCall-ID: ang\nCSeq: 1 INVITE\n\n"),
	message("OPTIONS soap.beep://192.0.2.103:3002 SIP/7.0\nVia: SIP/7.0/UDP 127.0.0.1;branch=z9hG4bKv\nFrom: isbn:2983792873;tag=1\nTo: http://www.example.com\nCall-ID: v\nCSeq: 1 OPTIONS\n\n"),
	message("OPTIONS * SIP/2.0\nVia: SIP/2.0/SCTP [2001:db8::9:1]:5060;branch=z9hG4bK6;received=[::1\nFrom: <sip:a@[2001:db8::10]>;tag=\nTo: <sip:a@[::>;tag\nCall-ID: [\nCSeq: 4294967295 OPTIONS\n\n"),
	message("INVITE sip:[::1 SIP/2.0\nVia: SIP/2.0/UDP [:5060;branch=z9hG4bK7\nFrom: sip:@;tag=1\nTo: sip::@:\nCall-ID: 7\nCSeq: 1 INVITE\n\n"),
	// A mismatch of methods, a response to nothing, one with an odd status.
	message("OPTIONS sip:a@b SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKmm\nFrom: <sip:a@b>;tag=1\nTo: <sip:c@d>\nCall-ID: mm\nCSeq: 8 INVITE\n\n"),
	message("SIP/2.0 4294967301 better not break the receiver\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK.fuzz\nFrom: <sip:a@b>;tag=1\nTo: <sip:c@d>;tag=2\nCall-ID: big\nCSeq: 1 INVITE\n\n"),
	message("SIP/2.0 100 \nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK.fuzz\nFrom: <sip:a@b>;tag=1\nTo: <sip:c@d>;tag=2\nCall-ID: r\nCSeq: 1 INVITE\n\n"),
	message("SIP/2.0 486\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK.fuzz\nCSeq: 1 INVITE\n\n"),
	message("SIP/2.0 200 OK\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK.fuzz\nTo: <sip:c@d>;tag=2\nRecord-Route: <sip:p;lr>, <sip:q>\nContact: *\nCSeq: 1 INVITE\n\n"),
	// Requests inside and outside of a dialog.
	message("ACK sip:a@b SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKz\nCSeq: 1 ACK\n\n"),
	message("CANCEL sip:a@b SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKa\nCSeq: 1 CANCEL\n\n"),
	message("BYE sip:a@b SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKb\nTo: <sip:a@b>;tag=SCL_known\nCSeq: 1 BYE\nReason:\n\n"),
	message("NOTIFY sip:a@b SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKn\nFrom: <sip:a@b>;tag=1\nTo: <sip:a@b>;tag=SCL_known\nCall-ID: n\nCSeq: 1 NOTIFY\nEvent: refer;id=1\nContent-Type: message/sipfrag\nContent-Length: 12\n\nSIP/2.0 99x\n"),
	message("INVITE sip:a@b SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKre\nFrom: <sip:a@b>;tag=1\nTo: <sip:a@b>;tag=SCL_known\nCall-ID: n\nCSeq: 2 INVITE\nContent-Type: application/sdp\n\nv=0\nm=audio\n"),
	message("INVITE sip:a@b SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKauth\nFrom: <sip:a@b>;tag=1\nTo: <sip:c@d>\nCall-ID: auth\nCSeq: 2 INVITE\nProxy-Authorization: Digest username=\"u, realm=,nonce=\"\"\"\nProxy-Authorization: NoOneKnowsThisScheme opaque-data=here\nContent-Length: 0\n\n"),
	// Hardly messages at all.
	"\r\n\r\n\r\n\r\n", "INVITE", "SIP/2.0", "SIP/2.0 \r\n\r\n", "INVITE sip:a@b SIP/2.0\r\n", ": \r\n\r\n", "\x00\x00\x00\x00\x00\x00",
	"INVITE sip:a@b SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1\n\n", "A B SIP/2.0\r\n:\r\n\r\n", " \r\n \r\n\r\n",
}
