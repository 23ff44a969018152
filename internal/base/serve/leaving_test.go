package serve

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
)

// TestLeaving: when nothing more is taken, who is there goes on, and is waited for.
func TestLeaving(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	leave, left := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Connections(t.Context(), Leaving(leave, ln), slog.New(slog.DiscardHandler), func(c net.Conn) {
			defer c.Close()
			io.Copy(c, c)
		})
	}()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	echo := func(s string) {
		t.Helper()
		c.Write([]byte(s))
		read(t, c, s)
	}
	echo("before")
	left()
	if _, err := ln.Accept(); err == nil {
		t.Error("the listener takes more")
	}
	echo("after")
	select {
	case err := <-ended:
		t.Fatal("it has not waited:", err)
	default:
	}
	c.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
