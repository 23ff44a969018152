//go:build crash

package crash

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"
)

var (
	kills  = flag.Int("kills", 20, "how often the server is killed")
	rounds = flag.Int("rounds", 6, "how often its file system goes away under it")
)

// TestKill kills the server at any moment, under load.
func TestKill(t *testing.T) {
	r := rand.New(rand.NewPCG(newSeed(t), 8))
	p := newProgram(t, t.TempDir()+"/data")
	for p.faults = range *kills {
		p.start()
		if p.faults > 0 {
			p.verify()
		}
		w := p.clients(r)
		time.Sleep(time.Duration(100+r.IntN(500)) * time.Millisecond)
		p.l.end()
		p.kill()
		w.stop()
		p.l.cut.Store(false)
	}
	p.faults++
	p.start()
	p.verify()
	p.finish()
}
