package mda_test

import (
	"net/netip"
	"strings"
	"testing"

	"posthaste/internal/agent/mda"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/smtp"
	"posthaste/test/house"
)

// TestBinary: a binary message is in the mailbox as lines of text, by whichever door it
// came; one that is none by its own header is refused. RFC 3030 §3
func TestBinary(t *testing.T) {
	const (
		in   = "From: ada@a.example\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n\x00\r\n.\n\xff"
		want = "Content-Transfer-Encoding: base64\r\n\r\nAA0KLgr/\r\n"
	)
	ada := mail.Peer{Addr: netip.MustParseAddrPort("192.0.2.9:9"), Hello: "x", Account: 1, Login: house.Address("ada@a.example")}
	h := house.New(t, "mx.a.example")
	h.Account(0, "ada@a.example")
	doors := map[string]smtp.Receiver{"mx": h.MX, "msa": h.MSA, "lmtp": &mda.Door{Hostname: h.Hostname, Agent: h.Delivery}}
	for name, r := range doors {
		for _, c := range []struct {
			text, refused string
		}{{in, ""}, {strings.Replace(in, "binary", "8bit", 1), "5.6.0"}} {
			tx, err := r.Begin(t.Context(), ada, ada.Login, smtp.MailParams{Binary: true})
			if err != nil {
				t.Fatal(err)
			}
			if err := tx.Rcpt(t.Context(), ada.Login, smtp.RcptParams{}); err != nil {
				t.Fatal(err)
			}
			before := len(h.Inbox("ada@a.example"))
			err = tx.Data(t.Context(), strings.NewReader(c.text))
			box := h.Inbox("ada@a.example")
			if c.refused != "" {
				if st, _ := mail.StatusOf(err); st.String() != c.refused || len(box) != before {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			if err != nil || len(box) != before+1 || !strings.HasSuffix(box[before], want) {
				t.Errorf("%s: %v, %q", name, err, box[before:])
			}
		}
	}
}
