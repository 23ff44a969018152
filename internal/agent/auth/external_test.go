package auth

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"testing"

	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/directory"
	"posthaste/test/network"
)

func selfSigned() tls.Certificate {
	cert, _ := network.Certificate("mx.example")
	return cert
}

// TestClientKey: the key that a client shows is known, in a resumed session too.
func TestClientKey(t *testing.T) {
	server := &tls.Config{Certificates: []tls.Certificate{selfSigned()}, ClientAuth: tls.RequestClientCert}
	cert := selfSigned()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cache := tls.NewLRUClientSessionCache(1)
		for i := range 3 {
			client := &tls.Config{InsecureSkipVerify: true, ServerName: "mx.example", MaxVersion: version, ClientSessionCache: cache}
			if i < 2 {
				client.Certificates = []tls.Certificate{cert}
			} else {
				client.ClientSessionCache = nil
			}
			ours, theirs := net.Pipe()
			s := tls.Server(ours, server)
			got := make(chan sasl.ChannelBinding, 1)
			go func() {
				defer s.Close()
				s.Write([]byte("hello"))
				_, cb := Protection(s)
				got <- cb
			}()
			c := tls.Client(theirs, client)
			c.Read(make([]byte, 5)) // a ticket comes before it
			cb := <-got
			if resumed := c.ConnectionState().DidResume; resumed != (i == 1) {
				t.Fatalf("%s, %d: resumed %v", tls.VersionName(version), i, resumed)
			}
			if i < 2 != bytes.Equal(cb.Client, KeyOf(cert.Leaf)) {
				t.Errorf("%s, %d: key %x", tls.VersionName(version), i, cb.Client)
			}
			if offered := slices.Contains(sasl.Unbound.Mechanisms(cb), sasl.External); offered != (i < 2) {
				t.Errorf("%s, %d: EXTERNAL offered: %v", tls.VersionName(version), i, offered)
			}
			theirs.Close()
		}
	}
}

func TestExternal(t *testing.T) {
	a := house(t)
	key := func(n byte) []byte { return bytes.Repeat([]byte{n}, 32) }
	err := a.Directory.DB.Update(t.Context(), kv.Plan{Locks: []kv.Lock{directory.Lock}}, func(tx kv.Tx) error {
		return errors.Join(
			a.Directory.PutCertificate(tx, 1, directory.Certificate{Key: key(1), Name: "laptop"}),
			a.Directory.PutCertificate(tx, 1, directory.Certificate{Key: key(2), Name: "scanner", Protocols: directory.Submission}),
			a.Directory.PutCertificate(tx, 3, directory.Certificate{Key: key(3), Name: "bob's"}), // who is disabled
		)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key      byte
		protocol directory.Protocols
		authzid  string
		ok       bool
	}{
		{1, directory.IMAP, "", true},
		{1, directory.POP3, "ada@a.example", true},
		{1, directory.IMAP, "eve", false},
		{2, directory.Submission, "ada", true},
		{2, directory.IMAP, "", false},
		{3, directory.IMAP, "", false},
		{4, directory.IMAP, "", false},
		{4, directory.IMAP, "ada", false},
	} {
		cb := sasl.ChannelBinding{Client: key(c.key)}
		s, err := sasl.NewServer("external", a.For(home, c.protocol), cb)
		if err != nil {
			t.Fatal(err)
		}
		if ch, done, err := s.Next(t.Context(), nil); err != nil || done || ch == nil || len(ch) > 0 {
			t.Errorf("%q, %v, %v", ch, done, err)
		}
		_, done, err := s.Next(t.Context(), []byte(c.authzid))
		id := s.Identity()
		if c.ok && (err != nil || !done || id.Account != 1 || directory.Canonical(id.Login) != ada) || !c.ok && (!isFailed(err) || id.Account != 0) {
			t.Errorf("%+v: %v, %v, %v", c, id, done, err)
		}
	}
	for _, bad := range []string{"a\x00b", "\xff"} {
		s, _ := sasl.NewServer(sasl.External, a.For(home, directory.IMAP), sasl.ChannelBinding{Client: key(1)})
		if _, _, err := s.Next(t.Context(), []byte(bad)); !errors.Is(err, sasl.ErrMalformed) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := sasl.NewServer(sasl.External, a.For(home, directory.IMAP), sasl.ChannelBinding{Exporter: []byte("x")}); !errors.Is(err, sasl.ErrMechanism) {
		t.Errorf("without a certificate: %v", err)
	}
}
