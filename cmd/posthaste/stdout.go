package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"
)

// stdout is where commands say what they have found and done.
var stdout = &output{to: os.Stdout}

// An output keeps the first error of writing to it, so that who prints need not look: main
// does, at the end.
type output struct {
	to io.Writer

	mu  sync.Mutex
	err error
}

// Write is as of io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return 0, o.err
	}
	var n int
	n, o.err = o.to.Write(p)
	return n, o.err
}

// Print is fmt.Print to it.
func (o *output) Print(a ...any) { fmt.Fprint(o, a...) }

// Println is fmt.Println to it.
func (o *output) Println(a ...any) { fmt.Fprintln(o, a...) }

// Printf is fmt.Printf to it.
func (o *output) Printf(format string, a ...any) { fmt.Fprintf(o, format, a...) }

// verdict gives the error of a command that has ended with err: it is one, too, that not
// all that it has said could be written. But if nobody reads it any longer, as behind
// "| head", they have what they wanted.
func (o *output) verdict(err error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		return err
	}
	why := o.err
	if p, ok := errors.AsType[*fs.PathError](why); ok {
		why = p.Err // it is called /dev/stdout, whatever it is
	}
	if errors.Is(err, why) {
		err = nil // the same
	}
	if errors.Is(why, syscall.EPIPE) {
		return err
	}
	said := fmt.Errorf("not all that it says could be written: %w", why)
	if err == nil || errors.Is(err, errSaid) {
		return said
	}
	return errors.Join(err, said)
}
