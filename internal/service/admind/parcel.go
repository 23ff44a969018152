package admind

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// A Parcel is a message on its way in or out: a line of JSON, and the message's
// bytes behind it, Size of them.
type Parcel struct {
	ID        string    `json:"id,omitempty"`      // what the source calls it; on the way out, its UID
	Mailbox   uint64    `json:"mailbox,omitempty"` // where it goes
	Flags     []string  `json:"flags,omitempty"`   // with keywords, as IMAP writes them
	Date      time.Time `json:"date,omitzero"`
	UIDL      string    `json:"uidl,omitempty"`
	MessageID string    `json:"message_id,omitempty"`
	Size      int64     `json:"size"`
	Email     uint64    `json:"email,omitempty"` // which of the account's it is, on the way out: it stays when it is moved
}

// maxParcelLine is how long the line of a Parcel may be.
const maxParcelLine = 64 << 10

// A parcelReader takes a stream of parcels apart.
type parcelReader struct {
	in   *bufio.Reader
	left int64 // bytes of the parcel under way
	bare bool  // no bytes follow the lines
}

func newParcelReader(r io.Reader) *parcelReader {
	return &parcelReader{in: bufio.NewReaderSize(r, maxParcelLine)}
}

var errParcel = errors.New("the stream of messages is not as it should be")

// next gives the next parcel; io.EOF if there is none.
func (p *parcelReader) next() (out Parcel, err error) {
	for p.left > 0 {
		n, err := p.in.Discard(int(min(p.left, 1<<20)))
		if p.left -= int64(n); err != nil {
			return out, cut(err)
		}
	}
	line, err := p.in.ReadSlice('\n')
	if err == io.EOF && len(line) == 0 {
		return out, io.EOF
	}
	if err != nil {
		return out, fmt.Errorf("%w: %w", errParcel, cut(err))
	}
	if err := json.Unmarshal(line, &out); err != nil {
		return out, fmt.Errorf("%w: %w", errParcel, err)
	}
	if out.Size < 0 {
		return out, errParcel
	}
	if !p.bare {
		p.left = out.Size
	}
	return out, nil
}

// Read reads the bytes of the parcel that next gave.
func (p *parcelReader) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	n, err := p.in.Read(b[:min(int64(len(b)), p.left)])
	p.left -= int64(n)
	return n, cut(err)
}

func cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// writeParcel writes a parcel; body may be nil if nothing is to follow the line.
func writeParcel(w io.Writer, p Parcel, body io.Reader) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if len(b) >= maxParcelLine {
		return errParcel
	}
	if _, err := w.Write(append(b, '\n')); err != nil || body == nil {
		return err
	}
	n, err := io.Copy(w, io.LimitReader(body, p.Size))
	if err == nil && n < p.Size {
		err = io.ErrUnexpectedEOF
	}
	return err
}
