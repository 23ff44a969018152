// Package metric has the few helpers around Prometheus' client that keep metrics
// uniform: each is declared once, with a sentence of help and all the values that its
// labels can have, and each of its series is there from the beginning, at zero.
//
// A label has values of a closed set only. No account, address, domain or host is one:
// those would be as many as there are people, and would tell about them.
//
// A name is posthaste_<package>_<what>_<unit>. What is counted ends in "_total".
package metric

import (
	"math"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// A Set is metrics that are told together. To declare what cannot be, as a name that is
// there already, is a mistake in the program: it panics.
type Set struct{ registry *prometheus.Registry }

// New makes an empty Set.
func New() *Set { return &Set{prometheus.NewRegistry()} }

// A Label is one, and all values that it can have.
type Label struct {
	Name   string
	Values []string
}

// A row is the values of the labels of one series.
type row [2]string

// Rows are the series of one metric, by the values of its labels, of which there are two
// at most. They do not change, so finding one is as quick as reading a map.
type Rows[T any] struct {
	series map[row]T
	none   T
}

// Of gives the series with these values. What is counted under values that the labels
// do not have is told nowhere.
func (r *Rows[T]) Of(values ...string) T {
	var k row
	copy(k[:], values)
	if t, ok := r.series[k]; ok {
		return t
	}
	return r.none
}

// rows makes the series of all values.
func rows[T any](of func(values ...string) T, none T, labels []Label) *Rows[T] {
	r := &Rows[T]{series: map[row]T{}, none: none}
	switch len(labels) {
	case 0:
		r.series[row{}] = of()
	case 1:
		for _, v := range labels[0].Values {
			r.series[row{v}] = of(v)
		}
	case 2:
		for _, v := range labels[0].Values {
			for _, w := range labels[1].Values {
				r.series[row{v, w}] = of(v, w)
			}
		}
	default:
		panic("metric: more than two labels")
	}
	return r
}

func names(labels []Label) (out []string) {
	for _, l := range labels {
		out = append(out, l.Name)
	}
	return out
}

// Counter declares what only grows.
func (s *Set) Counter(name, help string, labels ...Label) *Rows[prometheus.Counter] {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, names(labels))
	s.registry.MustRegister(v)
	return rows(v.WithLabelValues, prometheus.NewCounter(prometheus.CounterOpts{}), labels)
}

// Gauge declares what grows and shrinks.
func (s *Set) Gauge(name, help string, labels ...Label) *Rows[prometheus.Gauge] {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, names(labels))
	s.registry.MustRegister(v)
	return rows(v.WithLabelValues, prometheus.NewGauge(prometheus.GaugeOpts{}), labels)
}

// Histogram declares what is seen in many sizes; bounds are the upper ends of what is
// counted together.
func (s *Set) Histogram(name, help string, bounds []float64, labels ...Label) *Rows[prometheus.Observer] {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: bounds}, names(labels))
	s.registry.MustRegister(v)
	return rows(v.WithLabelValues, prometheus.Observer(prometheus.ObserverFunc(func(float64) {})), labels)
}

// A Field is a metric whose value stands in a T. It is a counter if its name ends in
// "_total".
type Field[T any] struct {
	Name, Help string
	// Label and Is are a label and its value; "" is no label. Fields of one name differ
	// in Is only.
	Label, Is string
	// Value gives the value; NaN: there is none.
	Value func(T) float64
}

// Read declares metrics that stand together in a T, which is read each time that
// somebody asks; not ok: there is none now.
func Read[T any](s *Set, read func() (t T, ok bool), fields ...Field[T]) {
	r := &reader[T]{read: read, fields: fields}
	for _, f := range fields {
		l := prometheus.Labels{}
		if f.Label != "" {
			l[f.Label] = f.Is
		}
		r.descs = append(r.descs, prometheus.NewDesc(f.Name, f.Help, nil, l))
	}
	s.registry.MustRegister(r)
}

type reader[T any] struct {
	read   func() (T, bool)
	fields []Field[T]
	descs  []*prometheus.Desc
}

// Describe is as of prometheus.Collector.
func (r *reader[T]) Describe(to chan<- *prometheus.Desc) {
	for _, d := range r.descs {
		to <- d
	}
}

// Collect is as of prometheus.Collector.
func (r *reader[T]) Collect(to chan<- prometheus.Metric) {
	t, ok := r.read()
	if !ok {
		return
	}
	for i, f := range r.fields {
		kind := prometheus.GaugeValue
		if strings.HasSuffix(f.Name, "_total") {
			kind = prometheus.CounterValue
		}
		if v := f.Value(t); !math.IsNaN(v) {
			to <- prometheus.MustNewConstMetric(r.descs[i], kind, v)
		}
	}
}

// Process adds what Prometheus' client tells of any program: go_* and process_*.
func (s *Set) Process() {
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

// maxAsking is how many may ask at a time.
const maxAsking = 4

// Handler tells the metrics of all sets, in the format that is asked for, as text if
// none is.
func Handler(sets ...*Set) http.Handler {
	var all prometheus.Gatherers
	for _, s := range sets {
		all = append(all, s.registry)
	}
	return promhttp.HandlerFor(all, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: maxAsking})
}

// State is 1 for what is so, and else 0.
func State(so bool) float64 {
	if so {
		return 1
	}
	return 0
}
