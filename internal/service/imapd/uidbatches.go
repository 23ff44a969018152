package imapd

import (
	"context"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
)

// minBatch is the smallest batch that UIDBATCHES makes: with less there would be
// more ranges than use. RFC 10022 §3.1.4
const minBatch = 500

// uidBatches is UIDBATCHES. The batches are of what the client has been told,
// the newest first; together they cover all UIDs from the highest down to 1.
// RFC 10022
func (s *session) uidBatches(_ context.Context, c *imap.Command) error {
	a := c.Args.(*imap.UIDBatches)
	switch {
	case a.Size < minBatch:
		return no(imap.CodeTooFew, "a batch has 500 messages at least")
	case a.First > a.Last:
		return bad(imap.CodeClientBug, "the range of batches is the wrong way round")
	}
	s.enc.Raw("* UIDBATCHES (TAG ").String(c.Tag).Raw(")")
	high, sep := s.box.view.MaxUID(), " "
	left := uint64(s.box.view.Len())
	for n := uint32(1); left > 0 && (a.Last == 0 || n <= a.Last); n++ {
		low := mail.UID(1)
		if left > uint64(a.Size) {
			left -= uint64(a.Size)
			low = s.box.view.UID(uint32(left) + 1)
		} else {
			left = 0
		}
		if n >= a.First {
			s.enc.Raw(sep).Num(uint64(high)).Raw(":").Num(uint64(low))
			sep = ","
		}
		high = low - 1
	}
	s.enc.CRLF()
	return nil
}
