package mta

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"time"

	"posthaste/internal/proto/smtp"
)

const (
	maxIdle     = 20 * time.Second // how long a session waits for the next message
	maxIdleKept = 10               // sessions that wait so long for one destination
	// Those beyond wait between two handfuls of messages, which end together.
	briefIdle      = time.Second
	maxBrieflyKept = 100
	// sureFor is how long a host that was there need not be asked whether it is.
	sureFor     = 2 * time.Second
	maxMessages = 100 // sent over one session
)

// A session is an open connection to a host that has greeted us.
type session struct {
	conn   net.Conn
	client *smtp.Client
	target target
	source *Source // who we are in it; nil: whom the system chose
	secure bool
	tls    string // in words; "" in clear
	proof  string // how the host has shown that it is the right one
	doubt  error  // what is wrong with it, if that only matters to who asks
	sent   int
	used   time.Time // when the last message was sent
	timer  *time.Timer
}

// fresh tells whether what was known of the host's protection still holds: a
// session that was opened under weaker rules is not used under stronger ones.
func (s *session) fresh(now time.Time) bool {
	return s.target.need == nil || now.Before(s.target.need.good)
}

// sure tells whether the host was there so lately that it need not be asked.
func (s *session) sure(now time.Time) bool { return now.Sub(s.used) < sureFor }

func (s *session) startTLS(ctx context.Context, cfg *tls.Config, name string) error {
	stop := context.AfterFunc(ctx, func() { s.conn.Close() })
	defer stop()
	return s.client.StartTLS(func() (io.ReadWriter, error) {
		tc, err := handshake(ctx, s.conn, cfg, name)
		if err != nil {
			return nil, err
		}
		s.conn, s.secure = tc, true
		return tc, nil
	})
}

func (s *session) close() { s.conn.Close() }

// A pool keeps sessions that wait for the next message to the same place.
type pool struct {
	mu   sync.Mutex
	idle map[string][]*session
}

// take gives an idle session, the one used last; nil if there is none.
func (p *pool) take(key string) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.idle[key]
	if len(list) == 0 {
		return nil
	}
	s := list[len(list)-1]
	p.remove(key, s)
	s.timer.Stop()
	return s
}

// put keeps a session for a while, if it has sent less than most messages.
func (p *pool) put(key string, s *session, most int) {
	s.sent++
	s.used = time.Now()
	if n := s.client.Extensions().MailMax; n > 0 { // RFC 9422 §4.1
		most = min(most, n)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	wait := maxIdle
	if len(p.idle[key]) >= maxIdleKept {
		wait = briefIdle
	}
	if s.sent >= most || len(p.idle[key]) >= maxBrieflyKept {
		go quit(s)
		return
	}
	if p.idle == nil {
		p.idle = map[string][]*session{}
	}
	p.idle[key] = append(p.idle[key], s)
	s.timer = time.AfterFunc(wait, func() {
		p.mu.Lock()
		mine := p.remove(key, s)
		p.mu.Unlock()
		if mine {
			quit(s)
		}
	})
}

// remove takes s out of the pool, and tells whether it was there. mu is held.
func (p *pool) remove(key string, s *session) bool {
	list := p.idle[key]
	for i, have := range list {
		if have == s {
			list = append(list[:i:i], list[i+1:]...)
			if len(list) == 0 {
				delete(p.idle, key)
			} else {
				p.idle[key] = list
			}
			return true
		}
	}
	return false
}

// close says goodbye to all idle sessions.
func (p *pool) close() {
	p.mu.Lock()
	var all []*session
	for _, list := range p.idle {
		all = append(all, list...)
	}
	clear(p.idle)
	p.mu.Unlock()
	for _, s := range all {
		s.timer.Stop()
		quit(s)
	}
}

func quit(s *session) {
	s.client.Quit()
	s.close()
}

// Close ends the sessions that wait.
func (r *Remote) Close() { r.pool.close() }
