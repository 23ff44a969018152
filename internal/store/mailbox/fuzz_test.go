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
		if r, err := decodeRecord(raw); err == nil {
			r.Fields(nil, "subject", "from")
		}
	})
}
