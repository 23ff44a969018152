package mx_test

import (
	"slices"
	"strings"
	"testing"

	"posthaste/internal/agent/mx"
	"posthaste/internal/base/dns/zone"
	"posthaste/internal/base/mail"
	"posthaste/internal/proto/smtp"
)

// TestNoRelay: whatever form an address has, a stranger has nothing sent elsewhere:
// it is refused, or somebody here gets it under that very name.
func TestNoRelay(t *testing.T) {
	h, _ := newHouse(t)
	h.MX.DNS = new(zone.Zone)
	h.MX.Counts = mx.NewCounts(mx.Policy{}, nil)
	h.Alias("@a.example", "bob@a.example") // takes every name
	forward(h, "ada@a.example", true, "y@far.example")
	forms := []string{
		"victim@x.example", "victim@X.EXAMPLE.", "victim@localhost", "victim@[192.0.2.77]", "victim@[IPv6:::1]", "victim@[3221225985]", "victim",
		"victim%x.example@a.example", "victim%x.example@mx.a.example", "victim%x.example@[192.0.2.1]", "victim%x.example", "victim%x.example@",
		`"victim@x.example"`, `"victim%x.example"`, `"victim@x.example"@a.example`, `"victim@x.example"@[192.0.2.1]`, `"victim@x.example>"@a.example`,
		"victim@x.example@a.example", "victim@a.example@x.example", "@a.example:victim@x.example", "@[192.0.2.1]:victim@x.example", "@a.example,@mx.a.example:victim@x.example",
		"x.example!victim", "x.example!victim@a.example", "a.example!x.example!victim", "a.example!x.example!victim@mx.a.example", "x.example:victim@a.example",
		"victim@x.example ,ada@a.example", "victim@x.example,ada@a.example", "a:victim@x.example;", "victim@x.example> <ada@a.example", "victim@x.example\x00@a.example",
		"ada@a.example\x00victim@x.example", "+AEA-x.example@a.example", "=?utf-8?q?victim=40x.example?=@a.example", "|cmd@a.example", `"|cmd victim@x.example"@a.example`, "/etc/passwd@a.example",
		":include:/x@a.example", "-oQ/tmp@a.example", "${run{x}}@a.example", "() { :; };@a.example", "SRS0=aaaaaaaa=aa=x.example=victim@a.example", "SRS1=aaaaaaaa=x.example==aaaaaaaa=aa=z=victim@a.example",
		"srs2=aaaaaaaa=0000000000000000@a.example", "SRS0+aaaaaaaa=aa=x.example=victim@mx.a.example",
	}
	for _, sender := range []string{"spam@y.example", "ada@a.example", "spam@a.example", "spam@localhost", "", "spam@[192.0.2.1]"} {
		for _, form := range forms {
			c, err := smtp.ParseCommand([]byte("RCPT TO:<" + form + "> ORCPT=rfc822;victim@x.example"))
			if err != nil {
				continue
			}
			from := mail.Address{}
			if sender != "" {
				if from, err = mail.ParseAddress(sender); err != nil {
					t.Fatal(err)
				}
			}
			tx, err := h.MX.Begin(t.Context(), peer, from, smtp.MailParams{})
			if err != nil {
				t.Fatal(err)
			}
			if err := tx.Rcpt(t.Context(), c.Path, c.Rcpt); err != nil {
				tx.Reset(t.Context())
				continue
			}
			if c.Path.Domain != "a.example" || strings.Contains(form, "SRS") {
				t.Errorf("%q was taken from %q", form, sender)
			}
			if err := tx.Data(t.Context(), strings.NewReader(text)); err != nil && status(err) == err.Error() {
				t.Errorf("%q from %q: %v", form, sender, err)
			}
		}
	}
	if got := h.Waiting(); len(got) != 0 {
		t.Errorf("waiting: %q", got)
	}
	if got := h.Inbox("bob@a.example"); len(got) == 0 || slices.ContainsFunc(got, func(m string) bool { return !strings.Contains(m, "Hello.") }) {
		t.Errorf("%d messages", len(got))
	}
}
