package server

import (
	"context"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"posthaste/internal/agent/auth"
	"posthaste/internal/agent/backup"
	"posthaste/internal/agent/collector"
	"posthaste/internal/base/metric"
	"posthaste/internal/base/trace"
	"posthaste/internal/server/listen"
	"posthaste/internal/store/directory"
)

// Metrics are what is counted while houses follow one another. All metrics are declared
// here and in statemetrics.go; the other rooms know nothing of them, they have functions
// that hear what goes on, and numbers that can be asked for (decision 042). docs/metrics.md
// has them all.
type Metrics struct {
	set *metric.Set

	events     *metric.Rows[prometheus.Counter]
	delivery   *metric.Rows[prometheus.Observer]
	recipients *metric.Rows[prometheus.Counter]
	logins     *metric.Rows[prometheus.Counter]

	open              *metric.Rows[prometheus.Gauge]
	accepted, refused *metric.Rows[prometheus.Counter]
	received, sent    *metric.Rows[prometheus.Counter]

	visits                      *metric.Rows[prometheus.Counter]
	collected, bytesCollected   prometheus.Counter
	backups                     *metric.Rows[prometheus.Counter]
	backupsRunning, backupBytes prometheus.Gauge
	commits                     prometheus.Observer
}

// What labels can be.
var (
	protocols = metric.Label{Name: "protocol", Values: []string{"smtp", "submission", "lmtp", "imap", "pop3", "sieve", "https", "metrics"}}
	places    = metric.Label{Name: "to", Values: []string{"mailbox", "host"}}
	ends      = metric.Label{Name: "outcome", Values: []string{"delivered", "deferred", "failed"}}
	levels    = metric.Label{Name: "tls", Values: []string{"verified", "encrypted", "none", "unreached"}}
	classes   = metric.Label{Name: "class", Values: []string{"2", "4", "5", "none"}}
)

// Upper bounds in seconds.
var (
	commitTimes   = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	deliveryTimes = []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 86400, 5 * 86400}
)

// kinds are the events of a message's life.
func kinds() metric.Label {
	l := metric.Label{Name: "kind"}
	for _, k := range trace.Kinds() {
		l.Values = append(l.Values, k.String())
	}
	return l
}

func words[T ~string](name string, list []T) metric.Label {
	l := metric.Label{Name: name}
	for _, w := range list {
		l.Values = append(l.Values, string(w))
	}
	return l
}

// NewMetrics makes metrics of which all are zero.
func NewMetrics() *Metrics {
	s := metric.New()
	s.Process()
	m := &Metrics{set: s}
	m.events = s.Counter("posthaste_trace_events_total", "Events in the lives of messages, by kind and by the class of their status code.", kinds(), classes)
	m.delivery = s.Histogram("posthaste_trace_delivery_seconds", "Time from MAIL FROM, or from when a message was made or collected, until it is in a mailbox or another host has taken it.", deliveryTimes, places)
	m.recipients = s.Counter("posthaste_mta_recipients_total", "What came of attempts for recipients of mail in the queue, and how the connection to the other host was protected.", ends, levels)
	m.logins = s.Counter("posthaste_auth_logins_total", "Attempts to log in, by protocol and by what came of them.", metric.Label{Name: "protocol", Values: []string{"submission", "imap", "pop3", "sieve", "web"}}, words("outcome", auth.Outcomes()))
	m.open = s.Gauge("posthaste_listen_open_connections", "Connections that are open, by the protocol of their listener.", protocols)
	m.accepted = s.Counter("posthaste_listen_accepted_connections_total", "Connections that came in.", protocols)
	m.refused = s.Counter("posthaste_listen_refused_connections_total", "Connections that were turned away, as there were too many.", protocols)
	m.received = s.Counter("posthaste_listen_received_bytes_total", "Bytes that came in, as they are on the wire.", protocols)
	m.sent = s.Counter("posthaste_listen_sent_bytes_total", "Bytes that went out, as they are on the wire.", protocols)
	m.visits = s.Counter("posthaste_collector_visits_total", "Visits to accounts elsewhere, by how they ended.", words("outcome", collector.Outcomes()))
	m.collected = s.Counter("posthaste_collector_messages_total", "Messages that were collected from accounts elsewhere.").Of()
	m.bytesCollected = s.Counter("posthaste_collector_bytes_total", "Bytes of the messages that were collected.").Of()
	m.backups = s.Counter("posthaste_backup_runs_total", "Backups that have ended, on the schedule or by hand.", metric.Label{Name: "outcome", Values: []string{"made", "failed"}})
	m.backupsRunning = s.Gauge("posthaste_backup_running_runs", "Backups that are being made.").Of()
	m.backupBytes = s.Gauge("posthaste_backup_last_bytes", "Size of the last backup that was made since the server started; 0 is none.").Of()
	m.commits = s.Histogram("posthaste_pebblekv_commit_seconds", "Time from when a commit is in the log until the disk has it.", commitTimes).Of()
	return m
}

// heard counts an event.
func (m *Metrics) heard(e trace.Event) {
	class := "none"
	switch e.Status.Class {
	case 2:
		class = "2"
	case 4:
		class = "4"
	case 5:
		class = "5"
	}
	m.events.Of(e.Kind.String(), class).Inc()
	switch e.Kind {
	case trace.Stored:
		m.delivery.Of("mailbox").Observe(took(e))
	case trace.Delivered:
		m.delivery.Of("host").Observe(took(e))
		m.recipients.Of("delivered", level(e)).Inc()
	case trace.Deferred:
		m.recipients.Of("deferred", level(e)).Inc()
	case trace.Failed:
		m.recipients.Of("failed", level(e)).Inc()
	}
}

// took gives how old the message was.
func took(e trace.Event) float64 { return max(0, e.Time.Sub(e.Trace.Time()).Seconds()) }

// level gives how a connection was protected, of the words for it.
func level(e trace.Event) string {
	switch {
	case e.Remote == "":
		return "unreached"
	case e.TLS == "":
		return "none"
	case strings.Contains(e.TLS, "verified by "):
		return "verified"
	}
	return "encrypted"
}

func (m *Metrics) tried(over directory.Protocols, o auth.Outcome) {
	name := map[directory.Protocols]string{directory.Submission: "submission", directory.IMAP: "imap", directory.POP3: "pop3", directory.Sieve: "sieve", directory.Web: "web"}[over]
	m.logins.Of(name, string(o)).Inc()
}

func (m *Metrics) visited(v collector.Visited) {
	m.visits.Of(string(v.Outcome)).Inc()
	m.collected.Add(float64(v.Messages))
	m.bytesCollected.Add(float64(v.Bytes))
}

func (m *Metrics) landed(d time.Duration) { m.commits.Observe(d.Seconds()) }

// meter gives what counts at a port.
func (m *Metrics) meter(protocol string) *listen.Meter {
	open, accepted, in, out := m.open.Of(protocol), m.accepted.Of(protocol), m.received.Of(protocol), m.sent.Of(protocol)
	return &listen.Meter{
		Opened: func() { open.Inc(); accepted.Inc() },
		Closed: open.Dec,
		In:     func(n int) { in.Add(float64(n)) },
		Out:    func(n int) { out.Add(float64(n)) },
	}
}

type makeBackup = func(ctx context.Context, r *backup.Repository) (backup.Written, error)

// backup counts what another makes.
func (m *Metrics) backup(by makeBackup) makeBackup {
	if by == nil {
		return nil
	}
	return func(ctx context.Context, r *backup.Repository) (backup.Written, error) {
		m.backupsRunning.Inc()
		defer m.backupsRunning.Dec()
		w, err := by(ctx, r)
		if err != nil {
			m.backups.Of("failed").Inc()
			return w, err
		}
		m.backups.Of("made").Inc()
		m.backupBytes.Set(float64(w.Bytes))
		return w, nil
	}
}
