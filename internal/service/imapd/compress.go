package imapd

import (
	"bytes"
	"context"
	"io"

	"github.com/klauspost/compress/flate"

	"posthaste/internal/proto/imap"
	"posthaste/internal/proto/inflate"
)

// compress is COMPRESS. RFC 4978
func (s *session) compress(_ context.Context, c *imap.Command) error {
	if c.Args.(*imap.Compress).Algorithm != "DEFLATE" {
		return no(imap.CodeCannot, "only DEFLATE")
	}
	if s.compressed {
		return no(imap.CodeCompressionActive, "the connection is compressed already")
	}
	if s.dec.Buffered() > 0 {
		return &ending{imap.CodeClientBug, "nothing may follow COMPRESS before it is answered"}
	}
	s.enc.Status(c.Tag, imap.OK, "", "compression begins")
	if err := s.enc.Flush(); err != nil {
		return err
	}
	s.compressed = true
	s.dec.Reset(inflate.NewReader(s.conn))
	s.enc.Reset(&deflater{w: s.conn})
	return errAnswered
}

// A deflater compresses every write by itself, to its end: so what has been
// flushed is on its way, and a session that waits keeps no memory for it.
type deflater struct {
	w   io.Writer
	buf bytes.Buffer
}

// Write compresses and writes p.
func (d *deflater) Write(p []byte) (int, error) {
	d.buf.Reset()
	if err := flate.StatelessDeflate(&d.buf, p, false, nil); err != nil {
		return 0, err
	}
	if _, err := d.w.Write(d.buf.Bytes()); err != nil {
		return 0, err
	}
	if d.buf.Cap() > 4<<10 {
		d.buf = bytes.Buffer{}
	}
	return len(p), nil
}
