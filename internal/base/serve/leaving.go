package serve

import (
	"context"
	"errors"
	"net"
)

// errLeft is what Accept gives when nothing more is to be taken.
var errLeft = errors.New("no more connections are taken")

// Leaving gives a listener that takes no more connections once ctx has ended.
// Connections then waits for the sessions that there are, for as long as they go on.
func Leaving(ctx context.Context, ln net.Listener) net.Listener {
	l := &leaving{Listener: ln, ctx: ctx}
	l.stop = context.AfterFunc(ctx, func() { ln.Close() })
	return l
}

type leaving struct {
	net.Listener
	ctx  context.Context
	stop func() bool
}

// Accept is as of net.Listener. What was accepted before the end is still given.
func (l *leaving) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil && l.ctx.Err() != nil {
		return nil, errLeft
	}
	return c, err
}

// Close is as of net.Listener.
func (l *leaving) Close() error {
	l.stop()
	return l.Listener.Close()
}
