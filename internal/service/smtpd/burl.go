package smtpd

import (
	"context"
	"io"

	"posthaste/internal/proto/smtp"
)

// offersURLs tells whether BURL is on offer now: to who has logged in. RFC 4468 §3.1
func (ses *session) offersURLs() bool {
	return ses.s.Open != nil && ses.peer.Account != 0
}

// pieces gives the chunks of one message: what follows BDAT, and what BURL names.
type pieces struct {
	ses  *session
	ctx  context.Context // of the message
	size int64           // of the chunk at hand
	open io.Closer       // what it is read from; nil: the session
}

// chunk gives the chunk of a command. Its error ends the message.
func (p *pieces) chunk(c smtp.Command) (smtp.Chunk, error) {
	p.close()
	p.size = c.Size
	if c.Verb == smtp.BDAT {
		return smtp.Chunk{Size: c.Size, Last: c.Last}, nil
	}
	r, size, err := p.ses.s.Open(p.ctx, p.ses.peer, c.URL)
	if err != nil {
		return smtp.Chunk{Last: c.Last}, err
	}
	p.open, p.size = r, size
	return smtp.Chunk{Size: size, Last: c.Last, From: r}, nil
}

func (p *pieces) close() {
	if p.open != nil {
		p.open.Close()
	}
	p.open = nil
}
