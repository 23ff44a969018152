package mailbox

import (
	"bytes"
	"reflect"
	"testing"

	"posthaste/internal/base/mail"
)

// FuzzRows: rows that are not as they were written are errors, and what can be
// read is written again as it was.
func FuzzRows(f *testing.F) {
	row := Row{UID: 3, Flags: Seen | 1<<40, ModSeq: 9, Email: 4, Thread: 5, Size: 600, date: 1e9, zone: -330, saved: 1e9 + 5}
	f.Add(row.append(nil))
	f.Add(root{modseq: 7, nextMailbox: 8, usedBytes: 1 << 40}.append(nil))
	f.Add((&Mailbox{Name: "INBOX", Role: InboxRole, UIDValidity: 1, UIDNext: 2, Placeholder: true}).append(nil))
	f.Add((&op{kind: opFlags, box: 1, uids: mail.UIDs(1, 2, 3, 9), add: Seen, remove: ^Seen}).append((&op{kind: opGone, box: 2}).append(nil)))
	f.Add(runs{{3, 5, 9, true}, {6, 6, 4, false}, {511, 511, 12, true}}.append(nil))
	f.Add((&op{kind: opSeen, box: 1, reader: 9, uids: mail.UIDs(1, 2)}).append(nil))
	f.Add((&Mailbox{Name: "x", own: 7, chosen: true}).append(nil))
	f.Add([]byte{recordVersion, 0, 0, 0, 0, 1, 'x', 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if r, err := decodeRow(1, raw); err == nil {
			if again, err := decodeRow(1, r.append(nil)); err != nil || again != r {
				t.Errorf("%+v became %+v, %v", r, again, err)
			}
		}
		if r, err := decodeRoot(raw); err == nil {
			if again, err := decodeRoot(r.append(nil)); err != nil || again != r {
				t.Errorf("%+v became %+v, %v", r, again, err)
			}
		}
		if m, err := decodeMailbox(1, raw); err == nil {
			if again, err := decodeMailbox(1, m.append(nil)); err != nil || !reflect.DeepEqual(again, m) {
				t.Errorf("%+v became %+v, %v", m, again, err)
			}
		}
		if e, err := decodeEmail(raw); err == nil {
			if again, err := decodeEmail(e.append(nil)); err != nil || !reflect.DeepEqual(again.prefix, e.prefix) || !bytes.Equal(again.ref.Inline, e.ref.Inline) || again.ref.Blob != e.ref.Blob {
				t.Errorf("%+v became %+v, %v", e, again, err)
			}
		}
		var ops []byte
		if err := decodeOps(raw, func(o *op) error { ops = o.append(ops); return nil }); err == nil {
			var again []byte
			if err := decodeOps(ops, func(o *op) error { again = o.append(again); return nil }); err != nil || !bytes.Equal(again, ops) {
				t.Errorf("%x became %x, %v", ops, again, err)
			}
		}
		for _, n := range []uint32{0, 7, 1<<23 - 1} {
			if l, err := decodeRuns(n, raw); err == nil {
				if again, err := decodeRuns(n, l.append(nil)); err != nil || !reflect.DeepEqual(again, l) {
					t.Errorf("%v became %v, %v", l, again, err)
				}
				set := l.set(n, inBlock(n), true, 9, inBlock(n))
				if len(set) != 1 || set[0].seq != 9 || !inBlock(n).Equal(mail.UIDSpan(set[0].first, set[0].last)) {
					t.Errorf("%v became %v", l, set)
				}
			}
		}
		if r, err := decodeRecord(raw); err == nil {
			r.Fields(nil, "subject", "from")
		}
	})
}
