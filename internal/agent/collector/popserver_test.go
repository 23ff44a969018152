package collector_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"

	"posthaste/internal/proto/pop3"
	"posthaste/test/network"
)

// A letter lies at a popServer.
type letter struct{ id, text string }

// A popServer is a POP3 server with one maildrop, as good or as bad as a test wants it.
type popServer struct {
	user, password string
	caps           string // lines of CAPA; "": it does not know CAPA
	noUIDL         bool
	stamp          string
	refuse         string      // what it answers to whoever logs in
	cut            int         // bytes after which it hangs up, of each session; 0: never
	hangsAt        string      // a verb at which it hangs up
	tls            *tls.Config // for STLS; nil: it does not know it
	early          string      // what it says right behind its answer to STLS, in clear
	token          string      // the access token that it takes, by XOAUTH2 or OAUTHBEARER
	curt           bool        // it refuses a token without saying why first

	mu       sync.Mutex
	letters  []letter
	sessions int
	fetched  int
	log      []string
}

func (s *popServer) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	s.mu.Lock()
	s.sessions++
	s.mu.Unlock()
	var n network.Network
	at := netip.MustParseAddrPort("192.0.2.7:110")
	n.Listen(at, s.serve)
	return n.From(netip.MustParseAddr("192.0.2.1"))(ctx, "tcp", at.String())
}

func (s *popServer) left() (ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.letters {
		ids = append(ids, l.id)
	}
	return ids
}

func (s *popServer) put(list ...letter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.letters = append(s.letters, list...)
}

func (s *popServer) said(verb string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.log {
		if strings.HasPrefix(l, verb) {
			n++
		}
	}
	return n
}

// cutter hangs up after so many bytes.
type cutter struct {
	net.Conn
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	if c.left > 0 {
		if c.left -= len(p); c.left <= 0 {
			c.Conn.Write(p[:len(p)+c.left])
			c.Conn.Close()
			return 0, io.ErrClosedPipe
		}
	}
	return c.Conn.Write(p)
}

func (s *popServer) serve(conn net.Conn) {
	defer conn.Close()
	s.mu.Lock()
	drop := append([]letter(nil), s.letters...)
	w := bufio.NewWriter(&cutter{conn, s.cut})
	s.mu.Unlock()
	gone := map[int]bool{}
	say := func(format string, args ...any) { fmt.Fprintf(w, format+"\r\n", args...) }
	say("+OK ready %s", s.stamp)
	in := bufio.NewReader(conn)
	for {
		if in.Buffered() == 0 && w.Flush() != nil {
			return
		}
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		s.mu.Lock()
		s.log = append(s.log, line)
		s.mu.Unlock()
		verb, arg, _ := strings.Cut(line, " ")
		if s.hangsAt == verb {
			w.Flush()
			return
		}
		n := 0
		fmt.Sscan(arg, &n)
		switch verb {
		case "CAPA":
			if s.caps == "" {
				say("-ERR what?")
				continue
			}
			say("+OK\r\n%s\r\n.", s.caps)
		case "STLS":
			if s.tls == nil {
				say("-ERR what?")
				continue
			}
			say("+OK begin%s", s.early)
			w.Flush()
			conn = tls.Server(conn, s.tls)
			in, w = bufio.NewReader(conn), bufio.NewWriter(conn)
		case "USER":
			say("+OK")
		case "PASS", "APOP", "AUTH":
			ok := verb == "PASS" && arg == s.password
			if verb == "APOP" {
				ok = arg == s.user+" "+hex.EncodeToString(pop3.Stamped(s.stamp, s.password))
			}
			if verb == "AUTH" {
				mech, initial, _ := strings.Cut(arg, " ")
				if initial == "" {
					say("+ ")
					w.Flush()
					line, _ := in.ReadString('\n')
					initial = strings.TrimRight(line, "\r\n")
				}
				b, _ := base64.StdEncoding.DecodeString(initial)
				switch s.mu.Lock(); mech {
				case "PLAIN":
					ok = string(b) == "\x00"+s.user+"\x00"+s.password
				case "XOAUTH2":
					ok = string(b) == "user="+s.user+"\x01auth=Bearer "+s.token+"\x01\x01"
				case "OAUTHBEARER":
					ok = string(b) == "n,a="+s.user+",\x01auth=Bearer "+s.token+"\x01\x01"
				}
				s.mu.Unlock()
				if !ok && mech != "PLAIN" && !s.curt && s.refuse == "" {
					say("+ %s", base64.StdEncoding.EncodeToString([]byte(`{"status":"invalid_token"}`)))
					w.Flush()
					if l, _ := in.ReadString('\n'); l != "\r\n" && l != "AQ==\r\n" {
						return
					}
				}
			}
			switch {
			case s.refuse != "":
				say("-ERR %s", s.refuse)
			case ok:
				say("+OK")
			default:
				say("-ERR [AUTH] no")
			}
		case "LIST":
			say("+OK")
			for i, l := range drop {
				say("%d %d", i+1, len(l.text))
			}
			say(".")
		case "UIDL":
			if s.noUIDL {
				say("-ERR what?")
				continue
			}
			say("+OK")
			for i, l := range drop {
				say("%d %s", i+1, l.id)
			}
			say(".")
		case "RETR":
			s.mu.Lock()
			s.fetched++
			s.mu.Unlock()
			if n < 1 || n > len(drop) {
				say("-ERR no such message")
				continue
			}
			say("+OK")
			l := pop3.NewLines(w)
			io.WriteString(l, drop[n-1].text)
			l.Close()
		case "DELE":
			gone[n] = true
			say("+OK")
		case "QUIT":
			s.mu.Lock()
			var stays []letter
			for _, l := range s.letters {
				doomed := false
				for i := range gone {
					doomed = doomed || drop[i-1] == l
				}
				if !doomed {
					stays = append(stays, l)
				}
			}
			s.letters = stays
			s.mu.Unlock()
			say("+OK")
			w.Flush()
			return
		default:
			say("-ERR what?")
		}
	}
}
