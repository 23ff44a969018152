package collector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"posthaste/internal/agent/carrier"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/outpost"
)

// batch is how many messages are asked for by one FETCH.
const batch = 100

// An imapSession is a connection to an IMAP server, logged in.
type imapSession struct {
	src  *carrier.IMAP
	conn net.Conn
}

// openIMAP connects and logs in over IMAP.
func (v *visit) openIMAP(ctx context.Context) (session, error) {
	s := &imapSession{}
	stop := func() bool { return true }
	srv := &carrier.Server{
		Host: v.o.Host, Port: v.o.Port, Security: map[outpost.Security]string{outpost.TLS: "tls", outpost.StartTLS: "starttls", outpost.Clear: "none"}[v.o.Security],
		TLS: v.tlsConfig(), User: v.o.User, Password: v.o.Secret, Login: v.credentials,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := v.connect(ctx)
			if err == nil {
				s.conn, stop = conn, context.AfterFunc(ctx, func() { conn.Close() })
			}
			return conn, err
		},
	}
	var err error
	s.src, err = carrier.NewIMAP(ctx, srv, "")
	if !stop() && err != nil {
		err = ctx.Err()
	}
	if errors.Is(err, carrier.ErrNoTLS) {
		err = &WantError{fmt.Sprintf("%s does not know STARTTLS: choose tls, with port 993.", v.o.Host)}
	}
	return s, imapError(err)
}

// imapError makes of an error of a server what is told.
func imapError(err error) error {
	if err == nil {
		return nil
	}
	if _, told := errors.AsType[*WantError](err); told || !errors.Is(err, carrier.ErrRefused) || !errors.Is(err, carrier.ErrLogin) {
		return errSource{err}
	}
	_, said, _ := strings.Cut(err.Error(), carrier.ErrRefused.Error()+": ")
	no := &LoginError{Said: said}
	text := strings.ToUpper(said)
	for _, code := range [...]string{"[AUTHENTICATIONFAILED]", "[AUTHORIZATIONFAILED]", "[EXPIRED]"} {
		no.Sure = no.Sure || strings.Contains(text, code)
	}
	for _, code := range [...]string{"[UNAVAILABLE]", "[INUSE]", "[LIMIT]", "[SERVERBUG]"} {
		no.Later = no.Later || strings.Contains(text, code)
	}
	no.Later = no.Later || !no.Sure && SaysLater(said)
	return no
}

// close is as of session.
func (s *imapSession) close() { s.src.Close() }

func (v *visit) folders() []string {
	if len(v.o.Folders) == 0 {
		return []string{mailbox.InboxName}
	}
	return v.o.Folders
}

// suits is as of session.
func (s *imapSession) suits(ctx context.Context, o *outpost.Outpost) error {
	_, err := s.choose(ctx, &visit{o: o})
	return err
}

func (s *imapSession) choose(ctx context.Context, v *visit) ([]carrier.Folder, error) {
	list, err := s.src.Choose(ctx, v.folders())
	if no, ok := errors.AsType[*carrier.ErrNoFolder](err); ok {
		return nil, &WantError{fmt.Sprintf("%s has no folder called %q: write it as it is there, with / between levels.", v.o.Host, no.Name)}
	}
	return list, imapError(err)
}

// collect is as of session.
func (s *imapSession) collect(ctx context.Context, v *visit) error {
	stop := context.AfterFunc(ctx, func() { s.conn.Close() })
	defer stop()
	list, err := s.choose(ctx, v)
	if err != nil {
		return err
	}
	slices.Reverse(list) // the first stays selected, and it is listened to
	for i := range list {
		if err := s.folder(ctx, v, &list[i]); err != nil || v.more {
			return err
		}
	}
	return nil
}

// folder collects what is in a folder.
func (s *imapSession) folder(ctx context.Context, v *visit, there *carrier.Folder) error {
	set, err := s.src.Select(ctx, there, v.o.After != outpost.Leave)
	if err != nil {
		return imapError(err)
	}
	if set.Len() > maxThere {
		return &WantError{fmt.Sprintf("The folder %s at %s has %d messages, and no more than %d can be collected from one: move some to another folder.", there.Name, v.o.Host, set.Len(), maxThere)}
	}
	uids := slices.Collect(set.All())
	ids := make([]outpost.Message, len(uids))
	for i, uid := range uids {
		ids[i] = outpost.MessageOf(fmt.Sprintf("%s %d", there.Mark, uid))
	}
	f := v.o.Folder(there.Name)
	var fresh []mail.UID
	var gone mail.UIDSet
	for at := 0; at < len(ids); at += page {
		part := ids[at:min(at+page, len(ids))]
		lines, err := v.a.Outposts.Lines(ctx, f, part)
		if err != nil {
			return err
		}
		for i, l := range lines {
			switch {
			case l.At.IsZero() && !v.leavesOut(there.Name, part[i]):
				fresh = append(fresh, uids[at+i])
			case l.At.IsZero():
			case v.goes(l, time.Now()):
				gone.Add(uids[at+i])
			}
		}
	}
	before := v.count().collected
	for part := range slices.Chunk(fresh, batch) {
		if v.count().collected-before >= maxVisit || v.long() && v.count().collected > before { // only what was fetched counts: so there is an end
			v.more = true
			break
		}
		if err := s.fetch(ctx, v, f, there, mail.UIDs(part...), &gone); err != nil {
			return err
		}
	}
	if !gone.IsEmpty() {
		n, err := s.src.Remove(ctx, gone)
		if err != nil {
			return imapError(err)
		}
		v.removed(ctx, n)
	}
	if !v.unsure {
		v.prune = append(v.prune, v.prunes(f, ids))
	}
	return nil
}

// fetch fetches messages, and adds to gone those that are to go there.
func (s *imapSession) fetch(ctx context.Context, v *visit, f outpost.Folder, there *carrier.Folder, set mail.UIDSet, gone *mail.UIDSet) error {
	list, err := s.src.Describe(ctx, set)
	if err != nil {
		return imapError(err)
	}
	wanted := list[:0]
	for _, m := range list {
		switch {
		case slices.ContainsFunc(m.Flags, func(f string) bool { return strings.EqualFold(f, imap.FlagDeleted) }):
		case m.Size > v.maxSize():
			if err := v.refuse(ctx, f, foundOf(there, &m), tooLarge(m.Size, v.maxSize())); err != nil {
				return err
			}
		default:
			wanted = append(wanted, m)
		}
	}
	var ours error
	taken := map[mail.UID]bool{}
	take := func(m *carrier.Message, r io.Reader) error {
		x := foundOf(there, m)
		here, err := v.take(ctx, f, &x, r)
		if here && v.goes(outpost.Line{At: time.Now()}, time.Now()) {
			gone.Add(m.UID())
		}
		taken[m.UID()] = err == nil
		ours = err
		return err
	}
	err = s.src.Fetch(ctx, there, wanted, take, func(id string, err error) { v.doubt("message " + id + " cannot be fetched: " + err.Error()) })
	if ours != nil {
		err = ours
	} else {
		err = imapError(err)
	}
	if i := slices.IndexFunc(wanted, func(m carrier.Message) bool { return !taken[m.UID()] }); i >= 0 {
		v.blames(ctx, there.Name, foundOf(there, &wanted[i]).msg, err)
	}
	return err
}

// foundOf gives what is known of a message before it is fetched.
func foundOf(there *carrier.Folder, m *carrier.Message) found {
	x := found{msg: outpost.MessageOf(there.Mark + " " + m.ID), size: m.Size, date: m.Date}
	for _, name := range m.Flags {
		for flag, bit := range map[string]mailbox.Flags{imap.FlagSeen: mailbox.Seen, imap.FlagAnswered: mailbox.Answered, imap.FlagFlagged: mailbox.Flagged, imap.FlagDraft: mailbox.Draft} {
			if strings.EqualFold(name, flag) {
				x.flags |= bit
			}
		}
	}
	return x
}

// waits is as of session.
func (s *imapSession) waits() bool { return s.src.CanIdle() }

// idle is as of session.
func (s *imapSession) idle(ctx context.Context, d time.Duration) (bool, error) {
	news, err := s.src.Idle(ctx, d)
	return news, imapError(err)
}
