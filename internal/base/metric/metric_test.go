package metric

import (
	"math"
	"net/http/httptest"
	"strings"
	"testing"
)

type numbers struct{ big, small, gone float64 }

// TestSet: all kinds of metrics, as they are told; every series is there from the
// beginning, and what does not belong is told nowhere.
func TestSet(t *testing.T) {
	s, other := New(), New()
	c := s.Counter("posthaste_test_letters_total", "Letters.", Label{"way", []string{"in", "out"}}, Label{"class", []string{"2"}})
	g := s.Gauge("posthaste_test_open_doors", "Doors.")
	h := other.Histogram("posthaste_test_wait_seconds", "Waits.", []float64{1, 10})
	there := true
	Read(s, func() (numbers, bool) { return numbers{1, 2, math.NaN()}, there },
		Field[numbers]{Name: "posthaste_test_rows", Help: "Rows.", Label: "size", Is: "big", Value: func(n numbers) float64 { return n.big }},
		Field[numbers]{Name: "posthaste_test_rows", Help: "Rows.", Label: "size", Is: "small", Value: func(n numbers) float64 { return n.small }},
		Field[numbers]{Name: "posthaste_test_gone_total", Help: "Gone.", Value: func(n numbers) float64 { return n.gone }},
		Field[numbers]{Name: "posthaste_test_seen_total", Help: "Seen.", Value: func(n numbers) float64 { return n.small }})
	c.Of("in", "2").Inc()
	c.Of("in", "9").Inc()
	c.Of("nowhere").Inc()
	g.Of().Set(3)
	g.Of("x").Set(7)
	h.Of().Observe(5)
	h.Of("x").Observe(5)
	want := `# HELP posthaste_test_letters_total Letters.
# TYPE posthaste_test_letters_total counter
posthaste_test_letters_total{class="2",way="in"} 1
posthaste_test_letters_total{class="2",way="out"} 0
# HELP posthaste_test_open_doors Doors.
# TYPE posthaste_test_open_doors gauge
posthaste_test_open_doors 3
# HELP posthaste_test_rows Rows.
# TYPE posthaste_test_rows gauge
posthaste_test_rows{size="big"} 1
posthaste_test_rows{size="small"} 2
# HELP posthaste_test_seen_total Seen.
# TYPE posthaste_test_seen_total counter
posthaste_test_seen_total 2
# HELP posthaste_test_wait_seconds Waits.
# TYPE posthaste_test_wait_seconds histogram
posthaste_test_wait_seconds_bucket{le="1"} 0
posthaste_test_wait_seconds_bucket{le="10"} 1
posthaste_test_wait_seconds_bucket{le="+Inf"} 1
posthaste_test_wait_seconds_sum 5
posthaste_test_wait_seconds_count 1
`
	if got := told(s, other); got != want {
		t.Errorf("told\n%s\nwant\n%s", got, want)
	}
	there = false
	if got := told(s); strings.Contains(got, "rows") || strings.Contains(got, "seen") {
		t.Errorf("told of what is not there:\n%s", got)
	}
}

func told(sets ...*Set) string {
	w := httptest.NewRecorder()
	Handler(sets...).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

// TestProcess: the usual metrics of a program in Go.
func TestProcess(t *testing.T) {
	s := New()
	s.Process()
	if got := told(s); !strings.Contains(got, "go_goroutines ") {
		t.Error(got)
	}
}

// TestDeclaredTwice: the program is wrong.
func TestDeclaredTwice(t *testing.T) {
	s := New()
	s.Gauge("posthaste_test_doors", "Doors.")
	defer func() {
		if recover() == nil {
			t.Error("a name was declared twice")
		}
	}()
	s.Gauge("posthaste_test_doors", "Doors.")
}

// BenchmarkCount counts one event.
func BenchmarkCount(b *testing.B) {
	c := New().Counter("posthaste_test_letters_total", "Letters.", Label{"way", []string{"in", "out"}}, Label{"class", []string{"2", "4"}})
	b.ReportAllocs()
	for b.Loop() {
		c.Of("in", "2").Inc()
	}
}
