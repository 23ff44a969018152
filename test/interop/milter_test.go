//go:build interop

package interop

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"posthaste/internal/agent/filter"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/dkim"
	"posthaste/internal/proto/smtp"
	inner "posthaste/test/house"
)

// startOpenDKIM runs opendkim on a socket of its own, with a key for y.example, and
// gives the socket and the key's record.
func startOpenDKIM(t *testing.T) (socket, record string) {
	t.Helper()
	if _, err := exec.LookPath("opendkim"); err != nil {
		t.Skip("opendkim is not installed")
	}
	dir := t.TempDir()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	socket = filepath.Join(dir, "s")
	conf := file("conf", fmt.Sprintf("Socket local:%s\nMode s\nDomain y.example\nSelector sel\nKeyFile %s\nInternalHosts %s\nCanonicalization relaxed/simple\nSyslog no\nRequireSafeKeys no\nUMask 000\n",
		socket, file("key", string(block)), file("hosts", "192.0.2.1\n")))
	c := exec.Command("opendkim", "-f", "-x", conf)
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Signal(syscall.SIGTERM)
		c.Wait()
	})
	for range 100 {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			return socket, "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(pub)
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("opendkim does not listen")
	return "", ""
}

// TestMilter has Debian's opendkim sign messages as a filter, and verifies what it
// signed: each byte of header and body must have reached it as we keep it.
func TestMilter(t *testing.T) {
	socket, record := startOpenDKIM(t)
	h := inner.New(t, "mx.a.example")
	h.Account(0, "ada@a.example")
	h.MX.Filters = []filter.Filter{{Address: socket, Dial: func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "unix", socket) }}}
	peer := mail.Peer{Addr: netip.MustParseAddrPort("192.0.2.1:99"), Hello: "mx.y.example", Name: "mx.y.example"}
	head := "From: X <x@y.example>\r\nSubject: a\r\n\tfolded  one \r\nTo:ada@a.example\r\nX-Empty:\r\nDate: Sun, 22 Nov 2026 04:00:00 +0000\r\n\r\n"
	bodies := []string{"", "\r\n", "one line\r\n", " spaces \t\r\n\r\n.\r\n..\r\n\x80\xff\r\n\r\n\r\n", strings.Repeat(strings.Repeat("x", 997)+"\r\n", 300)}
	for _, body := range bodies {
		tx, err := h.MX.Begin(t.Context(), peer, inner.Address("x@y.example"), smtp.MailParams{})
		if err == nil {
			err = tx.Rcpt(t.Context(), inner.Address("ada@a.example"), smtp.RcptParams{})
		}
		if err == nil {
			err = tx.Data(t.Context(), strings.NewReader(head+body))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	got := h.Inbox("ada@a.example")
	if len(got) != len(bodies) {
		t.Fatalf("%d messages", len(got))
	}
	for i, m := range got {
		n := strings.Index(m, "\r\n\r\n") + 4
		lookup := func(_ context.Context, name string) ([]string, error) {
			if name != "sel._domainkey.y.example" {
				return nil, dkim.ErrNoKey
			}
			return []string{record}, nil
		}
		sigs, err := dkim.Verify(t.Context(), []byte(m[:n]), strings.NewReader(m[n:]), lookup, time.Now())
		if err != nil || len(sigs) != 1 || sigs[0].Result != dkim.Pass || m[n:] != bodies[i] {
			t.Errorf("message %d: %+v, %v\n%.600s", i, sigs, err, m)
		}
	}
}

// TestMilterSubmission has opendkim sign what somebody sends who has logged in from
// an address that it does not know: the login is all that it goes by.
func TestMilterSubmission(t *testing.T) {
	socket, record := startOpenDKIM(t)
	h := inner.New(t, "mx.y.example")
	id := h.Account(0, "x@y.example", "ada@y.example")[0]
	h.MSA.Filters = []filter.Filter{{Address: socket, Dial: func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "unix", socket) }}}
	peer := mail.Peer{Addr: netip.MustParseAddrPort("203.0.113.9:99"), Hello: "pc", Account: id, Login: inner.Address("x@y.example"), Mechanism: "PLAIN"}
	tx, err := h.MSA.Begin(t.Context(), peer, inner.Address("x@y.example"), smtp.MailParams{})
	if err == nil {
		err = tx.Rcpt(t.Context(), inner.Address("ada@y.example"), smtp.RcptParams{})
	}
	if err == nil {
		err = tx.Data(t.Context(), strings.NewReader("From: x@y.example\r\nBcc: z@y.example\r\n\r\nHello.\r\n"))
	}
	got := h.Inbox("ada@y.example")
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	header, body, _ := strings.Cut(got[0], "\r\n\r\n")
	lookup := func(context.Context, string) ([]string, error) { return []string{record}, nil }
	sigs, err := dkim.Verify(t.Context(), []byte(header+"\r\n\r\n"), strings.NewReader(body), lookup, time.Now())
	if err != nil || len(sigs) != 1 || sigs[0].Result != dkim.Pass {
		t.Errorf("%+v, %v\n%s", sigs, err, got[0])
	}
}
