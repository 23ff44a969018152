package crash

import (
	"flag"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"posthaste/internal/base/mail"
)

var (
	cuts = flag.Int("cuts", 30*scale, "how many power cuts the store in memory goes through")
	seed = flag.Uint64("seed", 0, "of the chances; 0 is another each time")
)

// livesPerStore is how often one store is cut off before a new one is begun.
const livesPerStore = 10

func newSeed(t *testing.T) uint64 {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-seed=%d", s)
	return s
}

// TestPowerCuts cuts the power at any moment while mail is delivered, changed,
// carried away and swept, and holds what the next life finds against what was
// said in the former.
func TestPowerCuts(t *testing.T) {
	r := rand.New(rand.NewPCG(newSeed(t), 1))
	total := struct{ letters, acked int }{}
	for done := 0; done < *cuts; {
		fs := vfs.NewCrashableMem()
		l := newLedger()
		v := begin(t, fs, l, 0)
		v.people()
		for n := 1; n <= livesPerStore && done < *cuts; n++ {
			w := v.load(r)
			time.Sleep(time.Duration(2+r.IntN(60)) * time.Millisecond)
			l.end()
			cfg := vfs.CrashCloneCfg{}
			if r.IntN(2) == 0 {
				cfg = vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(r.Uint64(), 3))}
			}
			fs = fs.CrashClone(cfg)
			w.stop()
			v.close()
			done++
			l.cut.Store(false)
			v = begin(t, fs, l, n)
			v.verify()
			if len(l.wrong) > 0 {
				t.Fatalf("after cut %d, life %d:\n%s", done, n, lines(l.wrong))
			}
		}
		v.close()
		for _, lt := range l.order {
			total.letters++
			if lt.fate == acked {
				total.acked++
			}
		}
	}
	t.Logf("%d cuts, %d letters, %d of them acknowledged or there all the same", *cuts, total.letters, total.acked)
	if total.acked < *cuts {
		t.Errorf("too few letters to prove anything")
	}
}

func lines(s []string) string {
	out := ""
	for _, l := range s {
		out += "  " + l + "\n"
	}
	return out
}

// A workload is what goes on in a life.
type workload struct {
	stopping chan struct{}
	wg       sync.WaitGroup
	mu       sync.Mutex
	errs     []error
}

func (w *workload) note(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errs = append(w.errs, err)
}

func (w *workload) stopped() bool {
	select {
	case <-w.stopping:
		return true
	default:
		return false
	}
}

// load begins to send, read, change, carry and maintain.
func (v *life) load(r *rand.Rand) *workload {
	w := &workload{stopping: make(chan struct{})}
	run := func(fn func(*rand.Rand) error) {
		own := rand.New(rand.NewPCG(r.Uint64(), 2))
		w.wg.Go(func() {
			for !w.stopped() && !v.l.cut.Load() {
				if err := fn(own); err != nil {
					w.note(err)
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	for range 4 {
		run(v.send)
	}
	for a := mail.AccountID(1); a <= accounts; a++ {
		run(func(r *rand.Rand) error { return v.act(r, a) })
	}
	for range 2 {
		run(func(r *rand.Rand) error { time.Sleep(500 * time.Microsecond); return v.carry(r) })
	}
	run(func(r *rand.Rand) error {
		time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
		return v.maintain()
	})
	return w
}

// stop ends the work, and gives the errors it met.
func (w *workload) stop() []error {
	close(w.stopping)
	w.wg.Wait()
	return w.errs
}
