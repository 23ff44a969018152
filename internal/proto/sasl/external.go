package sasl

import "context"

// An ExternalVerifier is a Verifier that also knows people by the keys of their
// TLS certificates.
type ExternalVerifier interface {
	// External tells who has shown that the key is theirs. authzid is whom they want
	// to act as, "" for themselves.
	External(ctx context.Context, authzid string, key []byte) (Identity, error)
}

// An externalServer is EXTERNAL: who it is, TLS has shown. RFC 4422 App. A
type externalServer struct {
	v   ExternalVerifier
	key []byte
	id  Identity
}

func newExternalServer(v Verifier, cb ChannelBinding) (Server, error) {
	ev, ok := v.(ExternalVerifier)
	if !ok || len(cb.Client) == 0 {
		return nil, ErrMechanism
	}
	return &externalServer{v: ev, key: cb.Client}, nil
}

// Next takes whom the client wants to act as, which may be empty.
func (s *externalServer) Next(ctx context.Context, response []byte) ([]byte, bool, error) {
	if response == nil {
		return []byte{}, false, nil
	}
	if !fine(string(response), maxUser) {
		return nil, false, ErrMalformed
	}
	id, err := s.v.External(ctx, string(response), s.key)
	s.id = id
	return nil, err == nil, err
}

// Identity gives who has logged in.
func (s *externalServer) Identity() Identity { return s.id }
