package mda

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/message"
	"posthaste/internal/store/body"
)

// errStray refuses a binary message that is none by its own header.
var errStray = mail.Refuse("5.6.0", "not a lawful message: "+message.ErrStray.Error(), "")

// Armored gives a message that came as BINARYMIME as lines of text, which is how
// mailboxes and the queue have all messages (decision 025). RFC 3030 §3
func Armored(ctx context.Context, bodies *body.Store, st *body.Staged) (*body.Staged, error) {
	r, w := io.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() { w.CloseWithError(message.Armor(w, st, st.Size())) })
	out, err := bodies.Stage(ctx, r)
	r.Close()
	wg.Wait()
	switch {
	case errors.Is(err, message.ErrStray):
		return nil, errStray
	case err != nil:
		return nil, fmt.Errorf("mda: encode a binary message: %w", err)
	}
	return out, nil
}
