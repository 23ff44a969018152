//go:build interop

package interop

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"posthaste/internal/proto/dkim"
)

// keyPair is a key of ours, as others want it too.
type keyPair struct {
	ours      *dkim.Signer
	algorithm string // as RFC 6376 calls it
	python    string // as dkimpy wants the key
}

// signingKeys makes a key of each kind for y.example, and their records.
func signingKeys(t *testing.T) (pairs []keyPair, records map[string]string) {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, e, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(r)})
	signer := func(sel string, k crypto.Signer) *dkim.Signer {
		return &dkim.Signer{Domain: "y.example", Selector: sel, Key: k, Expires: time.Hour}
	}
	pairs = []keyPair{
		{signer("rsa", r), "rsa-sha256", string(block)},
		{signer("ed", e), "ed25519-sha256", base64.StdEncoding.EncodeToString(e.Seed())},
	}
	records = map[string]string{}
	for _, p := range pairs {
		if records[p.ours.Name()], err = p.ours.Record(); err != nil {
			t.Fatal(err)
		}
	}
	return pairs, records
}

// dkimpy does something with a message.
func dkimpy(t *testing.T, ask map[string]any) string {
	t.Helper()
	in, err := json.Marshal(ask)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("/usr/bin/python3", "testdata/signatures.py")
	c.Stdin = bytes.NewReader(in)
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, said.Bytes())
	}
	return strings.TrimSpace(string(out))
}

// parts gives the header, with its empty line, and the body.
func parts(msg []byte) (header, body []byte) {
	n := bytes.Index(msg, []byte("\r\n\r\n")) + 4
	return msg[:n], msg[n:]
}

// verified gives what we say of a message's signatures.
func verified(t *testing.T, msg []byte, records map[string]string) string {
	t.Helper()
	header, body := parts(msg)
	sigs, err := dkim.Verify(t.Context(), header, bytes.NewReader(body), lookupIn(records), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range sigs {
		out = append(out, strings.TrimSpace(string(s.Result)+" "+s.Reason))
	}
	return strings.Join(out, ", ")
}

func lookupIn(records map[string]string) dkim.Lookup {
	return func(_ context.Context, name string) ([]string, error) {
		if r := records[name]; r != "" {
			return []string{r}, nil
		}
		return nil, dkim.ErrNoKey
	}
}

// signedByUs signs a message with all keys.
func signedByUs(t *testing.T, msg []byte, pairs []keyPair) []byte {
	t.Helper()
	header, body := parts(msg)
	var sigs []byte
	for _, p := range pairs {
		sig, err := p.ours.Sign(header, bytes.NewReader(body), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		sigs = append(sigs, sig...)
	}
	return append(sigs, msg...)
}

// TestDkimpy: what we sign, dkimpy verifies, and what it signs, we do; a message
// that was changed passes neither.
func TestDkimpy(t *testing.T) {
	pairs, records := signingKeys(t)
	for i, msg := range corpus() {
		signed := signedByUs(t, msg, pairs)
		ask := map[string]any{"do": "verify", "records": records, "signatures": len(pairs), "message": signed}
		if got := dkimpy(t, ask); got != "pass" {
			t.Errorf("message %d of ours: %s\n%.800s", i, got, signed)
		}
		if i == 0 {
			ask["message"] = bytes.Replace(signed, []byte("this is all"), []byte("this is not all"), 1)
			if got := dkimpy(t, ask); got == "pass" {
				t.Error("a message that was changed passes")
			}
		}
		for _, p := range pairs {
			for _, c := range []string{"relaxed/relaxed", "simple/simple", "relaxed/simple"} {
				out := dkimpy(t, map[string]any{
					"do": "sign", "records": records, "message": msg, "selector": p.ours.Selector, "domain": "y.example",
					"key": p.python, "algorithm": p.algorithm, "canon": c,
				})
				theirs, err := base64.StdEncoding.DecodeString(out)
				if err != nil {
					t.Fatal(err, out)
				}
				if got := verified(t, theirs, records); got != "pass" {
					t.Errorf("message %d of dkimpy, %s %s: %s\n%.800s", i, p.algorithm, c, got, theirs)
				}
			}
		}
	}
}

// TestARCWithDkimpy: seals of ours hold for dkimpy, its for us, and one after the
// other.
func TestARCWithDkimpy(t *testing.T) {
	pairs, records := signingKeys(t)
	rsaKey := pairs[0]
	seal := func(msg []byte) []byte {
		t.Helper()
		header, body := parts(msg)
		ch, err := dkim.VerifyChain(t.Context(), header, bytes.NewReader(body), lookupIn(records), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		set, err := rsaKey.ours.Seal(header, bytes.NewReader(body), ch, "mx.y.example; dkim=pass header.d=y.example", time.Now())
		if err != nil || len(set) == 0 {
			t.Fatal(len(set), err)
		}
		return append(set, msg...)
	}
	sealedByThem := func(msg []byte) []byte {
		t.Helper()
		// It seals what its own host has said of the message.
		arc := "none"
		if bytes.Contains(msg, []byte("ARC-Seal:")) {
			arc = "pass"
		}
		msg = append([]byte("Authentication-Results: mx.y.example; arc="+arc+"; dkim=pass header.d=y.example\r\n"), msg...)
		out := dkimpy(t, map[string]any{"do": "seal", "records": records, "message": msg, "selector": "rsa", "domain": "y.example", "key": rsaKey.python})
		b, err := base64.StdEncoding.DecodeString(out)
		if err != nil {
			t.Fatal(err, out)
		}
		return b
	}
	for i, msg := range corpus() {
		signed := signedByUs(t, msg, pairs[:1])
		for name, sealed := range map[string][]byte{
			"ours": seal(signed), "theirs": sealedByThem(signed), "ours after theirs": seal(sealedByThem(signed)), "theirs after ours": sealedByThem(seal(signed)),
		} {
			header, body := parts(sealed)
			ch, err := dkim.VerifyChain(t.Context(), header, bytes.NewReader(body), lookupIn(records), time.Now())
			if err != nil || ch.Result != dkim.Pass {
				t.Errorf("message %d, %s: we say %s %s, %v\n%.1500s", i, name, ch.Result, ch.Reason, err, sealed)
			}
			if got := dkimpy(t, map[string]any{"do": "chain", "records": records, "message": sealed}); got != "pass" {
				t.Errorf("message %d, %s: %s\n%.1500s", i, name, got, sealed)
			}
		}
	}
}

// TestMsgauth: the same with go-msgauth, which knows no ARC.
func TestMsgauth(t *testing.T) {
	pairs, records := signingKeys(t)
	look := func(name string) ([]string, error) {
		if r := records[name]; r != "" {
			return []string{r}, nil
		}
		return nil, fmt.Errorf("no record of %s", name)
	}
	for i, msg := range corpus() {
		signed := signedByUs(t, msg, pairs)
		list, err := msgauth.VerifyWithOptions(bytes.NewReader(signed), &msgauth.VerifyOptions{LookupTXT: look})
		if err != nil || len(list) != len(pairs) {
			t.Fatal(list, err)
		}
		for _, v := range list {
			if v.Err != nil {
				t.Errorf("message %d of ours: %v", i, v.Err)
			}
		}
		for _, p := range pairs {
			for _, c := range [...]msgauth.Canonicalization{msgauth.CanonicalizationRelaxed, msgauth.CanonicalizationSimple} {
				var out bytes.Buffer
				o := &msgauth.SignOptions{Domain: "y.example", Selector: p.ours.Selector, Signer: p.ours.Key, HeaderCanonicalization: c, BodyCanonicalization: c}
				if err := msgauth.Sign(&out, bytes.NewReader(msg), o); err != nil {
					t.Fatal(err)
				}
				if got := verified(t, out.Bytes(), records); got != "pass" {
					t.Errorf("message %d of go-msgauth, %s %s: %s", i, p.algorithm, c, got)
				}
			}
		}
	}
}
