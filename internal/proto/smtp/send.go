package smtp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"posthaste/internal/base/mail"
)

// maxPipelined is how many recipients are sent before their replies are read:
// both sides' buffers must hold them. RFC 2920 §3.1
const maxPipelined = 100

// ErrClosing tells that the other side said 421: it will not listen on.
// RFC 5321 §3.8
var ErrClosing = errors.New("the peer is closing the session")

// ErrUnheard tells that the other side said nothing to the transaction but that
// it is closing the session: it was gone before, and has seen no message.
var ErrUnheard = errors.New("the peer was gone already")

// Send sends prefix and then body to the recipients of env, and gives what became
// of each: first of those who may not have it from the other side. It does so even
// if there is an error, which means that the session is at its end, or ErrUnheard.
// It takes one transaction, or as many as the other side's limit of recipients
// makes necessary. RFC 9422 §4.2
func (c *Client) Send(env mail.Envelope, prefix []byte, body mail.Body) (outs []mail.Outcome, err error) {
	rcpts := env.Recipients
	if !c.ext.RRVS {
		rcpts, outs = unlooked(rcpts)
	}
	if len(rcpts) == 0 {
		return outs, nil
	}
	most := len(rcpts)
	if c.ext.RcptMax > 0 {
		most = min(most, c.ext.RcptMax)
	}
	for {
		env.Recipients = rcpts[:min(most, len(rcpts))]
		var some []mail.Outcome
		if err == nil {
			some, err = c.transaction(env, prefix, body)
		} else {
			some = unsent(env.Recipients)
		}
		outs, rcpts = append(outs, some...), rcpts[len(env.Recipients):]
		if len(rcpts) == 0 {
			return outs, err
		}
	}
}

// unlooked takes those recipients out who may not have the message from a host that
// does not look whose their addresses are. RFC 7293 §5.3
func unlooked(rcpts []mail.Recipient) (rest []mail.Recipient, outs []mail.Outcome) {
	if !slices.ContainsFunc(rcpts, func(r mail.Recipient) bool { return r.ValidOnly }) {
		return rcpts, nil
	}
	for _, r := range rcpts {
		if !r.ValidOnly {
			rest = append(rest, r)
			continue
		}
		outs = append(outs, mail.Outcome{Recipient: r, Status: mail.Status{Class: 5, Subject: 7, Detail: 19}, Text: "the next host does not look whether the address still belongs to whom the sender knows (RRVS)"})
	}
	return rest, outs
}

// unsent gives the outcomes of recipients that a session did not come to.
func unsent(rcpts []mail.Recipient) []mail.Outcome {
	outs := make([]mail.Outcome, len(rcpts))
	for i, r := range rcpts {
		outs[i] = mail.Outcome{Recipient: r, Status: mail.Status{Class: 4, Subject: 4, Detail: 2}, Text: "session ended before this recipient's turn"}
	}
	return outs
}

// transaction is Send for as many recipients as the other side takes at once.
func (c *Client) transaction(env mail.Envelope, prefix []byte, body mail.Body) ([]mail.Outcome, error) {
	s := sending{c: c, env: env, outs: make([]mail.Outcome, len(env.Recipients)), state: make([]state, len(env.Recipients))}
	for i, r := range env.Recipients {
		s.outs[i].Recipient = r
	}
	if no := c.fits(env, prefix, body); no != nil {
		s.settleAll(no.Status, no.Text)
		return s.outs, nil
	}
	err := s.run(prefix, body)
	if err != nil {
		s.settleAll(mail.Status{Class: 4, Subject: 4, Detail: 2}, "session ended "+s.during)
		if !s.heard {
			err = errors.Join(ErrUnheard, err)
		}
	}
	return s.outs, err
}

// fits tells whether the other side can take the message at all.
func (c *Client) fits(env mail.Envelope, prefix []byte, body mail.Body) *mail.Refusal {
	if size := int64(len(prefix)) + body.Size(); c.ext.Size > 0 && size > c.ext.Size {
		return mail.Refuse("5.3.4", fmt.Sprintf("message of %d bytes is too large for the next host, which takes %d", size, c.ext.Size), "")
	}
	addresses, clean := env.Sender.IsASCII(), !hasControl(env.Sender)
	for _, r := range env.Recipients {
		addresses = addresses && r.Address.IsASCII()
		clean = clean && !hasControl(r.Address)
	}
	if !clean {
		return mail.Refuse("5.1.3", "an address has a control character", "")
	}
	if env.RequireTLS && !c.ext.RequireTLS && !env.Sender.IsZero() {
		return mail.Refuse("5.7.30", "message must travel protected to its end (REQUIRETLS), which the next host does not promise", "")
	}
	if no := c.inTime(env.By); no != nil {
		return no
	}
	if !c.ext.UTF8 && (!addresses || env.UTF8 && hasNonASCII(prefix) || env.UTF8 && has8bit(body, headerOnly)) {
		return mail.Refuse("5.6.7", "message needs SMTPUTF8, which the next host does not speak", "")
	}
	if !c.ext.EightBit && (hasNonASCII(prefix) || has8bit(body, wholeBody)) {
		return mail.Refuse("5.6.3", "message needs 8BITMIME, which the next host does not speak", "")
	}
	return nil
}

// inTime tells whether a message that must be delivered by a time, or come back, can
// be given to the other side. RFC 2852 §4.1.4
func (c *Client) inTime(by mail.DeliverBy) *mail.Refusal {
	switch {
	case !by.Return:
		return nil
	case !c.ext.DeliverBy || c.o.Now == nil:
		return mail.Refuse("5.4.7", "message must be delivered by a time or come back (DELIVERBY), which the next host does not promise", "")
	case by.Over(c.o.Now()), by.Time.Sub(c.o.Now()) < max(c.ext.MinBy, time.Second):
		return mail.Refuse("5.4.7", "message must be delivered by a time (DELIVERBY), and the next host needs more than is left", "")
	}
	return nil
}

// hasControl tells whether an address could end a command early. Addresses that
// were parsed cannot.
func hasControl(a mail.Address) bool {
	s := a.Path()
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] == 0x7f {
			return true
		}
	}
	return false
}

// extent is how much of a message is looked at.
type extent uint8

const (
	headerOnly extent = iota
	wholeBody
)

// has8bit tells whether a message has bytes that are not ASCII. That it cannot
// be read is for the sending of it to find out.
func has8bit(body mail.Body, x extent) bool {
	var b [4096]byte
	for off := int64(0); off < body.Size(); {
		n, err := body.ReadAt(b[:], off)
		p := b[:n]
		end := -1
		if x == headerOnly {
			if end = bytes.Index(p, []byte("\r\n\r\n")); end >= 0 {
				p = p[:end]
			}
		}
		if hasNonASCII(p) {
			return true
		}
		if end >= 0 || err != nil || n == 0 {
			return false
		}
		off += int64(n)
		if x == headerOnly && n > 3 {
			off -= 3 // the end of the header may lie across
			if n < len(b) {
				return false
			}
		}
	}
	return false
}

// state is how far a recipient has come.
type state uint8

const (
	open state = iota
	taken
	settled
)

// A sending is one transaction of a client.
type sending struct {
	c      *Client
	env    mail.Envelope
	outs   []mail.Outcome
	state  []state
	taken  int
	during string
	heard  bool // it has said something to this
}

func (s *sending) settle(i int, st mail.Status, text, remote string) {
	if s.state[i] == settled {
		return
	}
	o := &s.outs[i]
	o.Status, o.Text, o.Remote = st, text, remote
	o.Reports = st.Class == 2 && s.c.ext.DSN
	o.Timed = st.Class == 2 && s.timed()
	s.state[i] = settled
}

// settleAll settles whatever is not settled.
func (s *sending) settleAll(st mail.Status, text string) {
	for i := range s.outs {
		s.settle(i, st, text, "")
	}
}

// answer settles a recipient by a reply. A reply that would be a yes is none
// where it must not be one.
func (s *sending) answer(i int, rep Reply) {
	s.settle(i, rep.Outcome(), rep.String(), s.c.o.Remote)
}

// answerAll settles by a reply all recipients in the state.
func (s *sending) answerAll(in state, rep Reply) {
	for i := range s.outs {
		if s.state[i] == in {
			s.answer(i, rep)
		}
	}
}

// run runs the transaction.
func (s *sending) run(prefix []byte, body mail.Body) error {
	s.c.out = s.appendMail(s.c.out[:0], int64(len(prefix))+body.Size())
	ready, err := s.envelope()
	if err != nil {
		return err
	}
	if ready {
		return s.data(prefix, body)
	}
	s.during = "in RSET"
	return s.c.Reset()
}

// reply reads a reply; 421 and whatever is none end the session.
func (s *sending) reply(during string) (Reply, error) {
	s.during = during
	rep, err := ReadReply(s.c.r)
	switch {
	case err == nil && rep.Code == 421:
		err = ErrClosing
	case err == nil:
		s.heard = true
	}
	return rep, err
}

// envelope sends MAIL, RCPT and DATA, and tells whether the other side waits
// for the message now.
func (s *sending) envelope() (bool, error) {
	c := s.c
	step := 1
	if c.ext.Pipelining {
		step = min(maxPipelined, len(s.outs))
	} else {
		ok, err := s.mailReply()
		if !ok {
			return false, err
		}
	}
	for from := 0; from < len(s.outs); from += step {
		to := min(from+step, len(s.outs))
		for i := from; i < to; i++ {
			c.out = s.appendRcpt(c.out, s.env.Recipients[i])
		}
		last := c.ext.Pipelining && to == len(s.outs)
		if last {
			c.out = append(c.out, "DATA\r\n"...)
		}
		if err := s.flush(); err != nil {
			return false, err
		}
		if c.ext.Pipelining && from == 0 {
			if ok, err := s.mailReplied(); !ok {
				return false, s.skip(to-from, last, err)
			}
		}
		if err := s.rcptReplies(from, to); err != nil {
			return false, err
		}
		if last {
			return s.dataReply()
		}
	}
	if s.taken == 0 {
		return false, nil
	}
	c.out = append(c.out, "DATA\r\n"...)
	if err := s.flush(); err != nil {
		return false, err
	}
	return s.dataReply()
}

func (s *sending) appendMail(b []byte, size int64) []byte {
	x := s.c.ext
	b = append(b, "MAIL FROM:"...)
	b = append(b, s.env.Sender.Path()...)
	if x.Sized {
		b = strconv.AppendInt(append(b, " SIZE="...), size, 10)
	}
	if x.EightBit && s.env.EightBit {
		b = append(b, " BODY=8BITMIME"...)
	}
	if x.UTF8 && s.env.UTF8 {
		b = append(b, " SMTPUTF8"...)
	}
	if x.RequireTLS && s.env.RequireTLS {
		b = append(b, " REQUIRETLS"...)
	}
	if x.Priority { // usual ones, too: RFC 6710 §4.2
		b = strconv.AppendInt(append(b, " MT-PRIORITY="...), int64(s.env.Priority), 10)
	}
	if s.timed() {
		b = appendBy(append(b, " BY="...), s.env.By, s.env.By.Time.Sub(s.c.o.Now()))
	}
	if !x.DSN {
		return append(b, '\r', '\n')
	}
	switch s.env.Return {
	case mail.ReturnFull:
		b = append(b, " RET=FULL"...)
	case mail.ReturnHeader:
		b = append(b, " RET=HDRS"...)
	}
	if s.env.EnvelopeID != "" {
		from := len(b)
		b = appendXtext(append(b, " ENVID="...), s.env.EnvelopeID)
		if len(b)-from > len(" ENVID=")+maxEnvelopeID { // it was written shorter than it may be
			b = b[:from]
		}
	}
	return append(b, '\r', '\n')
}

// timed tells whether the other side is told by when the message is to be delivered.
func (s *sending) timed() bool {
	return s.c.ext.DeliverBy && s.env.By.Asked() && s.c.o.Now != nil
}

func (s *sending) appendRcpt(b []byte, r mail.Recipient) []byte {
	x := s.c.ext
	b = append(b, "RCPT TO:"...)
	b = append(b, r.Address.Path()...)
	if x.RRVS && !r.ValidSince.IsZero() {
		b = r.ValidSince.UTC().AppendFormat(append(b, " RRVS="...), time.RFC3339)
		if r.ValidOnly {
			b = append(b, ";R"...)
		}
	}
	if x.DSN && r.Notify != 0 {
		b = appendNotify(append(b, " NOTIFY="...), r.Notify)
	}
	if x.DSN && r.ORCPT != "" {
		from := len(b)
		b = appendOriginal(append(b, " ORCPT="...), r.ORCPT, x.UTF8 && s.env.UTF8)
		if len(b)-from > len(" ORCPT=")+maxOriginal {
			b = b[:from]
		}
	}
	return append(b, '\r', '\n')
}

func (s *sending) flush() error {
	s.c.o.Wait(waitCommand)
	_, err := s.c.w.Write(s.c.out)
	s.c.out = s.c.out[:0]
	return err
}

// mailReply sends MAIL alone.
func (s *sending) mailReply() (bool, error) {
	if err := s.flush(); err != nil {
		return false, err
	}
	return s.mailReplied()
}

// mailReplied reads the reply to MAIL; a no is one for all recipients.
func (s *sending) mailReplied() (bool, error) {
	rep, err := s.reply("in MAIL")
	if rep.Good() && err == nil {
		return true, nil
	}
	if rep.Code != 0 {
		s.answerAll(open, negative(rep))
	}
	return false, err
}

// skip reads the replies to what was sent after a MAIL that was refused.
func (s *sending) skip(rcpts int, data bool, err error) error {
	for range rcpts {
		if err == nil {
			_, err = s.reply("in RCPT")
		}
	}
	if err == nil && data {
		_, err = s.dataReply()
	}
	return err
}

func (s *sending) rcptReplies(from, to int) error {
	for i := from; i < to; i++ {
		rep, err := s.reply("in RCPT")
		switch {
		case err != nil && rep.Code == 0:
			return err
		case err == nil && rep.Good():
			s.state[i] = taken
			s.taken++
		default:
			s.answer(i, negative(rep))
		}
		if err != nil {
			s.answerAll(open, negative(rep))
			s.answerAll(taken, negative(rep))
			return err
		}
	}
	return nil
}

// dataReply reads the reply to DATA. If nobody is there to have the message,
// and the other side wants one nevertheless, it gets an empty one.
// RFC 2920 §3.1
func (s *sending) dataReply() (bool, error) {
	s.c.o.Wait(waitData)
	rep, err := s.reply("in DATA")
	switch {
	case rep.Code == 0:
		return false, err
	case rep.Code != 354 || err != nil:
		s.answerAll(taken, negative(rep))
		return false, err
	case s.taken > 0:
		return true, nil
	}
	s.c.out = append(s.c.out[:0], ".\r\n"...)
	if err := s.flush(); err != nil {
		return false, err
	}
	_, err = s.reply("after DATA")
	return false, err
}

// negative makes sure that a reply is not taken for a yes.
func negative(rep Reply) Reply {
	if rep.Code < 400 {
		rep.Status = mail.Status{Class: 4, Subject: 5}
		rep.Code, rep.Text = 451, "unexpected answer "+strconv.Itoa(rep.Code)+" "+rep.Text
	}
	return rep
}

// data sends the message and reads what became of it.
func (s *sending) data(prefix []byte, body mail.Body) error {
	if err := s.message(prefix, body); err != nil {
		return err
	}
	s.c.o.Wait(waitFinal)
	for i := range s.outs {
		if s.state[i] != taken {
			continue
		}
		rep, err := s.reply("before the message was answered: it may have arrived")
		if rep.Code == 0 {
			return err
		}
		if !rep.Good() {
			rep = negative(rep)
		}
		if s.c.o.Dialect == SMTP || err != nil {
			s.answerAll(taken, rep)
			return err
		}
		s.answer(i, rep)
	}
	return nil
}

// message sends the message. If the other side does not read it to its end,
// what it says about that is the answer.
func (s *sending) message(prefix []byte, body mail.Body) error {
	c := s.c
	in, out := c.o.Buffers.take(), c.o.Buffers.take()
	defer c.o.Buffers.pool.Put(in)
	defer c.o.Buffers.pool.Put(out)
	s.during = "while the message was sent"
	d := NewDataWriter(patient{c}, out[:])
	err := writeAll(d, prefix, body, in[:])
	if err == nil {
		err = d.End()
	}
	if _, ours := errors.AsType[*bodyError](err); err == nil || ours {
		return err
	}
	c.o.Wait(waitQuit)
	if rep, rerr := ReadReply(c.r); rerr == nil && rep.Code >= 400 {
		s.answerAll(taken, rep)
	}
	return err
}

// bodyError tells that a message could not be read: our failure, and the end
// of the session, as half of it has gone out.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "reading the message: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

func writeAll(d *DataWriter, prefix []byte, body mail.Body, buf []byte) error {
	if _, err := d.Write(prefix); err != nil {
		return err
	}
	for off, size := int64(0), body.Size(); off < size; {
		n, err := body.ReadAt(buf[:min(int64(len(buf)), size-off)], off)
		if n == 0 {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return &bodyError{err}
		}
		if _, err := d.Write(buf[:n]); err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// A patient writer waits for each block. RFC 5321 §4.5.3.2.5
type patient struct{ c *Client }

func (p patient) Write(b []byte) (int, error) {
	p.c.o.Wait(waitBlock)
	return p.c.w.Write(b)
}
