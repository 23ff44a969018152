package mail

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestStatus(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Status
		ok   bool
	}{
		{"5.1.1", Status{5, 1, 1}, true},
		{"2.0.0", Status{2, 0, 0}, true},
		{"4.999.999", Status{4, 999, 999}, true},
		{"3.0.0", Status{}, false},
		{"0.1.1", Status{}, false},
		{"5.1", Status{}, false},
		{"5.1.1.1", Status{}, false},
		{"5.1000.1", Status{}, false},
		{"5.-1.1", Status{}, false},
		{"5..1", Status{}, false},
		{"", Status{}, false},
		{"5.1.1 ", Status{}, false},
	} {
		got, err := ParseStatus(c.in)
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("%q: %v, %v", c.in, got, err)
		}
		if c.ok && got.String() != c.in {
			t.Errorf("%q prints as %s", c.in, got)
		}
	}
	if s := (Status{4, 2, 1}); !s.Temporary() || s.Permanent() {
		t.Error("4.2.1 is temporary")
	}
}

func TestStatusOf(t *testing.T) {
	no := Refuse("5.7.1", "not here", "because")
	for _, c := range []struct {
		err    error
		status string
		text   string
	}{
		{nil, "2.0.0", "OK"},
		{no, "5.7.1", "not here"},
		{fmt.Errorf("far away: %w", no), "5.7.1", "not here"},
		{fmt.Errorf("mailbox: %w", ErrOverQuota), "4.2.2", "mailbox full"},
		{fmt.Errorf("mailbox: %w", ErrInUse), "4.2.1", "mailbox in use, try again later"},
		{fmt.Errorf("store: %w", ErrFull), "4.3.1", "no room on this server for the moment, try again later"},
		{errors.New("disk on fire at /var"), "4.3.0", "local error, try again later"},
		{ErrNotFound, "4.3.0", "local error, try again later"},
	} {
		if st, text := StatusOf(c.err); st.String() != c.status || text != c.text {
			t.Errorf("%v: %s %q", c.err, st, text)
		}
	}
	if got := no.Error(); got != "5.7.1 not here (because)" {
		t.Errorf("for the log: %s", got)
	}
	for _, bad := range []string{"2.0.0", "x", ""} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Refuse(%q) did not panic", bad)
				}
			}()
			Refuse(bad, "", "")
		}()
	}
}

// TestTraceID: ids sort by time, tell it, and are read as they were printed.
func TestTraceID(t *testing.T) {
	now := time.UnixMilli(1_795_000_000_123)
	a, b := NewTraceID(now), NewTraceID(now.Add(time.Millisecond))
	if a.String() >= b.String() {
		t.Errorf("%s does not sort before %s", a, b)
	}
	if !a.Time().Equal(now) {
		t.Errorf("time %v", a.Time())
	}
	if c := NewTraceID(now); c == a {
		t.Error("the same id twice")
	}
	if got, err := ParseTraceID(a.String()); got != a || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "0", a.String() + "0", a.String()[1:], "zzzzzzzzzzzzzzzz", "ABCDEFGHIJKLMNOP"} {
		if id, err := ParseTraceID(bad); err == nil || !id.IsZero() {
			t.Errorf("%q is %v", bad, id)
		}
	}
}

func TestBlobID(t *testing.T) {
	id := BlobID{1, 2, 15: 255}
	if got, err := ParseBlobID(id.String()); got != id || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "00", id.String() + "00", "zz" + id.String()[2:]} {
		if got, err := ParseBlobID(bad); err == nil || !got.IsZero() {
			t.Errorf("%q is %v", bad, got)
		}
	}
}

func TestProtocol(t *testing.T) {
	secure := &TLS{}
	for _, c := range []struct {
		peer Peer
		base string
		utf8 bool
		want string
	}{
		{Peer{}, "SMTP", false, "SMTP"},
		{Peer{}, "ESMTP", false, "ESMTP"},
		{Peer{TLS: secure}, "ESMTP", false, "ESMTPS"},
		{Peer{TLS: secure, Account: 1}, "ESMTP", false, "ESMTPSA"},
		{Peer{Account: 1}, "ESMTP", false, "ESMTPA"},
		{Peer{TLS: secure, Account: 1}, "ESMTP", true, "UTF8SMTPSA"},
		{Peer{TLS: secure}, "LMTP", true, "UTF8LMTPS"},
	} {
		if got := c.peer.Protocol(c.base, c.utf8); got != c.want {
			t.Errorf("%+v %s %v: %s, want %s", c.peer, c.base, c.utf8, got, c.want)
		}
	}
}
