package reports_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
	"posthaste/internal/proto/dmarc"
	"posthaste/internal/store/reports"
)

func sight(domain string, i int) reports.Sight {
	return reports.Sight{
		Published: dmarc.Published{Domain: domain, Policy: dmarc.Reject, Subdomains: dmarc.PolicyNone, StrictSPF: true, Discovery: "treewalk"},
		Wanted:    []string{"mailto:r@" + domain},
		Row: dmarc.Row{
			Source: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), Disposition: "none", SPF: true, EnvelopeFrom: "b." + domain, HeaderFrom: domain,
			Reasons: []dmarc.Override{{Type: "other", Comment: "x"}},
			DKIMs:   []dmarc.DKIMResult{{Domain: domain, Selector: "s", Result: "fail"}},
			SPFs:    []dmarc.SPFResult{{Domain: domain, Scope: "mfrom", Result: "pass"}},
		},
	}
}

// TestSaw: messages are summed by day, policy domain and kind, over restarts; a report
// is made of them once.
func TestSaw(t *testing.T) {
	db := kv.Strict(memkv.New())
	s := &reports.Store{DB: db}
	ctx, day := t.Context(), reports.DayOf(noon)
	for i := range 6 {
		s.Saw(noon, sight("b.example", 1))
		s.Saw(noon, sight("b.example", i%2))
		s.Saw(noon.Add(24*time.Hour), sight("a.example", 7))
		if i == 3 {
			if err := s.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			s = &reports.Store{DB: db}
		}
	}
	last := sight("b.example", 1)
	last.Published.Policy, last.Wanted = dmarc.Quarantine, []string{"mailto:new@b.example", "x"}
	s.Saw(noon.Add(time.Hour), last)
	if err := s.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	list, err := s.SightedAfter(ctx, 0, "", day+9, 1)
	if err != nil || len(list) != 1 || list[0].Domain != "b.example" || list[0].Messages != 13 || list[0].Rows != 2 || list[0].More != 0 {
		t.Fatalf("%+v %v", list, err)
	}
	if !reflect.DeepEqual(list[0].Published, last.Published) || !reflect.DeepEqual(list[0].Wanted, last.Wanted) {
		t.Errorf("%+v", list[0])
	}
	next, err := s.SightedAfter(ctx, list[0].Day, list[0].Domain, day+9, 10)
	if err != nil || len(next) != 1 || next[0].Domain != "a.example" || next[0].Day != day+1 || next[0].Messages != 6 {
		t.Errorf("%+v %v", next, err)
	}
	rows, err := s.Rows(ctx, day, "b.example")
	if err != nil || len(rows) != 2 || rows[0].Count+rows[1].Count != 13 {
		t.Fatalf("%+v %v", rows, err)
	}
	want := sight("b.example", 1).Row
	got := rows[0]
	if got.Source != want.Source {
		got = rows[1]
	}
	want.Count = 10
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want\n%+v", got, want)
	}
	if wrong, err := s.Check(ctx); err != nil || len(wrong) > 0 {
		t.Error(wrong, err)
	}
	sending := reports.Sending{Subject: reports.OnDMARC, Day: day, Domain: "b.example", At: noon.Add(time.Hour), Counted: 13, To: []string{"r@b.example"}, Mail: []mail.TraceID{mail.NewTraceID(noon)}, Note: "x"}
	for i := range 2 {
		err := db.Update(ctx, kv.Plan{Locks: []kv.Lock{reports.Lock()}}, func(tx kv.Tx) error {
			first, err := reports.MarkSent(tx, sending)
			if first != (i == 0) {
				t.Errorf("time %d: first is %v", i, first)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if rows, err := s.Rows(ctx, day, "b.example"); err != nil || len(rows) > 0 {
		t.Error("they were told:", rows, err)
	}
	if rows, err := s.Rows(ctx, day+1, "a.example"); err != nil || len(rows) != 1 {
		t.Error(rows, err)
	}
	if sent, err := s.LatestSent(ctx, 5); err != nil || len(sent) != 1 || !reflect.DeepEqual(sent[0], sending) {
		t.Errorf("%+v %v", sent, err)
	}
	if wrong, err := s.Check(ctx); err != nil || len(wrong) > 0 {
		t.Error(wrong, err)
	}
	if err := s.Expire(ctx, noon.Add(48*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if list, err := s.SightedAfter(ctx, 0, "", day+9, 10); err != nil || len(list) > 0 {
		t.Error(list, err)
	}
}

// TestSentOfOld: rows of versions that kept only that a report was sent are read.
func TestSentOfOld(t *testing.T) {
	db := kv.Strict(memkv.New())
	s := &reports.Store{DB: db}
	err := db.Update(t.Context(), kv.Plan{Locks: []kv.Lock{reports.Lock()}}, func(tx kv.Tx) error {
		tx.Set([]byte("W\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x51\x40b.example"), []byte{1})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sent, err := s.LatestSent(t.Context(), 5)
	if err != nil || len(sent) != 1 || sent[0].Domain != "b.example" || sent[0].Day != 0x5140 || !sent[0].At.IsZero() {
		t.Errorf("%+v %v", sent, err)
	}
	if wrong, err := s.Check(t.Context()); err != nil || len(wrong) > 0 {
		t.Error(wrong, err)
	}
}

// TestManySights: however many kinds of messages there are, memory and the report are
// bounded, and all are counted.
func TestManySights(t *testing.T) {
	s := &reports.Store{DB: kv.Strict(memkv.New())}
	ctx, day := t.Context(), reports.DayOf(noon)
	for i := range 12_000 {
		s.Saw(noon, sight("b.example", i))
		if i%3 == 0 {
			s.Saw(noon, sight(fmt.Sprintf("d%d.example", i), i))
		}
	}
	big := sight("big.example", 0)
	for i := range 30 {
		big.Row.DKIMs = append(big.Row.DKIMs, dmarc.DKIMResult{Domain: strings.Repeat("d", 200), Selector: strings.Repeat("s", 2000) + fmt.Sprint(i), Result: "fail"})
	}
	for i := range 1500 {
		big.Row.Source = netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		s.Saw(noon, big)
	}
	if err := s.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	for range 30_000 {
		s.Saw(noon, sight("b.example", 11_999))
	}
	for i := range 30_000 {
		s.Saw(noon, sight("c.example", i))
	}
	if err := s.Flush(ctx); err == nil || !strings.Contains(err.Error(), "10001 messages") {
		t.Error("what was too much is said:", err)
	}
	at := reports.Sighted{}
	var messages, domains int64
	for {
		list, err := s.SightedAfter(ctx, at.Day, at.Domain, day+1, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, at = range list {
			domains++
			messages += at.Messages
			rows, err := s.Rows(ctx, at.Day, at.Domain)
			if err != nil || int64(len(rows)) != at.Rows || at.Rows > 5000 {
				t.Error(at, len(rows), err)
			}
			for _, r := range rows {
				at.Messages -= r.Count
			}
			if at.Messages != at.More {
				t.Errorf("%+v", at)
			}
			if at.Rows > 1000 {
				a := dmarc.Aggregate{Published: at.Published, Begin: noon, End: noon, Rows: rows}
				text, err := a.Append(nil)
				if err != nil || len(text) > dmarc.MaxReport {
					t.Error(at.Domain, len(text), err)
				}
			}
		}
		if len(list) < 100 {
			break
		}
	}
	if want := int64(12_000 + 4000 + 1500 + 30_000 + 19_999); messages != want || domains != 4003 {
		t.Errorf("%d messages of %d domains, want %d", messages, domains, want)
	}
}
