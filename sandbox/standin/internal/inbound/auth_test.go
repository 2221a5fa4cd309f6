package inbound

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/icholy/digest"
)

func TestChallenge(t *testing.T) {
	now := time.UnixMicro(1795537045511275)
	c := challenge{realm: defaultRealm, nonce: newNonce(now, "v1or1vxt9645hj@miniua")}
	// As recorded (auth_ok).
	if got, want := c.header(), `Digest realm="LiveKit", nonce="1795537045511275-v1or1vxt9645hj@miniua", algorithm=MD5`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	chal, err := digest.ParseChallenge(c.header())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		user, password string
		want           string
	}{{"u1", "p1", ""}, {"u1", "wrong", "Unauthorized"}, {"nobody", "p1", "Unauthorized"}} {
		cred, err := digest.Digest(chal, digest.Options{Method: "INVITE", URI: "sip:+1@x", Username: v.user, Password: v.password})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.refusal(cred.String(), "INVITE", "u1", "p1"); got != v.want {
			t.Errorf("%s/%s: %v", v.user, v.password, got)
		}
		if v.want == "" && (*challenge)(nil).refusal(cred.String(), "INVITE", "u1", "p1") != "Bad credentials" {
			t.Error("credentials that nobody asked for are accepted")
		}
		if v.want == "" && "" == c.refusal(strings.Replace(cred.String(), c.nonce, "other", 1), "INVITE", "u1", "p1") {
			t.Error("a foreign nonce is accepted")
		}
	}
	for _, garbage := range []string{"garbage", "", "Basic dTE6cDE="} {
		if got := c.refusal(garbage, "INVITE", "u1", "p1"); got != "Bad credentials" {
			t.Errorf("%q: %q", garbage, got)
		}
	}
}

func TestChallengesAreBounded(t *testing.T) {
	var c challenges
	for i := range challengesKept + 1 {
		c.put(challenge{key: fmt.Sprint(i)})
	}
	if _, ok := c.get("0"); ok {
		t.Error("the oldest is kept")
	}
	if _, ok := c.get("1"); !ok {
		t.Error("a younger one is lost")
	}
	c.drop("1")
	if _, ok := c.get("1"); ok {
		t.Error("dropped and still there")
	}
}
