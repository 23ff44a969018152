package msa_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"posthaste/internal/proto/dkim"
	"posthaste/internal/store/body"
	"posthaste/test/house"
)

// TestSign: what leaves for elsewhere is signed by the author's domain, over the
// message as it leaves; what stays is not.
func TestSign(t *testing.T) {
	h := newHouse(t)
	h.MSA.Signers = h.Keys.Signers
	_, err := submit(t, h, "To: x@far.example\r\nBcc: y@far.example\r\nFrom: Ada <ada@a.example>\r\nSubject: hello\r\n\r\nHello,  world.\r\n\r\n", "x@far.example", "bob@a.example")
	if err != nil {
		t.Fatal(err)
	}
	if got := h.Inbox("bob@a.example"); len(got) != 1 || strings.Contains(got[0], "DKIM-Signature") {
		t.Errorf("%q", got)
	}
	items := h.Items()
	if len(items) != 1 {
		t.Fatal(items)
	}
	b, err := h.Bodies.Open(t.Context(), items[0].Body, items[0].Prefix)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	signed(t, h, b)
	first, err := h.Keys.Signers(t.Context(), "a.example")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := h.Keys.Signers(t.Context(), "a.example"); err != nil || again[0] != first[0] {
		t.Error("the keys are others the second time", err)
	}
}

// signed gives a message that both keys of a.example must have signed as it is.
func signed(t *testing.T, h *house.House, b *body.Reader) string {
	t.Helper()
	signers, err := h.Keys.Signers(t.Context(), "a.example")
	if err != nil || len(signers) != 2 {
		t.Fatal(signers, err)
	}
	lookup := func(_ context.Context, name string) ([]string, error) {
		for _, s := range signers {
			if s.Name() == name {
				rec, err := s.Record()
				return []string{rec}, err
			}
		}
		return nil, dkim.ErrNoKey
	}
	all, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil {
		t.Fatal(err)
	}
	header, text, _ := strings.Cut(string(all), "\r\n\r\n")
	sigs, err := dkim.Verify(t.Context(), []byte(header+"\r\n\r\n"), strings.NewReader(text), lookup, time.Now())
	if err != nil || len(sigs) != 2 || sigs[0].Result != dkim.Pass || sigs[1].Result != dkim.Pass || sigs[0].Domain != "a.example" {
		t.Errorf("%+v %v in\n%s", sigs, err, all)
	}
	return string(all)
}
