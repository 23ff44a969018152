package mailbox

import (
	"fmt"
	"testing"

	"posthaste/internal/base/mail"
)

// What was made of records stays in memory when the records do not, and is made
// again only where there is something new.
func TestColumnsStay(t *testing.T) {
	s := newStore(t, 0, 0)
	s.RecordBytes = 20 << 10
	var ids []mail.EmailID
	write := func() {
		n := len(ids)
		ids = append(ids, add(t, s, Inbox, letter(fmt.Sprint("subject ", n), fmt.Sprintf("<%d@x.example>", n), ""), 0).Email)
	}
	for range 300 {
		write()
	}
	made := 0
	check := func(want int) {
		t.Helper()
		made = 0
		got, err := s.AppendDerived(t.Context(), nil, ada, ids, "size", func(dst []byte, r *Record) []byte {
			made++
			return fmt.Append(dst, len(r.Envelope))
		})
		if err != nil || len(got) != len(ids) {
			t.Fatal(len(got), err)
		}
		records, err := s.Records(t.Context(), ada, ids)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range records {
			if string(got[i]) != fmt.Sprint(len(r.Envelope)) {
				t.Fatalf("email %d: %s, want %d", ids[i], got[i], len(r.Envelope))
			}
		}
		if made != want {
			t.Errorf("made of %d records, want %d", made, want)
		}
	}
	check(300)
	check(0)
	write()
	check(302 % blockEmails) // the block with the new one; ids begin at 1
	if s.recent.bytes > s.RecordBytes || s.columns.bytes > s.RecordBytes {
		t.Errorf("%d and %d bytes are kept, more than %d", s.recent.bytes, s.columns.bytes, s.RecordBytes)
	}
}
