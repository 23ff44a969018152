package listen

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/test/network"
)

// TestSplit: each protocol gets what asks for it, and the last all else that is TLS; who
// says nothing, or speaks no TLS, keeps nobody waiting.
func TestSplit(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cert, roots := network.Certificate("mail.example.org")
	parts := Split(ln, "imap", "smtp")
	names := []string{"imap", "smtp", "http/1.1"}
	for i, p := range parts {
		go func() {
			for {
				c, err := p.Accept()
				if err != nil {
					return
				}
				c = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: names[i : i+1]})
				io.WriteString(c, names[i])
				c.Close()
			}
		}()
	}
	dial := func() net.Conn {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	dial() // and is silent
	rude := dial()
	io.WriteString(rude, "GET / HTTP/1.1\r\n\r\n")
	if b, err := io.ReadAll(rude); len(b) > 0 {
		t.Errorf("without TLS: %q %v", b, err)
	}
	for _, c := range []struct {
		offers []string
		want   string // "": it fails
	}{
		{[]string{"imap"}, "imap"},
		{[]string{"smtp"}, "smtp"},
		{[]string{"h2", "http/1.1"}, "http/1.1"},
		{nil, "http/1.1"},
		{[]string{"x", "smtp"}, "smtp"},
		{[]string{"pop3"}, ""},
	} {
		s := tls.Client(dial(), &tls.Config{RootCAs: roots, ServerName: "mail.example.org", NextProtos: c.offers})
		b, err := io.ReadAll(s)
		if string(b) != c.want || (err == nil) == (c.want == "") || c.offers != nil && s.ConnectionState().NegotiatedProtocol != c.want {
			t.Errorf("%q: %q, %q, %v", c.offers, b, s.ConnectionState().NegotiatedProtocol, err)
		}
	}
	parts[0].Close()
	if _, err := parts[0].Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if b, err := io.ReadAll(tls.Client(dial(), &tls.Config{RootCAs: roots, ServerName: "mail.example.org", NextProtos: []string{"smtp"}})); string(b) != "smtp" {
		t.Errorf("%q %v", b, err)
	}
	ln.Close()
	if _, err := parts[1].Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// TestSplitEach: who connects over and over and says nothing keeps only itself out.
func TestSplitEach(t *testing.T) {
	cert, _ := network.Certificate("mail.example.org")
	synctest.Test(t, func(t *testing.T) {
		var world network.Network
		port := netip.MustParseAddrPort("192.0.2.1:443")
		ln := world.Listener(port)
		part := Split(ln, "imap")[1]
		dial := func(from string) net.Conn {
			c, err := world.From(netip.MustParseAddr(from))(t.Context(), "tcp", port.String())
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		var out atomic.Int32
		for range helloEach + 5 {
			c := dial("198.51.100.1")
			go func() {
				c.Read(make([]byte, 1))
				out.Add(1)
				c.Close()
			}()
		}
		synctest.Wait()
		if n := out.Load(); n != 5 {
			t.Errorf("%d of %d were turned away", n, helloEach+5)
		}
		go func() {
			if c, err := part.Accept(); err == nil {
				c = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
				io.WriteString(c, "hello")
				c.Close()
			}
		}()
		other := dial("198.51.100.2")
		if b, err := io.ReadAll(tls.Client(other, &tls.Config{InsecureSkipVerify: true})); string(b) != "hello" {
			t.Errorf("another: %q %v", b, err)
		}
		other.Close()
		time.Sleep(helloTime)
		synctest.Wait()
		if n := out.Load(); n != helloEach+5 {
			t.Errorf("%d have been let go", n)
		}
		ln.Close()
		world.Wait()
	})
}
