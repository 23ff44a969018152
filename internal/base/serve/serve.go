// Package serve is what daemons do with a listener and its connections: take
// them, go on when they cannot be taken for a moment, give up on silent ones, and
// let sessions end when the server stops.
package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Connections gives each connection of ln to a goroutine that runs each, until
// ctx ends, and then waits for all of them. It closes ln. Its error is that of
// ln, nil if ctx ended or ln takes no more (see Leaving).
func Connections(ctx context.Context, ln net.Listener, log *slog.Logger, each func(net.Conn)) error {
	var running sync.WaitGroup
	defer running.Wait()
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	var pause time.Duration
	for {
		c, err := ln.Accept()
		if ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return nil
		}
		if err == errLeft {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("accept: %w", err)
		}
		if err != nil {
			// Out of descriptors, most likely: some come back as sessions end.
			pause = min(2*pause+5*time.Millisecond, time.Second)
			log.Warn("accept", "error", err, "pause", pause)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			continue
		}
		pause = 0
		running.Add(1)
		go func() { // not running.Go: sessions that wait by the thousand have small stacks
			defer running.Done()
			each(c)
		}()
	}
}

// Session gives the context of a session, which goes on when ctx ends: what it
// does is not undone half way when the server stops. It is told by interrupt
// then, and if it has not ended after the grace, its context does and kill is
// called. End must be called when the session has ended.
func Session(ctx context.Context, grace time.Duration, interrupt, kill func()) (own context.Context, end func()) {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		interrupt()
		select {
		case <-ended:
		case <-time.After(grace):
			cancel()
			kill()
		}
	})
	return own, func() {
		stop()
		close(ended)
		cancel()
	}
}

// AddrOf gives the address of the peer, zero if it is not one of TCP.
func AddrOf(c net.Conn) netip.AddrPort {
	if t, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
