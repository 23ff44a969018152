package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"posthaste/internal/proto/message"
)

// signed are the fields that are signed, each once more than it is there: so
// that none can be added. RFC 6376 §5.4, §8.15
var signed = []string{
	"from", "to", "cc", "subject", "date", "message-id", "reply-to", "sender", "in-reply-to", "references",
	"mime-version", "content-type", "content-transfer-encoding", "list-unsubscribe", "list-unsubscribe-post",
}

// Sign gives the DKIM-Signature field for a message whose header (with its empty
// line) and body are given, with its line end. It goes in front of the header.
func (s *Signer) Sign(header []byte, body io.Reader, now time.Time) ([]byte, error) {
	bh := &bodyHash{canon: relaxed, h: sha256.New(), limit: -1}
	if _, err := io.Copy(bh, body); err != nil {
		return nil, fmt.Errorf("dkim: read the body: %w", err)
	}
	counts := map[string]int{}
	for f := range message.Fields(header) {
		counts[strings.ToLower(string(f.Name))]++
	}
	if counts["from"] == 0 {
		return nil, fmt.Errorf("dkim: the message has no From field")
	}
	var names []string
	for _, name := range signed {
		for range counts[name] + 1 {
			names = append(names, name)
		}
	}
	v := " v=1; a=" + s.algorithm() + "; c=relaxed/relaxed;\r\n\td=" + string(s.Domain) + "; s=" + s.Selector + ";\r\n\tt=" + strconv.FormatInt(now.Unix(), 10)
	if s.Expires > 0 {
		v += "; x=" + strconv.FormatInt(now.Add(s.Expires).Unix(), 10)
	}
	v += ";\r\n\th=" + folded(names) + ";\r\n\tbh=" + b64(bh.end()) + ";\r\n\tb="
	c := candidate{header: relaxed, fields: names, from: len(v), to: len(v)}
	c.field = message.Field{Name: []byte("DKIM-Signature"), Value: []byte(v), Raw: []byte("DKIM-Signature:" + v)}
	sig, err := s.sign(c.digest(header))
	if err != nil {
		return nil, err
	}
	return []byte("DKIM-Signature:" + v + wrapped(b64(sig)) + "\r\n"), nil
}

func (s *Signer) algorithm() string {
	if _, ok := s.Key.Public().(ed25519.PublicKey); ok {
		return "ed25519-sha256"
	}
	return "rsa-sha256"
}

func (s *Signer) sign(digest []byte) ([]byte, error) {
	opts := crypto.SignerOpts(crypto.SHA256)
	switch s.Key.Public().(type) {
	case *rsa.PublicKey:
	case ed25519.PublicKey:
		opts = crypto.Hash(0) // signs the digest as it is, RFC 8463 §3
	default:
		return nil, fmt.Errorf("dkim: no such kind of key: %T", s.Key)
	}
	sig, err := s.Key.Sign(rand.Reader, digest, opts)
	if err != nil {
		return nil, fmt.Errorf("dkim: %w", err)
	}
	return sig, nil
}

const lineLength = 70

// folded joins names by colons, on lines that are not too long.
func folded(names []string) string {
	var b strings.Builder
	line := 0
	for i, n := range names {
		if i > 0 {
			b.WriteByte(':')
			if line += 1 + len(n); line > lineLength {
				b.WriteString("\r\n\t ")
				line = len(n)
			}
		}
		b.WriteString(n)
	}
	return b.String()
}

// wrapped breaks base64 into lines.
func wrapped(s string) string {
	var b strings.Builder
	for len(s) > lineLength {
		b.WriteString(s[:lineLength] + "\r\n\t ")
		s = s[lineLength:]
	}
	b.WriteString(s)
	return b.String()
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
