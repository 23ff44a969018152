package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"strings"
	"testing"

	"posthaste/internal/base/dns/zone"
	"posthaste/internal/engine/blob/memblob"
	"posthaste/internal/engine/kv/memkv"
	"posthaste/internal/server/config"
	"posthaste/test/network"
)

// TestOnePort: by ALPN one port serves mail programs beside the web, and nobody else.
func TestOnePort(t *testing.T) {
	cert, roots := network.Certificate("mail.example.org")
	c := config.Default()
	c.Hostname = "mail.example.org"
	c.Listeners = []config.Listener{{Address: "127.0.0.1:0", Protocol: "https", TLS: "implicit", ALPN: []string{"imap", "sieve", "submission"}}}
	var at net.Addr
	h, err := Build(c, Outside{
		DB: memkv.New(), Blobs: memblob.New(), DNS: new(zone.Zone), Log: slog.New(slog.DiscardHandler), TLS: &tls.Config{Certificates: []tls.Certificate{cert}},
		Listen: func(addr string) (net.Listener, error) {
			ln, err := net.Listen("tcp", addr)
			if err == nil {
				at = ln.Addr()
			}
			return ln, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- h.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	for offer, want := range map[string]string{
		"imap": "* OK", "smtp": "220 mail.example.org", "managesieve": `"IMPLEMENTATION" "Posthaste`, "http/1.1": "HTTP/1.1 302", "": "HTTP/1.1 302", "pop3": "",
	} {
		cfg := &tls.Config{RootCAs: roots, ServerName: "mail.example.org"}
		if offer != "" {
			cfg.NextProtos = []string{offer}
		}
		conn, err := tls.Dial("tcp", at.String(), cfg)
		if err != nil {
			if want != "" || !strings.Contains(err.Error(), "no application protocol") {
				t.Errorf("%q: %v", offer, err)
			}
			continue
		}
		if strings.HasPrefix(want, "HTTP") {
			conn.Write([]byte("GET / HTTP/1.1\r\nHost: mail.example.org\r\n\r\n"))
		}
		line, err := bufio.NewReader(conn).ReadString('\n')
		if !strings.HasPrefix(line, want) || want == "" {
			t.Errorf("%q: %q %v, want %q", offer, line, err, want)
		}
		conn.Close()
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
