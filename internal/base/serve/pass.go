package serve

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// passBuffer is how much is on its way in one direction.
	passBuffer = 8 << 10
	// lastWords is how long the other side may still speak when it has heard, or takes,
	// the client's last.
	lastWords = 30 * time.Second
)

// ErrThere is wrapped around why a session that was passed on ended, if the other
// side ended it.
var ErrThere = errors.New("the other server has ended the session")

// Pass passes a session on: first early and then what the client sends goes there;
// what comes from there goes to out, which leads to the client. It ends when one of
// them does, and closes there; nothing can be read from c after that. The error is ErrThere, or that of the client's side.
func Pass(c *Conn, out io.Writer, early []byte, there io.ReadWriteCloser) error {
	var once sync.Once
	var first error
	ended := func(err error) { once.Do(func() { first = err }) }
	done := make(chan struct{})
	go func() {
		defer close(done)
		var from error
		_, to := there.Write(early)
		if to == nil {
			from, to = flow(there, c)
		}
		if to != nil {
			ended(fmt.Errorf("%w: %w", ErrThere, to))
		} else {
			ended(from)
		}
		half, ok := there.(interface{ CloseWrite() error })
		if to != nil || ok && from == io.EOF && half.CloseWrite() == nil {
			time.AfterFunc(lastWords, func() { there.Close() }) // harmless if it is closed by then
			return
		}
		there.Close()
	}()
	from, to := flow(out, there)
	if to != nil {
		ended(to)
	} else {
		ended(fmt.Errorf("%w: %w", ErrThere, from))
	}
	there.Close()
	c.passed.Store(true)
	c.SetReadDeadline(time.Unix(1, 0))
	<-done
	return first
}

// flow copies until that fails, and tells on which side.
func flow(to io.Writer, from io.Reader) (fromErr, toErr error) {
	b := make([]byte, passBuffer)
	for {
		n, err := from.Read(b)
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				return nil, err
			}
		}
		if err != nil {
			return err, nil
		}
	}
}
