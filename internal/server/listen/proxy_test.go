package listen

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
)

func TestProxied(t *testing.T) {
	for _, c := range []struct {
		trusted, send, from, rest string
	}{
		{"127.0.0.0/8", "PROXY TCP4 192.0.2.7 192.0.2.2 12345 25\r\nEHLO x\r\n", "192.0.2.7:12345", "EHLO x\r\n"},
		{"127.0.0.0/8", "PROXY UNKNOWN\r\nEHLO x\r\n", "", "EHLO x\r\n"},
		{"10.0.0.0/8", "PROXY TCP4 192.0.2.7 192.0.2.2 12345 25\r\n", "", "PROXY TCP4 192.0.2.7 192.0.2.2 12345 25\r\n"},
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		p := Proxied(ln, []netip.Prefix{netip.MustParsePrefix(c.trusted)}, slog.New(slog.DiscardHandler))
		// One that sends no header does not keep the next one waiting.
		idle, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer idle.Close()
		if c.trusted == "10.0.0.0/8" {
			first, err := p.Accept()
			if err != nil {
				t.Fatal(err)
			}
			first.Close()
		}
		out, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		io.WriteString(out, c.send)
		in, err := p.Accept()
		if err != nil {
			t.Fatal(err)
		}
		from := c.from
		if from == "" {
			from = out.LocalAddr().String()
		}
		if in.RemoteAddr().String() != from {
			t.Errorf("%q: from %v, want %s", c.send, in.RemoteAddr(), from)
		}
		if l, err := bufio.NewReader(in).ReadString('\n'); l != c.rest || err != nil {
			t.Errorf("%q: then %q, %v", c.send, l, err)
		}
		in.Close()
		p.Close()
		if _, err := p.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Error("accept after close:", err)
		}
	}
}

func TestProxiedWithoutHeader(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := Proxied(ln, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, slog.New(slog.DiscardHandler))
	defer p.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "EHLO stranger.example\r\n")
	if b, err := io.ReadAll(c); len(b) > 0 || err != nil && !isReset(err) {
		t.Errorf("%q, %v", b, err)
	}
}

func isReset(err error) bool {
	_, ok := errors.AsType[*net.OpError](err)
	return ok
}
