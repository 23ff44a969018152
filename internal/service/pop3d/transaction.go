package pop3d

import (
	"context"
	"fmt"
	"strconv"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/message"
	"posthaste/internal/proto/pop3"
	"posthaste/internal/store/mailbox"
)

// stat is STAT. RFC 1939 §5
func (s *session) stat(context.Context, pop3.Command) error {
	return s.say(pop3.AppendStat(s.begin(), s.drop.count, s.drop.size))
}

// list is LIST. RFC 1939 §5
func (s *session) list(_ context.Context, c pop3.Command) error {
	return s.each(c, "messages follow", func(b []byte, number uint32, r *mailbox.Row) []byte {
		return pop3.AppendScan(b, number, s.drop.octets(r))
	})
}

// uidl is UIDL. RFC 1939 §7
func (s *session) uidl(ctx context.Context, c pop3.Command) error {
	id, err := s.drop.uniqueIDs(ctx)
	if err != nil {
		return err
	}
	return s.each(c, "unique ids follow", func(b []byte, number uint32, r *mailbox.Row) []byte {
		return pop3.AppendUnique(b, number, id(int(number)-1, r))
	})
}

// each answers with a line for the message asked for, or for all.
func (s *session) each(c pop3.Command, text string, line func([]byte, uint32, *mailbox.Row) []byte) error {
	if c.Number > 0 {
		_, r, err := s.drop.row(c.Number)
		if err != nil {
			return err
		}
		return s.say(line(append(s.begin(), "+OK "...), c.Number, r))
	}
	b := s.appendOK(text)
	for i, r := range s.drop.rows(0) {
		if s.drop.deleted.has(i) {
			continue
		}
		b = line(b, uint32(i)+1, r)
		if len(b) >= enough {
			if err := s.say(b); err != nil {
				return err
			}
			b = s.begin()
		}
	}
	return s.say(pop3.AppendEnd(b))
}

// retr is RETR. RFC 1939 §5
func (s *session) retr(ctx context.Context, c pop3.Command) error {
	i, r, err := s.drop.row(c.Number)
	if err != nil {
		return err
	}
	if err := s.send(ctx, i, pop3.NewLines(s), strconv.FormatInt(s.drop.octets(r), 10)+" octets"); err != nil {
		return err
	}
	s.drop.read.set(i, s.drop.total)
	s.drop.sent += s.drop.octets(r)
	return nil
}

// top is TOP. RFC 1939 §7
func (s *session) top(ctx context.Context, c pop3.Command) error {
	i, r, err := s.drop.row(c.Number)
	if err != nil {
		return err
	}
	if err := s.send(ctx, i, pop3.NewTop(s, c.Lines), "the top of it follows"); err != nil {
		return err
	}
	if c.Lines >= wholeTop {
		s.drop.whole.set(i, s.drop.total)
		s.drop.sent += s.drop.octets(r)
	}
	return nil
}

// wholeTop is how many lines nobody asks for who wants to see the top only:
// fetchmail collects mail so when it is to leave it unread.
const wholeTop = 1_000_000

// page is how much of a large message is read at once.
const page = 64 << 10

// send answers with a message, in the form that lines gives it.
func (s *session) send(ctx context.Context, i int, lines *pop3.Lines, text string) error {
	d := s.drop
	r := d.at(i)
	m, err := d.message(ctx, i)
	if err != nil {
		return err
	}
	if r.NeedsUTF8() && !d.utf8 {
		return s.sendASCII(ctx, m, r, lines, text)
	}
	small := false
	if d.text, small, err = m.Append(d.text[:0]); err != nil {
		return err
	}
	if small {
		s.ok(text)
		lines.Write(d.text)
		return lines.Close()
	}
	b, err := m.Open(ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	return s.sendBody(b, 0, nil, lines, text)
}

// sendASCII is send with a header that has no UTF-8. RFC 6858
func (s *session) sendASCII(ctx context.Context, m *mailbox.Message, r *mailbox.Row, lines *pop3.Lines, text string) error {
	records, err := s.drop.mail.Records(ctx, s.drop.account, []mail.EmailID{r.Email})
	if err != nil {
		return err
	}
	tree, err := message.DecodePart(records[0].Tree)
	if err != nil {
		return fmt.Errorf("pop3d: the tree of email %d: %w", r.Email, err)
	}
	b, err := m.Open(ctx)
	if err != nil {
		return err
	}
	defer b.Close()
	header := make([]byte, tree.HeaderSize)
	if n, err := b.ReadAt(header, 0); n < len(header) {
		return fmt.Errorf("pop3d: read the header: %w", err)
	}
	return s.sendBody(b, tree.HeaderSize, message.Downgrade(nil, header), lines, text)
}

// sendBody answers with front and what b has from off on.
func (s *session) sendBody(b mail.Body, off int64, front []byte, lines *pop3.Lines, text string) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	// The first page may tell that the message cannot be read while that can
	// still be said.
	n, err := readPage(b, (*buf)[:min(cap(*buf), page)], off)
	if err != nil {
		return err
	}
	s.ok(text)
	if _, err := lines.Write(front); err != nil {
		return err
	}
	for {
		if _, err := lines.Write((*buf)[:n]); err != nil {
			return err
		}
		if off += int64(n); off >= b.Size() || lines.Done() {
			return lines.Close()
		}
		if n, err = readPage(b, (*buf)[:min(cap(*buf), page)], off); err != nil {
			// Half of it is out: only the end of the connection can tell.
			s.log.Error("command", "command", "RETR", "error", err)
			return &ending{}
		}
	}
}

// readPage fills p from off on, as far as the message goes.
func readPage(b mail.Body, p []byte, off int64) (int, error) {
	p = p[:min(int64(len(p)), b.Size()-off)]
	if len(p) == 0 {
		return 0, nil
	}
	n, err := b.ReadAt(p, off)
	if n == len(p) {
		return n, nil
	}
	return n, fmt.Errorf("pop3d: read the message: %w", err)
}

// dele is DELE. RFC 1939 §5
func (s *session) dele(_ context.Context, c pop3.Command) error {
	i, _, err := s.drop.row(c.Number)
	if err != nil {
		return err
	}
	s.drop.delete(i)
	return s.ok("deleted when you QUIT")
}

// rset is RSET. RFC 1939 §5
func (s *session) rset(context.Context, pop3.Command) error {
	s.drop.reset()
	return s.ok("nothing is deleted")
}

// noop is NOOP.
func (s *session) noop(context.Context, pop3.Command) error { return s.ok("") }

// quit is QUIT: now the messages go. RFC 1939 §6
func (s *session) quit(ctx context.Context, _ pop3.Command) error {
	if s.drop != nil {
		left, err := s.drop.expunge(ctx)
		if err != nil {
			s.log.Error("command", "command", "QUIT", "error", err)
			return &ending{&failure{"", fmt.Sprintf("%d deleted messages not removed", left)}}
		}
	}
	s.ok("good-bye")
	return &ending{}
}
