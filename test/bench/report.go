//go:build bench

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// notes are what the runs of one workload on one server have measured.
type notes struct {
	order  []string
	values map[string][]float64
}

func (n *notes) add(figure string, v float64) {
	if n.values == nil {
		n.values = map[string][]float64{}
	}
	if _, ok := n.values[figure]; !ok {
		n.order = append(n.order, figure)
	}
	n.values[figure] = append(n.values[figure], v)
}

func (n *notes) median(figure string) (float64, bool) {
	v := slices.Sorted(slices.Values(n.values[figure]))
	if len(v) == 0 {
		return 0, false
	}
	return (v[len(v)/2] + v[(len(v)-1)/2]) / 2, true
}

type results struct {
	order []string
	all   map[string]map[*server]*notes
}

func (r *results) of(workload string, s *server) *notes {
	if r.all == nil {
		r.all = map[string]map[*server]*notes{}
	}
	if r.all[workload] == nil {
		r.all[workload] = map[*server]*notes{}
		r.order = append(r.order, workload)
	}
	if r.all[workload][s] == nil {
		r.all[workload][s] = &notes{}
	}
	return r.all[workload][s]
}

func number(v float64) string {
	switch {
	case v >= 1000:
		s := fmt.Sprintf("%.0f", v)
		return s[:len(s)-3] + "," + s[len(s)-3:]
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2g", v)
}

// lessIsBetter tells of a figure.
func lessIsBetter(figure string) bool { return !strings.Contains(figure, "/s") }

// ratio gives how much better we are than the best of the others.
func (r *results) ratio(workload, figure string, servers []*server) (ratio float64, ok bool) {
	ours, ok := r.of(workload, servers[0]).median(figure)
	if !ok || ours == 0 {
		return 0, false
	}
	for _, s := range servers[1:] {
		if v, ok := r.of(workload, s).median(figure); ok {
			q := ours / v
			if lessIsBetter(figure) {
				q = v / ours
			}
			if ratio == 0 || q < ratio {
				ratio = q
			}
		}
	}
	return ratio, ratio > 0
}

// table writes all medians as Markdown.
func (r *results) table(w io.Writer, servers []*server) {
	fmt.Fprint(w, "| workload | figure |")
	for _, s := range servers {
		fmt.Fprintf(w, " %s |", s.name)
	}
	fmt.Fprint(w, " ratio | bar | aim |\n|---|---|", strings.Repeat("---:|", len(servers)+3), "\n")
	for _, name := range r.order {
		shown := name
		for _, figure := range r.of(name, servers[0]).order {
			fmt.Fprintf(w, "| %s | %s |", shown, figure)
			shown = ""
			for _, s := range servers {
				if v, ok := r.of(name, s).median(figure); ok {
					fmt.Fprintf(w, " %s |", number(v))
				} else {
					fmt.Fprint(w, " – |")
				}
			}
			if q, ok := r.ratio(name, figure, servers); ok {
				fmt.Fprintf(w, " %s× |", number(q))
			} else {
				fmt.Fprint(w, " |")
			}
			if g, ok := goalOf(name, figure); ok {
				fmt.Fprintf(w, " %g× | %g× |\n", g.bar, g.aim)
			} else {
				fmt.Fprint(w, " | |\n")
			}
		}
	}
}

// print tells how it goes.
func (r *results) print(w io.Writer, workload string, servers []*server) {
	for _, s := range servers {
		n := r.of(workload, s)
		fmt.Fprintf(w, "%-36s %-18s", workload, s.name)
		for _, f := range n.order {
			v, _ := n.median(f)
			fmt.Fprintf(w, "  %s %s", number(v), f)
		}
		fmt.Fprintln(w)
	}
}
