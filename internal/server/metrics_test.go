package server_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"posthaste/internal/agent/backup"
	"posthaste/internal/base/dns/zone"
	"posthaste/internal/server"
	"posthaste/internal/server/config"
	"posthaste/internal/service/admind"
)

var update = flag.Bool("update", false, "write the table of docs/metrics.md anew")

// families gives all metrics, as who watches reads them.
func families(t *testing.T, text string) map[string]*dto.MetricFamily {
	t.Helper()
	p := expfmt.NewTextParser(model.LegacyValidation)
	all, err := p.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// values gives the values of all series, as "name a=x b=y"; of a histogram, how often
// something was seen.
func values(t *testing.T, text string) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	for name, f := range families(t, text) {
		for _, m := range f.Metric {
			k := name
			for _, l := range m.Label {
				k += " " + l.GetName() + "=" + l.GetValue()
			}
			out[k] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return out
}

// read gives the metrics as text, over the admin API.
func read(t *testing.T, c *admind.Client) string {
	t.Helper()
	var b bytes.Buffer
	if err := c.Metrics(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A watched house runs over a store on the disk, and listens on loopback.
type watched struct {
	t     *testing.T
	st    *server.Store
	admin *admind.Client
	stop  func()
	ports map[string]string // by what the configuration says
}

// start runs a house over a store.
func start(t *testing.T, st *server.Store, c config.Config) *watched {
	t.Helper()
	w := &watched{t: t, st: st, ports: map[string]string{}}
	log := slog.New(slog.DiscardHandler)
	h, err := server.Build(c, server.Outside{
		DB: st.DB, Blobs: st.Blobs, Failed: st.Failed, Full: st.Full, Metrics: st.Metrics(), Log: log, Version: "1.2.3", DNS: &zone.Zone{},
		Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no network") },
		Backup: func(ctx context.Context, r *backup.Repository) (backup.Written, error) {
			return st.Backup(ctx, r, "test")
		},
		Listen: func(address string) (net.Listener, error) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err == nil {
				w.ports[address] = ln.Addr().String()
			}
			return ln, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.admin = admind.InProcess(h.Admin.Handler())
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		if err := h.Run(ctx, func() { close(ready) }); err != nil {
			t.Error(err)
		}
	}()
	<-ready
	w.stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(w.stop)
	return w
}

func newWatched(t *testing.T) (*watched, config.Config) {
	t.Helper()
	c := config.Default()
	c.Hostname, c.Data = "mx.example.org", t.TempDir()
	c.Reports.Send, c.Limits.ConnectionsPerAddress, c.Limits.Connections = false, 2, 2
	c.Backup.Directory = t.TempDir() + "/backup"
	c.Listeners = []config.Listener{
		{Address: ":lmtp", Protocol: "lmtp", TLS: "none"},
		{Address: ":pop3", Protocol: "pop3", TLS: "none", PlaintextLogin: true},
		{Address: ":imap", Protocol: "imap", TLS: "none", PlaintextLogin: true},
		{Address: ":metrics", Protocol: "metrics", TLS: "none"},
	}
	st, err := server.OpenStore(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	w := start(t, st, c)
	if err := w.admin.AddDomain(t.Context(), "example.org"); err != nil {
		t.Fatal(err)
	}
	if err := w.admin.AddAccount(t.Context(), admind.Account{Address: "ada@example.org", Password: "many secret words"}); err != nil {
		t.Fatal(err)
	}
	return w, c
}

// dial opens a session, and reads the greeting.
func (w *watched) dial(port string) *textproto.Conn {
	w.t.Helper()
	c, err := textproto.Dial("tcp", w.ports[port])
	if err != nil {
		w.t.Fatal(err)
	}
	c.ReadLine() // fails if it was one too many
	return c
}

// say sends lines and gives the last answer.
func say(t *testing.T, c *textproto.Conn, lines ...string) (answer string) {
	t.Helper()
	for _, l := range lines {
		if err := c.PrintfLine("%s", l); err != nil {
			t.Fatal(err)
		}
		for more := true; more; more = len(answer) > 3 && answer[3] == '-' {
			var err error
			if answer, err = c.ReadLine(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return answer
}

// TestMetricsMove: what happens is counted, over a reload too, and the listener tells it
// as the admin API does.
func TestMetricsMove(t *testing.T) {
	w, c := newWatched(t)
	s := w.dial(":lmtp")
	say(t, s, "LHLO front", "MAIL FROM:<eve@far.example>", "RCPT TO:<ada@example.org>", "DATA")
	if a := say(t, s, "Subject: hello\r\n\r\nhello\r\n."); !strings.HasPrefix(a, "250 ") {
		t.Fatal(a)
	}
	if a := say(t, s, "MAIL FROM:<eve@far.example>", "RCPT TO:<nobody@example.org>"); !strings.HasPrefix(a, "550 ") {
		t.Fatal(a)
	}
	p := w.dial(":pop3")
	if a := say(t, p, "USER ada@example.org", "PASS wrong"); !strings.HasPrefix(a, "-ERR") {
		t.Fatal(a)
	}
	if a := say(t, p, "USER ada@example.org", "PASS many secret words"); !strings.HasPrefix(a, "+OK") {
		t.Fatal(a)
	}
	w.dial(":pop3").Close()
	for range 3 { // one too many
		defer w.dial(":imap").Close()
	}
	if _, err := w.admin.Backup(t.Context(), admind.BackupRequest{Directory: t.TempDir() + "/b"}); err != nil {
		t.Fatal(err)
	}
	check := func(got map[string]float64) {
		t.Helper()
		for k, want := range map[string]float64{
			"posthaste_trace_events_total class=none kind=received":      1,
			"posthaste_trace_events_total class=none kind=stored":        1,
			"posthaste_trace_delivery_seconds to=mailbox":                1,
			"posthaste_auth_logins_total outcome=refused protocol=pop3":  1,
			"posthaste_auth_logins_total outcome=accepted protocol=pop3": 1,
			"posthaste_listen_accepted_connections_total protocol=lmtp":  1,
			"posthaste_listen_accepted_connections_total protocol=pop3":  2,
			"posthaste_listen_refused_connections_total protocol=imap":   1,
			"posthaste_queue_items state=due":                            0,
			"posthaste_dir_full_state":                                   0,
			"posthaste_server_build_info version=1.2.3":                  1,
			"posthaste_packblob_packs":                                   0,
			"posthaste_collector_visits_total outcome=good":              0,
		} {
			if v, ok := got[k]; !ok || v != want {
				t.Errorf("%s is %v (%v), want %v", k, v, ok, want)
			}
		}
		for _, k := range []string{
			"posthaste_pebblekv_commits_total", "posthaste_pebblekv_commit_seconds", "posthaste_dir_free_bytes", "posthaste_dir_size_bytes",
			"posthaste_listen_received_bytes_total protocol=lmtp", "posthaste_listen_sent_bytes_total protocol=pop3", "posthaste_backup_last_bytes",
			"posthaste_backup_runs_total outcome=made", "posthaste_backup_interval_seconds", "go_goroutines",
		} {
			if got[k] <= 0 {
				t.Errorf("%s is %v", k, got[k])
			}
		}
	}
	got := values(t, read(t, w.admin))
	check(got)
	for got["posthaste_backup_last_success_timestamp_seconds"] == 0 { // the schedule's first is being made
		got = values(t, read(t, w.admin))
	}
	if open := got["posthaste_listen_open_connections protocol=lmtp"]; open != 1 {
		t.Errorf("%v connections of LMTP are open", open)
	}
	s.Close()
	p.Close()
	next := start(t, w.st, c) // before the old one goes, as a reload does
	w.stop()
	check(values(t, read(t, next.admin)))
	resp, err := http.Get("http://" + next.ports[":metrics"] + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
		t.Fatal(resp.Header, err)
	}
	over := values(t, b.String())
	check(over)
	if open := over["posthaste_listen_open_connections protocol=lmtp"]; open != 0 {
		t.Errorf("%v connections of LMTP are open at the end", open)
	}
	if over["posthaste_listen_accepted_connections_total protocol=metrics"] != 1 {
		t.Error("who watches is not counted")
	}
}

// TestMetricsOfTheQueue: attempts, and what waits.
func TestMetricsOfTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t, func(*config.Config) {})
		s.close("mx.c.example", "451 4.2.1 not now")
		s.post("ada@a.example", "x@b.example")
		held := s.post("ada@a.example", "x@c.example")
		s.after(time.Second, "mx.b.example: x@b.example")
		s.post("ada@a.example", "y@c.example")
		time.Sleep(30 * time.Second)
		if _, err := s.admin.ChangeQueued(t.Context(), "hold", held); err != nil {
			t.Fatal(err)
		}
		got := values(t, read(t, s.admin))
		for k, want := range map[string]float64{
			"posthaste_mta_recipients_total outcome=delivered tls=none": 1,
			"posthaste_mta_recipients_total outcome=deferred tls=none":  2,
			"posthaste_mta_recipients_total outcome=failed tls=none":    0,
			"posthaste_trace_events_total class=2 kind=delivered":       1,
			"posthaste_trace_events_total class=4 kind=deferred":        2,
			"posthaste_trace_events_total class=none kind=held":         1,
			"posthaste_trace_delivery_seconds to=host":                  1,
			"posthaste_queue_items state=due":                           0,
			"posthaste_queue_items state=later":                         1,
			"posthaste_queue_items state=held":                          1,
		} {
			if got[k] != want {
				t.Errorf("%s is %v, want %v", k, got[k], want)
			}
		}
		if old := got["posthaste_queue_oldest_seconds"]; old != 30 {
			t.Errorf("the oldest waits for %v s", old) // the one before is held back
		}
		// What was counted a moment ago is not counted again.
		s.post("ada@a.example", "z@c.example")
		synctest.Wait()
		if got := values(t, read(t, s.admin)); got["posthaste_queue_items state=later"] != 1 {
			t.Error("counted again at once")
		}
		time.Sleep(20 * time.Second)
		if got := values(t, read(t, s.admin)); got["posthaste_queue_items state=later"] != 2 {
			t.Errorf("not counted again: %v", got["posthaste_queue_items state=later"])
		}
	})
}

// What a name ends in: what is counted ends in total, what is measured in a unit, and
// what there is so many of in that.
var units = []string{"total", "seconds", "bytes", "state", "info", "connections", "items", "commits", "packs", "tables", "runs"}

// TestMetricsAreUniform: names, helps and labels; and docs/metrics.md has them all.
func TestMetricsAreUniform(t *testing.T) {
	w, _ := newWatched(t)
	all := families(t, read(t, w.admin))
	rooms := packages(t)
	name := regexp.MustCompile(`^posthaste_([a-z0-9]+)_[a-z0-9_]*?([a-z]+)$`)
	var lines []string
	for n, f := range all {
		if strings.HasPrefix(n, "go_") || strings.HasPrefix(n, "process_") {
			continue
		}
		m := name.FindStringSubmatch(n)
		switch {
		case m == nil || !slices.Contains(units, m[2]) || !rooms[m[1]]:
			t.Errorf("%s is not posthaste_<package>_<what>_<unit>", n)
		case (m[2] == "total") != (f.GetType() == dto.MetricType_COUNTER):
			t.Errorf("%s: a counter, and only that, ends in total", n)
		case !strings.HasSuffix(f.GetHelp(), ".") || len(f.GetHelp()) < 8:
			t.Errorf("%s: %q is no sentence", n, f.GetHelp())
		}
		lines = append(lines, fmt.Sprintf("| `%s` | %s | %s | %s |", n, strings.ToLower(f.GetType().String()), labels(t, n, f), f.GetHelp()))
	}
	slices.Sort(lines)
	compareTable(t, strings.Join(lines, "\n")+"\n")
}

// labels gives the labels of a metric with their values, in words.
func labels(t *testing.T, name string, f *dto.MetricFamily) string {
	known := map[string][]string{}
	for _, m := range f.Metric {
		for _, l := range m.Label {
			if v := l.GetValue(); !slices.Contains(known[l.GetName()], v) {
				known[l.GetName()] = append(known[l.GetName()], v)
			}
		}
	}
	var out []string
	for n, vs := range known {
		slices.Sort(vs)
		if !slices.Contains([]string{"class", "kind", "outcome", "protocol", "state", "tls", "to", "version"}, n) || len(vs) > 20 {
			t.Errorf("%s: is the label %s of a closed set? %v", name, n, vs)
		}
		if n == "version" {
			vs = []string{"that of Posthaste"}
		}
		out = append(out, n+": "+strings.Join(vs, " "))
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

// compareTable compares the table of the docs with what it should be.
func compareTable(t *testing.T, want string) {
	t.Helper()
	const file, head = "../../docs/metrics.md", "| metric | type | labels | what |\n|---|---|---|---|\n"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), head)
	table, after, end := strings.Cut(rest, "\n\n")
	if !ok || !end {
		t.Fatal("docs/metrics.md has no table")
	}
	if table += "\n"; table == want {
		return
	}
	if *update {
		if err := os.WriteFile(file, []byte(before+head+want+"\n"+after), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("docs/metrics.md has\n%s\nand there are\n%s\ngo test ./internal/server -run Uniform -update writes it", table, want)
}

// packages gives the names of all packages.
func packages(t *testing.T) map[string]bool {
	out := map[string]bool{}
	err := filepath.WalkDir("..", func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			out[d.Name()] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
