package carrier

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestReach: why one does not get as far as the login is said, and does not take for ever.
func TestReach(t *testing.T) {
	for name, c := range map[string]struct {
		security string
		serve    func(net.Conn) // nil: nobody is there
		want     string
		took     time.Duration
	}{
		"nobody":       {"tls", nil, "old.example cannot be reached at port 993: connection refused", 0},
		"silent":       {"none", func(c net.Conn) { io.Copy(io.Discard, c) }, "it says nothing: if it begins with TLS, choose tls", greetingTime},
		"hangs up":     {"starttls", func(c net.Conn) { c.Close() }, "choose tls", 0},
		"clear":        {"tls", func(c net.Conn) { go io.Copy(io.Discard, c); io.WriteString(c, "* OK ready\r\n") }, "choose starttls", 0},
		"no mail here": {"none", func(c net.Conn) { io.WriteString(c, "220 ready\r\n") }, "it greets with", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &Server{Host: "old.example", Security: c.security, User: "ada", Dial: func(context.Context, string, string) (net.Conn, error) {
					if c.serve == nil {
						return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
					}
					ours, theirs := net.Pipe()
					t.Cleanup(func() { theirs.Close() })
					go c.serve(theirs)
					return ours, nil
				}}
				begun := time.Now()
				_, err := s.dial(t.Context())
				if err == nil || !strings.Contains(err.Error(), c.want) || time.Since(begun) != c.took {
					t.Errorf("after %v: %v", time.Since(begun), err)
				}
				if name != "silent" {
					return
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if _, err := s.dial(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("interrupted: %v", err)
				}
			})
		})
	}
}
