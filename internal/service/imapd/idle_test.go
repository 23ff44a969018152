package imapd

import (
	"bufio"
	"compress/flate"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"

	"posthaste/internal/store/mailbox"
)

// A halting connection keeps back what is behind the first byte of what is written to it,
// if it is told to, until it is told to go on.
type halting struct {
	net.Conn
	halt bool
	rest []byte
}

func (h *halting) Write(p []byte) (int, error) {
	if !h.halt {
		return h.Conn.Write(p)
	}
	rest := p
	if h.rest == nil {
		if n, err := h.Conn.Write(p[:1]); err != nil {
			return n, err
		}
		rest, h.rest = p[1:], []byte{}
	}
	h.rest = append(h.rest, rest...)
	return len(p), nil
}

func (h *halting) goOn() {
	h.halt = false
	h.Conn.Write(h.rest)
	h.rest = nil
}

// TestNewsInBetween: news are told while a client has sent the first byte of a line, or of
// what stands for it under TLS or compressed, and then the rest is understood.
func TestNewsInBetween(t *testing.T) {
	for _, how := range []string{"clear", "tls", "deflate"} {
		t.Run(how, func(t *testing.T) {
			srv := newServer(t)
			if how == "tls" {
				srv.TLS, srv.ImplicitTLS = certificate(), true
			}
			raw := newSocket(dial(t, srv))
			h := &halting{Conn: raw}
			var conn net.Conn = h
			if how == "tls" {
				conn = tls.Client(h, &tls.Config{InsecureSkipVerify: true})
			}
			c := clientOn(t, conn, "ada")
			write := c.send
			if how == "deflate" {
				c.want("COMPRESS DEFLATE", "OK compression begins")
				c.r = bufio.NewReader(flate.NewReader(raw))
				w, err := flate.NewWriter(h, flate.BestSpeed)
				if err != nil {
					t.Fatal(err)
				}
				write = func(text string) {
					io.WriteString(w, text)
					w.Flush()
				}
			}
			expect := func(want string) {
				t.Helper()
				if l := c.line(); !strings.HasPrefix(l, want) {
					t.Fatalf("%q, want %q", l, want)
				}
			}
			write("s SELECT INBOX\r\n")
			for !strings.HasPrefix(c.line(), "s OK") {
			}
			write("i IDLE\r\n")
			expect("+ idling")
			for n := range 5 {
				h.halt = true
				write("DONE\r\n")
				deliver(t, srv, mailbox.Inbox, plain)
				if how != "clear" { // where the first byte is one, the line has begun
					expect("* " + string(rune('1'+n)) + " EXISTS")
				}
				h.goOn()
				if how == "clear" {
					expect("* " + string(rune('1'+n)) + " EXISTS")
				}
				expect("i OK IDLE completed")
				write("i IDLE\r\n")
				expect("+ idling")
			}
		})
	}
}

// BenchmarkIdle measures what a session takes while its client waits, with the client's
// end of the connection: of the heap, and of that what stacks are; waiting for the next
// command, in IDLE, and in IDLE once it has been told something.
func BenchmarkIdle(b *testing.B) {
	for _, how := range []string{"clear", "tls"} {
		for _, what := range []string{"command", "idle", "told"} {
			b.Run(how+"/"+what, func(b *testing.B) {
				for b.Loop() {
					idleMemory(b, how == "tls", what)
				}
			})
		}
	}
}

func idleMemory(b *testing.B, secure bool, what string) {
	const n = 300
	srv := newServer(b)
	srv.Limits.PerAccount = 2 * n
	if secure {
		srv.TLS, srv.ImplicitTLS = certificate(), true
	}
	deliver(b, srv, mailbox.Inbox, plain)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go srv.Serve(b.Context(), ln)
	open := func() *client {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		if secure {
			conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		}
		c := clientOn(b, conn, "ada")
		c.do("SELECT INBOX")
		return c
	}
	defer open().conn.Close() // what all share
	cs := make([]*client, n)
	var before runtime.MemStats
	inUse()
	runtime.ReadMemStats(&before)
	for i := range cs {
		cs[i] = open()
		defer cs[i].conn.Close()
		if what != "command" {
			cs[i].send("i IDLE\r\n")
			cs[i].line()
		}
	}
	if what == "told" {
		deliver(b, srv, mailbox.Inbox, plain)
		for _, c := range cs {
			c.line()
		}
	}
	for _, c := range cs {
		c.r = nil
	}
	var now runtime.MemStats
	inUse()
	runtime.ReadMemStats(&now)
	b.ReportMetric(float64(now.HeapAlloc+now.StackInuse-before.HeapAlloc-before.StackInuse)/n, "B/session")
	b.ReportMetric(float64(now.StackInuse-before.StackInuse)/n, "stack-B/session")
}
