package mx_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"posthaste/internal/agent/mx"
	"posthaste/test/house"
)

// TestForecast: of the mail that has come, what would not be believed from us.
func TestForecast(t *testing.T) {
	z, signer := world(t)
	z.Text("bank.example", "v=spf1 ip4:192.0.2.1 -all").Text("_dmarc.bank.example", "v=DMARC1; p=quarantine")
	z.Text("open.example", "v=spf1 ip4:192.0.2.1 -all").Text("_dmarc.open.example", "v=DMARC1; p=none")
	h, _ := newHouse(t)
	h.MX.DNS = z
	for _, from := range []string{"x@bank.example", "y@bank.example", "x@good.example", "x@sub.good.example", "x@open.example", "x@quiet.example"} {
		head := "From: " + from + "\r\nAuthentication-Results: elsewhere.example; dmarc=pass header.from=evil.example\r\n\r\n"
		if strings.Contains(from, "sub") { // signed by its parent
			field, err := signer.Sign([]byte(head), strings.NewReader("x\r\n"), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			head = string(field) + head
		}
		if _, err := receive(h, from, "ada@a.example", head+"x\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	f := mx.Forecast{Hostname: h.Hostname, DNS: z, Mailboxes: h.Mailboxes}
	ac, err := h.Directory.AccountOf(t.Context(), house.Address("ada@a.example"))
	if err != nil {
		t.Fatal(err)
	}
	looked, losses, err := f.Forward(t.Context(), ac.ID)
	want := []mx.Loss{{Domain: "bank.example", Policy: "quarantine", Messages: 2}, {Domain: "good.example", Policy: "reject", Messages: 1}}
	if err != nil || looked != 6 || !slices.Equal(losses, want) {
		t.Errorf("%d, %+v, %v", looked, losses, err)
	}
}
