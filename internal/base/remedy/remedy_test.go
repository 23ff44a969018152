package remedy

import (
	_ "embed"
	"strings"
	"testing"

	"posthaste/internal/base/mail"
)

//go:embed testdata/answers.txt
var answers string

type answer struct {
	name string
	Answer
}

func known(t testing.TB) (out []answer) {
	for line := range strings.Lines(answers) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.SplitN(line, "|", 4)
		if len(f) != 4 {
			t.Fatalf("%q", line)
		}
		st, err := mail.ParseStatus(f[2])
		if err != nil {
			t.Fatal(err)
		}
		a := answer{f[0], Answer{Status: st, Text: f[3]}}
		if f[1] != "" {
			a.Remote = f[1] + " [192.0.2.9]"
		}
		out = append(out, a)
	}
	return out
}

// TestAnswers: what servers say is found under its name, and every line of the
// table is what some server says: none stands in the shadow of another.
func TestAnswers(t *testing.T) {
	found := map[string]bool{}
	for _, a := range known(t) {
		r, ok := Of(a.Answer)
		if !ok || r.Name != a.name {
			t.Errorf("%s: %q is taken for %q", a.name, a.Text, r.Name)
		}
		found[r.Name] = true
	}
	names := map[string]bool{}
	for _, table := range [][]rule{giants, houses, lists, everybody, ours, rest} {
		for _, r := range table {
			if names[r.name] {
				t.Errorf("%s is there twice", r.name)
			}
			names[r.name] = true
			if !found[r.name] {
				t.Errorf("%s: nobody says that, or it stands in the shadow of another", r.name)
			}
			if !strings.HasSuffix(r.what, ".") || !strings.HasSuffix(r.do, ".") || r.match != strings.ToLower(r.match) || strings.ContainsAny(r.name, " |") {
				t.Errorf("%s: %q %q", r.name, r.what, r.do)
			}
			for alt := range strings.SplitSeq(r.match, "|") {
				for f := range strings.SplitSeq(alt, "&") {
					if f == "" {
						t.Errorf("%s: %q", r.name, r.match)
					}
				}
			}
			if r.at != "" && !isSite(r.at) {
				t.Errorf("%s: nothing is at %s", r.name, r.at)
			}
		}
	}
	if len(names) < 150 {
		t.Errorf("only %d answers are known", len(names))
	}
}

func isSite(name string) bool {
	for _, s := range sites {
		if s.site == name {
			return true
		}
	}
	return false
}

// TestUnknown: what nobody has heard of gets no words.
func TestUnknown(t *testing.T) {
	for _, a := range []Answer{{}, {Status: mail.Status{Class: 5}, Text: "550 xyzzy", Remote: "mx.example.net"}, {Status: mail.Status{Class: 5}, Text: "download marbles"}} {
		if r, ok := Of(a); ok || Words(a) != "" {
			t.Errorf("%+v is taken for %s", a, r.Name)
		}
	}
}

func TestSite(t *testing.T) {
	for host, want := range map[string]string{
		"Gmail-SMTP-In.l.Google.COM.": "google", "google.com": "google", "notgoogle.com": "", "": "", "mx.example.net": "",
		"example-org.mail.protection.outlook.com": "microsoft", "mx00.emig.gmx.net": "gmx",
	} {
		if got := Site(host); got != want {
			t.Errorf("%q: %q, want %q", host, got, want)
		}
	}
}

// FuzzOf: whatever is said, it is looked up in bounded time, and the same way in
// any case.
func FuzzOf(f *testing.F) {
	for _, a := range known(f) {
		f.Add(a.Text, a.Remote)
	}
	f.Fuzz(func(t *testing.T, text, remote string) {
		a := Answer{Status: mail.Status{Class: 5, Subject: 1, Detail: 1}, Text: text, Remote: remote}
		r, ok := Of(a)
		if ok != (r.Name != "") || ok == (Words(a) == "") {
			t.Errorf("%q: %+v, %v", text, r, ok)
		}
	})
}

func BenchmarkOf(b *testing.B) {
	a := Answer{Status: mail.Status{Class: 5}, Text: strings.Repeat("550 xyzzy and nothing that is known ", 25), Remote: "mx.example.net [192.0.2.1]"}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := Of(a); ok {
			b.Fatal("known")
		}
	}
}

// TestFinal: what is to be done once it is not tried again does not say that it is.
func TestFinal(t *testing.T) {
	for do, want := range map[string]string{
		Wait: again,
		"It is tried again, more slowly; there is nothing to do.":                                                       again,
		"It is tried again. If it goes on, its administrator should be told.":                                           "Its administrator should be told.",
		"It is tried again; there is nothing to do unless it goes on for days: then ask at https://sender.office.com/.": "Ask at https://sender.office.com/.",
		"It is tried again, more slowly. Register at https://a.example/x to see why.":                                   "Register at https://a.example/x to see why.",
		"Look for another address of the recipient.":                                                                    "Look for another address of the recipient.",
	} {
		if got := (Remedy{Do: do}).Final(); got != want {
			t.Errorf("%q: %q", do, got)
		}
	}
	for _, table := range [][]rule{ours, giants, houses, lists, everybody, rest} {
		for _, r := range table {
			if got := (Remedy{Do: r.do}).Final(); got == "" || strings.Contains(got, "tried again") || strings.Contains(got, "nothing to do") {
				t.Errorf("%s: %q", r.name, got)
			}
		}
	}
}

// TestTried: what was given up says for how long it was tried, and what was heard last.
func TestTried(t *testing.T) {
	for text, want := range map[string][2]string{
		"tried for 5 days; the last answer was: 451 no": {"5 days", "451 no"},
		"tried for 5 days": {"", "tried for 5 days"},
		"451 tried for 5 days; the last answer was: x": {"", "451 tried for 5 days; the last answer was: x"},
	} {
		if long, said := Tried(text); long != want[0] || said != want[1] {
			t.Errorf("%q: %q, %q", text, long, said)
		}
	}
}

// TestRefine: a bare answer gets the status that it means, where that is sure, and is
// understood as before; one with a status keeps it.
func TestRefine(t *testing.T) {
	bare := mail.Status{Class: 5}
	for text, want := range map[string]string{
		"550 unknown user": "5.1.1", "550 mailbox is full": "5.2.2", "552 message too large": "5.3.4", "550 account disabled": "5.2.1",
		"550 mailbox unavailable": "5.0.0", "550 xyzzy": "5.0.0", "550 5.0.0 unknown user": "5.0.0", "550 listed in dnsbl": "5.0.0",
		"tried for 5 days; the last answer was: 550 unknown user": "5.1.1",
	} {
		if st := Refine(Answer{Status: bare, Text: text, Remote: "mx.example.net"}); st.String() != want {
			t.Errorf("%q: %v, not %s", text, st, want)
		}
		if st := Refine(Answer{Status: bare, Text: text}); st != bare {
			t.Errorf("%q, which nobody said: %v", text, st)
		}
	}
	for _, a := range known(t) {
		was := a.Answer.Status
		if st := Refine(a.Answer); st != was && (was.Subject != 0 || was.Detail != 0) {
			t.Errorf("%s: %v became %v", a.Text, was, st)
		}
		a.Answer.Status = mail.Status{Class: was.Class}
		before, ok := Of(a.Answer)
		a.Answer.Status = Refine(a.Answer)
		if after, ok2 := Of(a.Answer); ok != ok2 || before.Name != after.Name {
			t.Errorf("%s: with its status it is %s, not %s", a.Text, after.Name, before.Name)
		}
	}
}
