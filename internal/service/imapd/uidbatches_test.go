package imapd

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/imap"
)

func TestUIDBatches(t *testing.T) {
	// 1300 messages with holes: 1:499, 600:1000 and 2000:2399.
	holes := mail.UIDSpan(1, 499)
	holes.AddRange(600, 1000)
	holes.AddRange(2000, 2399)
	for _, tc := range []struct {
		uids mail.UIDSet
		args imap.UIDBatches
		want string
	}{
		{mail.UIDSet{}, imap.UIDBatches{Size: 500}, ""},
		{mail.UIDSpan(7, 7), imap.UIDBatches{Size: 500}, " 7:1"},
		{mail.UIDSpan(1, 500), imap.UIDBatches{Size: 500}, " 500:1"},
		{mail.UIDSpan(1, 501), imap.UIDBatches{Size: 500}, " 501:2,1:1"},
		{holes, imap.UIDBatches{Size: 500}, " 2399:901,900:301,300:1"},
		{holes, imap.UIDBatches{Size: 500, First: 2, Last: 9}, " 900:301,300:1"},
		{holes, imap.UIDBatches{Size: 500, First: 2, Last: 2}, " 900:301"},
		{holes, imap.UIDBatches{Size: 500, First: 4, Last: 5}, ""},
		{holes, imap.UIDBatches{Size: 1 << 31}, " 2399:1"},
		{holes, imap.UIDBatches{Size: 499}, "NO [TOOFEW]"},
		{holes, imap.UIDBatches{Size: 500, First: 3, Last: 2}, "BAD [CLIENTBUG]"},
	} {
		var b bytes.Buffer
		s := &session{enc: imap.NewEncoder(&b), box: &selected{view: imap.NewView(tc.uids)}}
		err := s.uidBatches(t.Context(), &imap.Command{Tag: "A143", Args: &tc.args})
		s.enc.Flush()
		if f, ok := errors.AsType[*failure](err); ok {
			if !strings.HasPrefix(f.Error(), tc.want) || tc.want == "" || b.Len() > 0 {
				t.Errorf("%+v: %v", tc.args, err)
			}
		} else if got := b.String(); got != `* UIDBATCHES (TAG "A143")`+tc.want+"\r\n" {
			t.Errorf("%v %+v: %s", tc.uids, tc.args, got)
		}
	}
}
