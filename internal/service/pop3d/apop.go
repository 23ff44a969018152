package pop3d

import (
	"context"

	"posthaste/internal/agent/auth"
	"posthaste/internal/proto/pop3"
	"posthaste/internal/proto/sasl"
)

// stamper is what a verifier can do that knows people by APOP.
type stamper interface {
	// OffersAPOP tells whether anybody can log in by it.
	OffersAPOP(ctx context.Context) (bool, error)
	// APOP checks the digest of a stamp and somebody's password. RFC 1939 §7
	APOP(ctx context.Context, user, stamp string, digest []byte) (sasl.Identity, error)
}

// greeting gives what the client is greeted with: with a stamp, if there is
// anybody whom it is for, and they could use it on this connection.
func (s *session) greeting(ctx context.Context) string {
	const hello = "Posthaste is ready"
	v, ok := s.srv.Auth(s.peer).(stamper)
	if !ok || !s.mayLogin() && !s.canStartTLS() {
		return hello
	}
	offered, err := v.OffersAPOP(ctx)
	if err != nil {
		s.log.Error("greet", "error", err)
	}
	if !offered {
		return hello
	}
	s.stamp = auth.NewStamp()
	return hello + " " + s.stamp
}

// apop is APOP. Who was greeted without a stamp cannot know a digest. RFC 1939 §7
func (s *session) apop(ctx context.Context, c pop3.Command) error {
	if s.stamp == "" {
		return no("", "APOP is not offered here")
	}
	if !s.mayLogin() {
		return errClear
	}
	id, err := s.srv.Auth(s.peer).(stamper).APOP(ctx, c.Text, s.stamp, c.Digest)
	if err != nil {
		return s.noLogin(err)
	}
	return s.welcome(ctx, id)
}
