package inbound

import (
	"container/list"
	"crypto/subtle"
	"fmt"
	"sync"
	"time"

	"github.com/icholy/digest"
)

const (
	// defaultRealm is what the service challenges with unless the trunk names
	// a realm of its own.
	defaultRealm = "LiveKit"
	// challengesKept bounds the memory of challenges; the oldest go first.
	challengesKept = 500
)

// challenge is what is remembered between a 407 and the INVITE that answers
// it. The call keeps its id, so both INVITEs carry the same To tag.
type challenge struct {
	key    string
	callID string // SCL_...
	nonce  string
	realm  string
}

// challenges is a bounded map of the open challenges by Call-ID and From tag.
type challenges struct {
	mu    sync.Mutex
	order list.List
	byKey map[string]*list.Element
}

func (c *challenges) get(key string) (challenge, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byKey[key]; e != nil {
		return e.Value.(challenge), true
	}
	return challenge{}, false
}

func (c *challenges) put(ch challenge) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byKey == nil {
		c.byKey = map[string]*list.Element{}
	}
	if e := c.byKey[ch.key]; e != nil {
		c.order.Remove(e)
	}
	c.byKey[ch.key] = c.order.PushBack(ch)
	for c.order.Len() > challengesKept {
		old := c.order.Remove(c.order.Front()).(challenge)
		delete(c.byKey, old.key)
	}
}

func (c *challenges) drop(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byKey[key]; e != nil {
		c.order.Remove(e)
		delete(c.byKey, key)
	}
}

// newNonce has the recorded form: microseconds and the Call-ID.
func newNonce(now time.Time, sipCallID string) string {
	return fmt.Sprintf("%d-%s", now.UnixMicro(), sipCallID)
}

// header is the Proxy-Authenticate value; no qop and no opaque.
func (c challenge) header() string {
	return fmt.Sprintf(`Digest realm="%s", nonce="%s", algorithm=MD5`, c.realm, c.nonce)
}

// refusal is the reason phrase of the 401 to credentials that do not answer
// the challenge for the user; "" if they do. Without a challenge nothing does.
func (c *challenge) refusal(authorization, method, user, password string) string {
	const bad, wrong = "Bad credentials", "Unauthorized"
	cred, err := digest.ParseCredentials(authorization)
	switch {
	case err != nil:
		return bad
	case cred.Username != user:
		return wrong
	case c == nil:
		return bad
	case !c.answeredBy(cred, method, user, password):
		return wrong
	}
	return ""
}

func (c *challenge) answeredBy(cred *digest.Credentials, method, user, password string) bool {
	if cred.Nonce != c.nonce || cred.Realm != c.realm {
		return false
	}
	want, err := digest.Digest(&digest.Challenge{Realm: c.realm, Nonce: c.nonce, Algorithm: "MD5", QOP: qop(cred)},
		digest.Options{Method: method, URI: cred.URI, Username: user, Password: password, Cnonce: cred.Cnonce, Count: max(cred.Nc, 1)})
	return err == nil && subtle.ConstantTimeCompare([]byte(want.Response), []byte(cred.Response)) == 1
}

// qop follows a client that sends a qop although none was offered.
func qop(cred *digest.Credentials) []string {
	if cred.QOP == "" {
		return nil
	}
	return []string{cred.QOP}
}
