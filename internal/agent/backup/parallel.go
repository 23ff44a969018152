package backup

import (
	"bytes"
	"context"
	"sync"
)

// A worker is one of those that work at a time, with its memory.
type worker struct {
	buf    []byte
	sealed bytes.Buffer
}

// raw gives room for n bytes.
func (w *worker) raw(n int64) []byte {
	if int64(cap(w.buf)) < n {
		w.buf = make([]byte, n)
	}
	return w.buf[:n]
}

// inParallel does what jobs gives, atOnce at a time, and returns when all is done, or
// with the first error. jobs ends when give says false.
func inParallel[J any](ctx context.Context, jobs func(give func(J) bool) error, do func(context.Context, J, *worker) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	todo := make(chan J)
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			var w worker
			for j := range todo {
				if ctx.Err() != nil {
					continue
				}
				if err := do(ctx, j, &w); err != nil {
					cancel(err)
				}
			}
		})
	}
	err := jobs(func(j J) bool {
		select {
		case todo <- j:
			return true
		case <-ctx.Done():
			return false
		}
	})
	if err != nil {
		cancel(err)
	}
	close(todo)
	wg.Wait()
	return context.Cause(ctx)
}
