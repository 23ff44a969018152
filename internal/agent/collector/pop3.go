package collector

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"posthaste/internal/proto/pop3"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/outpost"
)

// ahead is how many messages are asked for before the first has come, of a server that
// lets us.
const ahead = 16

// A popSession is a connection to a POP3 server, logged in.
type popSession struct {
	host  string
	conn  net.Conn
	in    *pop3.Answers
	out   *bufio.Writer
	stamp string          // for APOP
	caps  map[string]bool // in upper case; nil: the server does not say
	mechs []string
	dead  bool // the connection is of no more use
}

// timed sets a deadline for each read and write.
type timed struct{ net.Conn }

// Read is as of net.Conn.
func (t timed) Read(p []byte) (int, error) {
	t.SetReadDeadline(time.Now().Add(patience))
	return t.Conn.Read(p)
}

// Write is as of net.Conn.
func (t timed) Write(p []byte) (int, error) {
	t.SetWriteDeadline(time.Now().Add(patience))
	return t.Conn.Write(p)
}

// connect connects, as safely as the outpost says.
func (v *visit) connect(ctx context.Context) (net.Conn, error) {
	conn, err := v.a.Dial(ctx, "tcp", net.JoinHostPort(v.o.Host, v.o.Port))
	if err != nil {
		return nil, err
	}
	if v.o.Security == outpost.Clear {
		if err := MayClear(conn, v.a.AnyClear); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return conn, nil
}

// MayClear refuses a connection over which a password must not go in clear; anyClear tells
// that all may be so.
func MayClear(conn net.Conn, anyClear bool) error {
	if anyClear || loopback(conn) {
		return nil
	}
	return &WantError{"Connections in clear are made to this machine only, as everybody on the way could read the password: choose tls or starttls. (The administrator can allow them: collect.clear in the configuration.)"}
}

func loopback(c net.Conn) bool {
	a, ok := c.RemoteAddr().(*net.TCPAddr)
	return ok && a.IP.IsLoopback()
}

func (v *visit) tlsConfig() *tls.Config {
	return &tls.Config{RootCAs: v.a.Roots, ServerName: v.o.Host, MinVersion: tls.VersionTLS12}
}

// openPOP3 connects and logs in over POP3.
func (v *visit) openPOP3(ctx context.Context) (_ session, err error) {
	conn, err := v.connect(ctx)
	if err != nil {
		return nil, err
	}
	s := &popSession{host: v.o.Host, conn: conn}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			conn.Close()
		}
	}()
	if v.o.Security == outpost.TLS {
		if err := s.handshake(ctx, v.tlsConfig()); err != nil {
			return nil, err
		}
	}
	s.in, s.out = pop3.NewAnswers(timed{s.conn}), bufio.NewWriter(timed{s.conn})
	hello, err := s.next()
	if err != nil {
		return nil, err
	}
	if !hello.OK {
		return nil, &LoginError{Said: hello.Text, Later: true}
	}
	s.stamp = hello.Stamp()
	if err := s.capabilities(); err != nil {
		return nil, err
	}
	if v.o.Security == outpost.StartTLS {
		if err := s.startTLS(ctx, v.tlsConfig()); err != nil {
			return nil, err
		}
	}
	if err := s.login(ctx, v); err != nil {
		return nil, err
	}
	return s, s.capabilities() // some tell more now
}

func (s *popSession) handshake(ctx context.Context, cfg *tls.Config) error {
	c := tls.Client(s.conn, cfg)
	if err := c.HandshakeContext(ctx); err != nil {
		return err
	}
	s.conn = c
	return nil
}

func (s *popSession) startTLS(ctx context.Context, cfg *tls.Config) error {
	a, err := s.ask("STLS")
	if err != nil {
		return err
	}
	if !a.OK {
		return &WantError{fmt.Sprintf("%s does not know STLS (%q): choose tls, with port 995.", s.host, a.Text)}
	}
	if s.in.Buffered() > 0 {
		return errSource{errors.New("something came between STLS and TLS")}
	}
	if err := s.handshake(ctx, cfg); err != nil {
		return err
	}
	s.in.Reset(timed{s.conn})
	s.out.Reset(timed{s.conn})
	return s.capabilities() // what was said before, anybody may have said
}

// send writes a command, which goes out with the next answer that is waited for.
func (s *popSession) send(command string) { s.out.WriteString(command + "\r\n") }

func (s *popSession) next() (pop3.Answer, error) {
	err := s.out.Flush()
	var a pop3.Answer
	if err == nil {
		a, err = s.in.Next()
	}
	if err != nil {
		s.dead = true
		return a, errSource{err}
	}
	return a, nil
}

func (s *popSession) ask(command string) (pop3.Answer, error) {
	s.send(command)
	return s.next()
}

// lines reads the further lines of an answer.
func (s *popSession) lines(fn func([]byte) error) error {
	if err := s.in.Lines(fn); err != nil {
		s.dead = true
		return errSource{err}
	}
	return nil
}

func (s *popSession) capabilities() error {
	a, err := s.ask("CAPA")
	if err != nil || !a.OK {
		return err // an old server
	}
	s.caps, s.mechs = map[string]bool{}, nil
	return s.lines(func(line []byte) error {
		word, rest, _ := bytes.Cut(line, []byte{' '})
		name := strings.ToUpper(string(word))
		if s.caps[name] = true; name == "SASL" {
			s.mechs = strings.Fields(string(rest))
		}
		return nil
	})
}

// login proves who we are by the best means there is: one by which the server does not
// see the password, if the connection is not safe.
func (s *popSession) login(ctx context.Context, v *visit) error {
	c, err := v.credentials(ctx, s.mechs)
	if err != nil {
		return err
	}
	clear := v.o.Security == outpost.Clear
	strong := c != nil && strings.HasPrefix(c.Mechanism(), "SCRAM-")
	switch {
	case c != nil && (strong || !clear || s.stamp == "" || v.o.OAuth2 != nil):
		return s.authenticate(c, v)
	case s.stamp != "" && (clear || s.caps != nil && !s.caps["USER"]):
		digest := hex.EncodeToString(pop3.Stamped(s.stamp, v.o.Secret))
		return s.answered(s.ask("APOP " + plain(v.o.User) + " " + digest))
	case len(s.mechs) > 0 && !s.caps["USER"] && c == nil:
		return &WantError{fmt.Sprintf("%s offers no way to log in that we know, only %v.", s.host, s.mechs)}
	}
	a, err := s.ask("USER " + plain(v.o.User))
	if err != nil || !a.OK {
		return s.answered(a, err)
	}
	return s.answered(s.ask("PASS " + plain(v.o.Secret)))
}

// plain makes what stands in a command one line.
func plain(text string) string { return strings.NewReplacer("\r", "", "\n", "").Replace(text) }

func (s *popSession) answered(a pop3.Answer, err error) error {
	if err != nil || a.OK {
		return err
	}
	no := &LoginError{Said: a.Text}
	switch a.Code {
	case pop3.Auth, pop3.Permanent:
		no.Sure = true
	case "":
		no.Later = SaysLater(a.Text)
	default:
		no.Later = true
	}
	return no
}

func (s *popSession) authenticate(c sasl.Client, v *visit) error {
	first, err := c.Next(nil)
	if err != nil {
		return err
	}
	command := "AUTH " + c.Mechanism()
	if first != nil && len(first) < 150 { // RFC 5034 §4: 255 octets, with the rest
		initial := base64.StdEncoding.EncodeToString(first)
		if first = nil; initial == "" {
			initial = "="
		}
		command += " " + initial
	}
	a, err := s.ask(command)
	for ; err == nil && a.More; a, err = s.next() {
		answer := first
		if first = nil; answer == nil {
			challenge, cerr := a.Challenge()
			if cerr == nil {
				answer, cerr = c.Next(challenge)
			}
			if cerr != nil {
				s.dead = true
				return errSource{cerr}
			}
		}
		s.send(base64.StdEncoding.EncodeToString(answer))
	}
	if err == nil && a.OK {
		if err := c.Done(); err != nil {
			return errSource{fmt.Errorf("it does not show that it knows the password: %w", err)}
		}
	}
	return s.answered(a, err)
}

// close leaves without a word: what was marked to be deleted stays.
func (s *popSession) close() { s.conn.Close() }

// waits is as of session.
func (s *popSession) waits() bool { return false }

// idle is as of session.
func (s *popSession) idle(context.Context, time.Duration) (bool, error) { return false, nil }

// suits is as of session.
func (s *popSession) suits(_ context.Context, o *outpost.Outpost) error {
	if s.caps["UIDL"] || o.After == outpost.Delete {
		return nil
	}
	a, err := s.ask("UIDL")
	if err != nil {
		return err
	}
	if a.OK {
		return s.lines(func([]byte) error { return nil })
	}
	return s.needsUIDL()
}

func (s *popSession) needsUIDL() error {
	return &WantError{fmt.Sprintf("%s does not tell its messages apart (it has no UIDL): mail can only be collected from there if it is deleted there. Say so, with --after delete.", s.host)}
}

// A popMessage is one of the listing.
type popMessage struct {
	found
	n        uint32
	nameless bool // it has no id of its own, and is known only once it is fetched
	line     outpost.Line
}

// list gives the messages there. ids is false if they have none.
func (s *popSession) list() (all []popMessage, ids bool, err error) {
	a, err := s.ask("LIST")
	if err != nil {
		return nil, false, err
	}
	if !a.OK {
		return nil, false, errSource{fmt.Errorf("LIST: %s", a.Text)}
	}
	err = s.lines(func(line []byte) error {
		n, size, err := pop3.ParseScan(line)
		if err == nil && len(all) == maxThere {
			err = fmt.Errorf("it tells of more than %d messages", maxThere)
		}
		if err == nil {
			all = append(all, popMessage{n: n, nameless: true, found: found{size: size}})
		}
		return err
	})
	if err != nil || len(all) == 0 {
		return all, true, err
	}
	if a, err = s.ask("UIDL"); err != nil || !a.OK {
		return all, false, err
	}
	// An id that several have is none.
	first, at := map[outpost.Message]int{}, 0
	var twice []int
	for i := range all { // what has come since LIST is for the next visit
		all[i].nameless = false
	}
	err = s.lines(func(line []byte) error {
		n, id, err := pop3.ParseUnique(line)
		if err != nil {
			return err
		}
		for at < len(all) && all[at].n < n {
			at++
		}
		if at == len(all) || all[at].n != n {
			return nil // it came in between
		}
		if all[at].msg != (outpost.Message{}) {
			return nil // that was said before
		}
		m := outpost.MessageOf(id)
		if i, there := first[m]; there {
			twice = append(twice, i, at)
		}
		first[m] = at
		all[at].msg, all[at].nameless = m, false
		return nil
	})
	for _, i := range twice {
		all[i].msg, all[i].nameless = outpost.Message{}, true
	}
	all = slices.DeleteFunc(all, func(m popMessage) bool { return m.msg == outpost.Message{} && !m.nameless })
	return all, true, err
}

// collect is as of session.
func (s *popSession) collect(ctx context.Context, v *visit) error {
	stop := context.AfterFunc(ctx, func() { s.conn.Close() })
	defer stop()
	all, ids, err := s.list()
	if err != nil {
		return err
	}
	if !ids && v.o.After != outpost.Delete {
		return s.needsUIDL()
	}
	f := v.o.Folder("")
	if ids {
		if err := v.known(ctx, f, all); err != nil {
			return err
		}
	}
	fresh, err := v.fresh(ctx, f, all)
	if err != nil {
		return err
	}
	failed := s.fetch(ctx, v, f, fresh)
	if s.dead || ctx.Err() != nil {
		return failed
	}
	// What is here goes there, also if another message could not be taken.
	if err := s.remove(ctx, v, all); err != nil {
		return err
	}
	if failed == nil && !v.unsure {
		v.prune = append(v.prune, v.pruner(f, all))
	}
	return failed
}

// known looks all messages up in the ledger.
func (v *visit) known(ctx context.Context, f outpost.Folder, all []popMessage) error {
	for part := range slices.Chunk(all, page) {
		ids := make([]outpost.Message, len(part))
		for i := range part {
			ids[i] = part[i].msg
		}
		lines, err := v.a.Outposts.Lines(ctx, f, ids)
		if err != nil {
			return err
		}
		for i := range part {
			part[i].line = lines[i]
		}
	}
	return nil
}

// fresh gives the messages that are to be fetched now.
func (v *visit) fresh(ctx context.Context, f outpost.Folder, all []popMessage) (out []*popMessage, err error) {
	for i := range all {
		m := &all[i]
		switch {
		case !m.line.At.IsZero(), v.leavesOut("", m.msg):
		case m.size > v.maxSize():
			why := tooLarge(m.size, v.maxSize())
			if m.nameless {
				v.doubt(why)
				continue
			}
			if err := v.refuse(ctx, f, m.found, why); err != nil {
				return nil, err
			}
		case len(out) == maxVisit:
			v.more = true
			return out, nil
		default:
			out = append(out, m)
		}
	}
	return out, nil
}

// fetch fetches messages. Several are asked for at a time, if the server lets us.
func (s *popSession) fetch(ctx context.Context, v *visit, f outpost.Folder, list []*popMessage) error {
	window := 1
	if s.caps["PIPELINING"] {
		window = ahead
	}
	asked := 0
	for i, m := range list {
		long := i > 0 && v.long()
		if long && i == asked {
			v.more = true
			return nil
		}
		for ; asked < len(list) && asked < i+window && !long; asked++ {
			s.send(fmt.Sprintf("%s %d", pop3.RETR, list[asked].n))
		}
		a, err := s.next()
		if err != nil {
			v.blames(ctx, "", m.msg, err)
			return err
		}
		if !a.OK { // somebody else has removed it, or it cannot be read
			v.doubt(fmt.Sprintf("message %d cannot be fetched: %s", m.n, a.Text))
			continue
		}
		r := s.in.Message()
		here, err := v.take(ctx, f, &m.found, r)
		if err == nil {
			if _, err = io.Copy(io.Discard, r); err != nil {
				err = errSource{err}
			}
		}
		if err != nil {
			// The answers that are still to come would have to be read: rather leave.
			s.dead = true
			v.blames(ctx, "", m.msg, err)
			return err
		}
		if here {
			m.line = outpost.Line{At: time.Now(), Fate: outpost.Collected}
		}
	}
	return nil
}

// remove has what is here, and is to go, deleted there, and ends the session: only then
// it is.
func (s *popSession) remove(ctx context.Context, v *visit, all []popMessage) error {
	now, n := time.Now(), 0
	for part := range slices.Chunk(all, ahead) {
		for _, m := range part {
			if v.goes(m.line, now) {
				s.send(fmt.Sprintf("%s %d", pop3.DELE, m.n))
				if !s.caps["PIPELINING"] {
					if a, err := s.next(); err != nil {
						return err
					} else if a.OK {
						n++
					}
				}
			}
		}
		if !s.caps["PIPELINING"] {
			continue
		}
		for _, m := range part {
			if v.goes(m.line, now) {
				if a, err := s.next(); err != nil {
					return err
				} else if a.OK {
					n++
				}
			}
		}
	}
	a, err := s.ask(string(pop3.QUIT))
	if n == 0 {
		return nil // there was nothing to be done
	}
	if err == nil && !a.OK {
		err = errSource{fmt.Errorf("what was collected could not be deleted there: %s", a.Text)}
	}
	if err == nil {
		v.removed(ctx, n)
	}
	return err
}

// pruner forgets what is no longer there.
func (v *visit) pruner(f outpost.Folder, all []popMessage) func(context.Context) error {
	there := make([]outpost.Message, len(all))
	for i := range all {
		there[i] = all[i].msg
	}
	return v.prunes(f, there)
}

// prunes forgets all that is not among the messages that are there.
func (v *visit) prunes(f outpost.Folder, there []outpost.Message) func(context.Context) error {
	order := func(x, y outpost.Message) int { return bytes.Compare(x[:], y[:]) }
	slices.SortFunc(there, order)
	return func(ctx context.Context) error {
		_, err := v.a.Outposts.Prune(ctx, f, func(m outpost.Message) bool {
			_, found := slices.BinarySearchFunc(there, m, order)
			return found
		})
		return err
	}
}
