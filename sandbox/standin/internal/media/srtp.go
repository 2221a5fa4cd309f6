// SRTP: SDES keys in a=crypto lines and the packet contexts made of them.

package media

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/pion/srtp/v3"
)

// suite is an SDES crypto suite (RFC 4568, RFC 6188).
type suite struct {
	name    string
	profile srtp.ProtectionProfile
	keyLen  int // bytes
	saltLen int // bytes
}

// suites is the order of our own offer.
var suites = []suite{
	{"AES_CM_128_HMAC_SHA1_80", srtp.ProtectionProfileAes128CmHmacSha1_80, 16, 14},
	{"AES_CM_128_HMAC_SHA1_32", srtp.ProtectionProfileAes128CmHmacSha1_32, 16, 14},
	{"AES_256_CM_HMAC_SHA1_80", srtp.ProtectionProfileAes256CmHmacSha1_80, 32, 14},
	{"AES_256_CM_HMAC_SHA1_32", srtp.ProtectionProfileAes256CmHmacSha1_32, 32, 14},
}

// cryptoLine is one usable a=crypto line with its master key and salt.
type cryptoLine struct {
	tag string
	suite
	key, salt []byte
}

var errCryptoLine = errors.New("crypto line not usable")

// parseCrypto reads the value of an a=crypto attribute. A line with an unknown
// suite, an MKI or session parameters is an error, so that another line of the
// same offer is taken.
func parseCrypto(v string) (cryptoLine, error) {
	f := strings.Fields(v)
	if len(f) != 3 {
		return cryptoLine{}, errCryptoLine
	}
	inline, ok := strings.CutPrefix(f[2], "inline:")
	if !ok || strings.Contains(inline, ";") {
		return cryptoLine{}, errCryptoLine
	}
	parts := strings.Split(inline, "|")
	for _, p := range parts[1:] {
		// A lifetime ("2^31") needs nothing from us: a call is shorter. An
		// MKI ("1:4") would change the packets.
		if strings.Contains(p, ":") {
			return cryptoLine{}, errCryptoLine
		}
	}
	for _, s := range suites {
		if s.name != f[1] {
			continue
		}
		// Some phones leave the padding out.
		b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(parts[0], "="))
		if err != nil || len(b) != s.keyLen+s.saltLen {
			return cryptoLine{}, errCryptoLine
		}
		return cryptoLine{tag: f[0], suite: s, key: b[:s.keyLen], salt: b[s.keyLen:]}, nil
	}
	return cryptoLine{}, errCryptoLine
}

// newCrypto makes a line with a fresh key.
func newCrypto(tag string, s suite) cryptoLine {
	b := make([]byte, s.keyLen+s.saltLen)
	_, _ = rand.Read(b)
	return cryptoLine{tag: tag, suite: s, key: b[:s.keyLen], salt: b[s.keyLen:]}
}

// value is the text behind "a=crypto:".
func (c cryptoLine) value() string {
	b := append(append([]byte(nil), c.key...), c.salt...)
	return fmt.Sprintf("%s %s inline:%s", c.tag, c.name, base64.StdEncoding.EncodeToString(b))
}

// context makes the SRTP context for one direction.
func (c cryptoLine) context() (*srtp.Context, error) {
	return srtp.CreateContext(c.key, c.salt, c.profile, srtp.SRTPReplayProtection(128))
}
