package collector_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/test/network"
)

// A post lies at an imapServer.
type post struct {
	uid   mail.UID
	flags string
	text  string
}

// An imapServer is an IMAP server with one folder, as good or as bad as a test wants it.
type imapServer struct {
	caps     string
	token    string // the access token that it takes; "": it takes the password sesame
	validity int
	// twist changes an answer to a command, in all of its lines; nil: it is good. "" hangs
	// up.
	twist func(command, answer string) string

	pace time.Duration // of its line, for each byte

	hello string      // its greeting; "": a usual one
	tls   *tls.Config // for STARTTLS; nil: it does not know it
	early string      // what it says right behind its answer to STARTTLS, in clear

	mu       sync.Mutex
	posts    []post
	log      []string
	sessions int
	news     chan struct{} // closed when something is put
}

// Dial is as of collector.Agent.
func (s *imapServer) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	s.mu.Lock()
	s.sessions++
	s.mu.Unlock()
	n := network.Network{Fault: func(netip.Addr, netip.AddrPort) network.Fault { return network.Fault{PerByte: s.pace} }}
	at := netip.MustParseAddrPort("192.0.2.7:143")
	n.Listen(at, s.serve)
	return n.From(netip.MustParseAddr("192.0.2.1"))(ctx, "tcp", at.String())
}

func (s *imapServer) change(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
	if s.news != nil {
		close(s.news)
	}
	s.news = nil
}

func (s *imapServer) left() (uids []mail.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.posts {
		uids = append(uids, p.uid)
	}
	return uids
}

func (s *imapServer) said(command string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.log {
		if strings.HasPrefix(l, command) {
			n++
		}
	}
	return n
}

func (s *imapServer) serve(conn net.Conn) {
	defer conn.Close()
	in, out := bufio.NewReader(conn), bufio.NewWriterSize(conn, 1<<10)
	hello := s.hello
	if hello == "" {
		hello = "* OK ready"
	}
	fmt.Fprint(out, hello+"\r\n")
	for {
		if out.Flush() != nil {
			return
		}
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		tag, command, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		s.mu.Lock()
		s.log = append(s.log, command)
		s.mu.Unlock()
		var answer string
		switch verb, arg, _ := strings.Cut(command, " "); verb {
		case "AUTHENTICATE":
			answer = s.authenticate(in, out, arg)
		case "IDLE":
			if answer = s.idle(conn, in, out); answer == "" {
				return
			}
		case "STARTTLS":
			if s.tls == nil {
				fmt.Fprint(out, tag+" BAD what?\r\n")
				continue
			}
			fmt.Fprint(out, tag+" OK begin\r\n"+s.early)
			out.Flush()
			conn = tls.Server(conn, s.tls)
			in, out = bufio.NewReader(conn), bufio.NewWriterSize(conn, 1<<10)
			continue
		case "LOGOUT":
			return
		default:
			answer = s.answer(command)
		}
		last := strings.LastIndexByte(strings.TrimSuffix(answer, "\r\n"), '\n') + 1
		answer = answer[:last] + tag + " " + answer[last:]
		s.mu.Lock()
		twist := s.twist
		s.mu.Unlock()
		if twist != nil {
			answer = twist(command, answer)
		}
		if answer == "" {
			out.Flush()
			return
		}
		if before, cut := strings.CutSuffix(answer, hangUp); cut {
			io.WriteString(out, before)
			out.Flush()
			return
		}
		io.WriteString(out, answer)
	}
}

// hangUp at the end of an answer is what it says.
const hangUp = "\x00hang up"

func (s *imapServer) authenticate(in *bufio.Reader, out *bufio.Writer, arg string) string {
	mech, initial, _ := strings.Cut(arg, " ")
	b, _ := base64.StdEncoding.DecodeString(initial)
	switch {
	case mech == "XOAUTH2" && string(b) == "user=ada.l\x01auth=Bearer "+s.token+"\x01\x01":
		return "OK in\r\n"
	case mech == "XOAUTH2":
		fmt.Fprintf(out, "+ %s\r\n", base64.StdEncoding.EncodeToString([]byte(`{"status":"401"}`)))
		out.Flush()
		in.ReadString('\n')
	}
	return "NO [AUTHENTICATIONFAILED] no\r\n"
}

// idle says when something is put, until it hears DONE. "": the client has gone.
func (s *imapServer) idle(conn net.Conn, in *bufio.Reader, out *bufio.Writer) string {
	s.mu.Lock()
	if s.news == nil {
		s.news = make(chan struct{})
	}
	news := s.news
	s.mu.Unlock()
	io.WriteString(out, "+ idling\r\n")
	out.Flush()
	heard := make(chan string, 1)
	go func() {
		l, _ := in.ReadString('\n')
		heard <- l
	}()
	l := ""
	select {
	case <-news:
		fmt.Fprintf(out, "* %d EXISTS\r\n", len(s.left()))
		out.Flush()
		l = <-heard
	case l = <-heard:
	}
	if l == "" {
		return ""
	}
	return "OK done\r\n"
}

func (s *imapServer) answer(command string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	verb, arg, _ := strings.Cut(command, " ")
	if verb == "UID" {
		verb, arg, _ = strings.Cut(arg, " ")
	}
	word, rest, _ := strings.Cut(arg, " ")
	set, _ := mail.ParseUIDSet(word)
	switch verb {
	case "CAPABILITY":
		fmt.Fprintf(&b, "* CAPABILITY IMAP4rev1 %s\r\n", s.caps)
	case "LOGIN":
		if arg != `"ada.l" "sesame"` {
			return "NO [AUTHENTICATIONFAILED] no\r\n"
		}
	case "SELECT", "EXAMINE":
		fmt.Fprintf(&b, "* FLAGS (\\Deleted)\r\n* %d EXISTS\r\n* OK [UIDVALIDITY %d] so\r\n", len(s.posts), s.validity)
	case "SEARCH":
		b.WriteString("* SEARCH")
		for _, p := range s.posts {
			if arg == "ALL" || strings.Contains(p.flags, `\Deleted`) {
				fmt.Fprintf(&b, " %d", p.uid)
			}
		}
		b.WriteString("\r\n")
	case "FETCH":
		for i, p := range s.posts {
			if !set.Contains(p.uid) {
				continue
			}
			if strings.Contains(rest, "BODY.PEEK[]") {
				fmt.Fprintf(&b, "* %d FETCH (UID %d BODY[] {%d}\r\n%s)\r\n", i+1, p.uid, len(p.text), p.text)
			} else {
				fmt.Fprintf(&b, "* %d FETCH (UID %d FLAGS (%s) INTERNALDATE \"01-Jan-2000 00:00:00 +0000\" RFC822.SIZE %d)\r\n", i+1, p.uid, p.flags, len(p.text))
			}
		}
	case "STORE":
		for i := range s.posts {
			if set.Contains(s.posts[i].uid) {
				s.posts[i].flags = strings.TrimSpace(s.posts[i].flags + ` \Deleted`)
			}
		}
	case "EXPUNGE":
		var stays []post
		for _, p := range s.posts {
			if !strings.Contains(p.flags, `\Deleted`) || word != "" && !set.Contains(p.uid) {
				stays = append(stays, p)
			}
		}
		s.posts = stays
	default:
		return "BAD what?\r\n"
	}
	return b.String() + "OK done\r\n"
}
