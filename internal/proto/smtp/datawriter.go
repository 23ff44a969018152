package smtp

import "io"

// A DataWriter writes a message as DATA wants it: dots stuffed, every line end
// a CRLF, whatever came in. It is the only writer of DATA in the house.
// RFC 5321 §4.5.2
//
// What it writes goes out when its buffer is full, and at End.
type DataWriter struct {
	w     io.Writer
	out   []byte
	begin bool // a line begins
	cr    bool // the last byte was a CR, which has not been written yet
}

// NewDataWriter makes a DataWriter to w that uses buf as its buffer.
func NewDataWriter(w io.Writer, buf []byte) *DataWriter {
	return &DataWriter{w: w, out: buf[:0], begin: true}
}

// Write writes a piece of the message.
func (d *DataWriter) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		if d.cr {
			d.cr = false
			if p[0] == '\n' {
				p = p[1:]
			}
			if err := d.put(crlf); err != nil {
				return total - len(p), err
			}
			d.begin = true
			continue
		}
		if d.begin {
			d.begin = false
			if p[0] == '.' {
				if err := d.put(p[:1]); err != nil {
					return total - len(p), err
				}
			}
		}
		n, why := scan(p)
		if n == 0 && p[0] == 0 {
			n = 1 // a NUL is not for us to judge
		}
		if err := d.put(p[:n]); err != nil {
			return total - len(p), err
		}
		if p = p[n:]; len(p) == 0 {
			d.begin = why == stopLine
			break
		}
		switch {
		case why == stopLine:
			d.begin = true
		case p[0] == '\r':
			d.cr, p = true, p[1:]
		case p[0] == '\n':
			if err := d.put(crlf); err != nil {
				return total - len(p), err
			}
			d.begin, p = true, p[1:]
		}
	}
	return total, nil
}

// put puts p into the buffer, and writes the buffer out when it is full.
func (d *DataWriter) put(p []byte) error {
	for len(p) > 0 {
		if len(d.out) == cap(d.out) {
			if err := d.flush(); err != nil {
				return err
			}
		}
		n := min(len(p), cap(d.out)-len(d.out))
		d.out = append(d.out, p[:n]...)
		p = p[n:]
	}
	return nil
}

func (d *DataWriter) flush() error {
	_, err := d.w.Write(d.out)
	d.out = d.out[:0]
	return err
}

// End ends the last line, if it has not been ended, and the message.
func (d *DataWriter) End() error {
	if d.cr || !d.begin {
		d.cr = false
		if err := d.put(crlf); err != nil {
			return err
		}
	}
	d.begin = true
	if err := d.put(endOfData[2:]); err != nil {
		return err
	}
	return d.flush()
}
