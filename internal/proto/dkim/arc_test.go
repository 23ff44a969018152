package dkim

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

func chain(t testing.TB, msg string, z zone) Chain {
	t.Helper()
	h, b := split(msg)
	ch, err := VerifyChain(t.Context(), h, strings.NewReader(b), z.lookup, now)
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

const listed = "From: ada@a.example\r\nTo: list@b.example\r\nSubject: hello\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\nDKIM-Signature: v=1; whatever\r\n\r\nHello, all.\r\n"

// forward seals a message as each in turn would who sends it on.
func forward(t testing.TB, msg string, z zone, by *Signer, results string) string {
	t.Helper()
	h, b := split(msg)
	fields, err := by.Seal(h, strings.NewReader(b), chain(t, msg, z), results, now)
	if err != nil {
		t.Fatal(err)
	}
	return string(fields) + msg
}

func published(t testing.TB, by ...*Signer) zone {
	z := zone{}
	for _, s := range by {
		publish(t, z, s)
	}
	return z
}

func TestSeal(t *testing.T) {
	all := signers(t)
	z := published(t, all...)
	if ch := chain(t, listed, z); ch.Result != None {
		t.Errorf("no chain: %+v", ch)
	}
	msg := listed
	for i := range 4 {
		msg = forward(t, msg, z, all[i%len(all)], fmt.Sprintf("mx%d.example; dkim=pass header.d=a.example;\r\n\tspf=fail", i))
		ch := chain(t, msg, z)
		if ch.Result != Pass || len(ch.Sets) != i+1 || ch.Sets[i].Domain != all[i%len(all)].Domain || !strings.HasPrefix(ch.Sets[0].Results, "mx0.example; dkim=pass") {
			t.Fatalf("after %d: %+v", i+1, ch)
		}
	}
	for what, edit := range map[string]func(string) string{
		"the body":       func(m string) string { return strings.Replace(m, "Hello, all", "Hello, one", 1) },
		"a signed field": func(m string) string { return strings.Replace(m, "Subject: hello", "Subject: other", 1) },
		"what the first found": func(m string) string {
			return strings.Replace(m, "mx0.example; dkim=pass", "mx0.example; dkim=fail", 1)
		},
		"a seal taken away": func(m string) string { return m[strings.Index(m, "\r\nARC-Message")+2:] },
		"the newest set":    func(m string) string { return strings.Replace(m, "i=4", "i=5", 3) },
	} {
		m := edit(msg)
		if m == msg {
			t.Fatal(what, "was not changed")
		}
		ch := chain(t, m, z)
		if ch.Result != Fail || ch.Reason == "" || ch.Sets != nil {
			t.Errorf("%s: %+v", what, ch)
		}
	}
	// A subject that a list has changed breaks its own signature of the message,
	// unless the list is the last that signs.
	m := forward(t, strings.Replace(msg, "Subject: hello", "Subject: [list] hello", 1), z, all[0], "mx.example; dkim=fail")
	if ch := chain(t, m, z); ch.Result != Fail {
		t.Errorf("sealed over a broken chain: %+v", ch)
	}
	if !strings.Contains(m, "cv=fail") || forward(t, m, z, all[0], "mx.example; none") != m {
		t.Error("a chain that is closed goes on")
	}
	z[all[0].Name()] = []string{"down"}
	if ch := chain(t, msg, z); ch.Result != TempError {
		t.Errorf("no DNS: %+v", ch)
	}
}

func TestFullChain(t *testing.T) {
	by := signers(t)[1]
	z := published(t, by)
	msg := listed
	for range MaxSets {
		msg = forward(t, msg, z, by, "mx.example; none")
	}
	if ch := chain(t, msg, z); ch.Result != Pass || len(ch.Sets) != MaxSets {
		t.Errorf("%v %s, %d sets", ch.Result, ch.Reason, len(ch.Sets))
	}
	if forward(t, msg, z, by, "mx.example; none") != msg {
		t.Error("one more than there may be")
	}
}

type arcSuite struct {
	Description string
	Tests       map[string]struct{ Message, CV string }
	Records     map[string]string `yaml:"txt-records"`
}

// The public suite of RFC 8617's drafts.
func TestPublicChains(t *testing.T) {
	name := filepath.Join("..", "..", "..", "shared", "testdata", "arc-valimail", "arc-draft-validation-tests.yml")
	var b []byte
	var err error
	for range 6 {
		if b, err = os.ReadFile(name); err == nil {
			break
		}
		name = filepath.Join("..", name)
	}
	if err != nil {
		t.Skip("the public suite is not beside the checkout")
	}
	count := 0
	for dec := yaml.NewDecoder(bytes.NewReader(b)); ; {
		var s arcSuite
		if dec.Decode(&s) != nil {
			break
		}
		z := zone{}
		for n, txt := range s.Records {
			z[n] = []string{txt}
		}
		for name, c := range s.Tests {
			count++
			want := Result(strings.ToLower(c.CV))
			if want == "" {
				want = Fail // the newest seal says that it failed
			}
			msg := strings.ReplaceAll(c.Message, "\n", "\r\n")
			if !strings.Contains(msg, "\r\n\r\n") {
				msg += "\r\n\r\n"
			}
			if ch := chain(t, msg, z); ch.Result != want {
				t.Errorf("%s: %s: %s (%s), want %s", s.Description, name, ch.Result, ch.Reason, want)
			}
		}
	}
	if count < 115 {
		t.Errorf("only %d cases", count)
	}
}

func FuzzChain(f *testing.F) {
	all := signers(f)
	z := published(f, all...)
	f.Add(listed)
	f.Add(forward(f, listed, z, all[1], "mx.example; none"))
	f.Add("ARC-Seal: i=1; cv=none; a=rsa-sha256; d=a.example; s=x; b=\r\nARC-Authentication-Results: i=1; x\r\nARC-Message-Signature: i=1; h=from\r\n\r\n")
	f.Fuzz(func(t *testing.T, msg string) {
		ch := chain(t, msg, z)
		if ch.Result == Pass && len(ch.Sets) == 0 || ch.Result != Pass && len(ch.Sets) > 0 {
			t.Errorf("%+v", ch)
		}
		h, b := split(msg)
		if _, err := all[1].Seal(h, strings.NewReader(b), ch, "mx.example; none", time.Unix(0, 0)); err != nil {
			t.Error(err)
		}
	})
}
