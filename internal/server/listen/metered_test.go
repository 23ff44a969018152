package listen

import (
	"errors"
	"io"
	"net"
	"testing"
)

// TestMetered: connections and bytes are told of, and an end once.
func TestMetered(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var opened, closed, in, out int
	m := Metered(ln, &Meter{
		Opened: func() { opened++ }, Closed: func() { closed++ },
		In: func(n int) { in += n }, Out: func(n int) { out += n },
	})
	far, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	near, err := m.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if near.RemoteAddr().String() != far.LocalAddr().String() {
		t.Error("it comes from", near.RemoteAddr())
	}
	io.WriteString(far, "hello")
	if _, err := io.ReadFull(near, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	io.WriteString(near, "you")
	if opened != 1 || closed != 0 || in != 5 || out != 3 {
		t.Error(opened, closed, in, out)
	}
	near.Close()
	near.Close()
	m.Close()
	if _, err := m.Accept(); !errors.Is(err, net.ErrClosed) || opened != 1 || closed != 1 {
		t.Error(err, opened, closed)
	}
}
