package dkim

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// zone is a Lookup over given records.
type zone map[string][]string

func (z zone) lookup(_ context.Context, name string) ([]string, error) {
	if txts, ok := z[name]; ok {
		if len(txts) == 1 && txts[0] == "down" {
			return nil, errors.New("servers are down")
		}
		return txts, nil
	}
	return nil, ErrNoKey
}

func split(msg string) (header []byte, body string) {
	h, b, _ := strings.Cut(msg, "\r\n\r\n")
	return []byte(h + "\r\n\r\n"), b
}

func verify(t testing.TB, msg string, z zone) []Signature {
	t.Helper()
	h, b := split(msg)
	sigs, err := Verify(t.Context(), h, strings.NewReader(b), z.lookup, now)
	if err != nil {
		t.Fatal(err)
	}
	return sigs
}

func signers(t testing.TB) []*Signer {
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, e, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return []*Signer{
		{Domain: "example.org", Selector: "r2026", Key: r, Expires: 7 * 24 * time.Hour},
		{Domain: "example.org", Selector: "e2026", Key: e},
	}
}

func publish(t testing.TB, z zone, s *Signer) {
	rec, err := s.Record()
	if err != nil {
		t.Fatal(err)
	}
	z[s.Name()] = []string{rec}
}

const letter = "Received: from x by y; Sun, 22 Nov 2026 12:00:00 +0000\r\nFrom: Ada <ada@example.org>\r\nTo: Bob <bob@example.net>,\r\n\tEve <eve@example.net>\r\nSubject:  A  long\r\n subject \r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\n"

var bodies = []string{
	"", "\r\n", "\r\n\r\n\r\n", "one line\r\n", "no end", "trailing \t \r\nblanks  in   side\r\n\r\n \r\n\r\n", " \t\r\n", "a\rb\rc\r\n", "\r", "x\r\n\r", strings.Repeat("long line ", 99) + "\r\n.\r\n..\r\n", "Grüße\r\n",
}

func TestSignAndVerify(t *testing.T) {
	z := zone{}
	for _, s := range signers(t) {
		publish(t, z, s)
		for _, body := range bodies {
			h, _ := split(letter)
			field, err := s.Sign(h, strings.NewReader(body), now)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.SplitSeq(string(field), "\r\n") {
				if len(line) > 78 {
					t.Errorf("a line of %d bytes: %q", len(line), line)
				}
			}
			sigs := verify(t, string(field)+letter+body, z)
			if len(sigs) != 1 || sigs[0].Result != Pass || sigs[0].Domain != "example.org" || sigs[0].Identity != "@example.org" {
				t.Errorf("%s, body %q: %+v", s.Selector, body, sigs)
			}
			// However the body's bytes come, they hash the same.
			slow, err := Verify(t.Context(), append(append([]byte(nil), field...), h...), iotest.OneByteReader(strings.NewReader(body)), z.lookup, now)
			if err != nil || slow[0].Result != Pass {
				t.Errorf("byte by byte: %+v %v", slow, err)
			}
		}
	}
}

// TestChanges: what may happen on the way, and what may not.
func TestChanges(t *testing.T) {
	z := zone{}
	s := signers(t)[1]
	publish(t, z, s)
	h, body := split(letter + "Hello,  world.\r\n\r\n")
	field, err := s.Sign(h, strings.NewReader(body), now)
	if err != nil {
		t.Fatal(err)
	}
	msg := string(field) + string(h) + body
	for name, c := range map[string]struct {
		from, to string
		want     Result
	}{
		"nothing":           {"", "", Pass},
		"a trace field":     {"DKIM-Signature", "Received: from a by b\r\nDKIM-Signature", Pass},
		"white space":       {"Subject:  A  long\r\n subject \r\n", "SUBJECT: A long subject\r\n", Pass},
		"end of body":       {"world.\r\n\r\n", "world. \r\n\r\n\r\n", Pass},
		"body":              {"world", "word", Fail},
		"subject":           {"A  long", "A short", Fail},
		"second From":       {"Message-ID", "From: Eve <eve@example.com>\r\nMessage-ID", Fail},
		"Reply-To added":    {"Message-ID", "Reply-To: eve@example.com\r\nMessage-ID", Fail},
		"unsigned field":    {"Message-ID", "X-Spam: no\r\nMessage-ID", Pass},
		"domain":            {"d=example.org", "d=example.com", PermError},
		"selector":          {"s=e2026", "s=e2027", PermError},
		"signature cut":     {"; bh=", "; bg=", Neutral},
		"algorithm":         {"a=ed25519-sha256", "a=rsa-sha256", PermError},
		"old algorithm":     {"a=ed25519-sha256", "a=rsa-sha1", Policy},
		"version":           {"v=1;", "v=2;", Neutral},
		"twice":             {"v=1;", "v=1; v=1;", Neutral},
		"From not signed":   {"h=from:from:", "h=", PermError},
		"canonicalization":  {"relaxed/relaxed", "relaxed/nofws", Neutral},
		"identity outside":  {"v=1;", "v=1; i=ada@example.com;", PermError},
		"part of the body":  {"v=1;", "v=1; l=5;", Fail},
		"l= that is no num": {"v=1;", "v=1; l=-5;", Neutral},
		"expired":           {"v=1;", "v=1; x=1700000000;", Fail},
		"key elsewhere":     {"v=1;", "v=1; q=https/key;", Neutral},
	} {
		changed := strings.Replace(msg, c.from, c.to, 1)
		if c.from == "; bh=" {
			changed = strings.Replace(msg, "bh=", "bg=", 1)
		}
		if got := verify(t, changed, z); len(got) != 1 || got[0].Result != c.want || (c.want != Pass && got[0].Reason == "") {
			t.Errorf("%s: %+v, want %s", name, got, c.want)
		}
	}
	future := now
	now = now.Add(-time.Hour)
	if got := verify(t, msg, z); got[0].Result != Fail {
		t.Errorf("from the future: %+v", got)
	}
	now = future
}

// TestKeys: records that cannot be used.
func TestKeys(t *testing.T) {
	s := signers(t)[1]
	h, body := split(letter + "Hello\r\n")
	field, err := s.Sign(h, strings.NewReader(body), now)
	if err != nil {
		t.Fatal(err)
	}
	p := base64.StdEncoding.EncodeToString(s.Key.Public().(ed25519.PublicKey))
	for rec, want := range map[string]Result{
		"v=DKIM1; k=ed25519; p=" + p:                           Pass,
		"k=ed25519; p=" + p + "; t=y":                          Pass,
		"v=DKIM1; k=ed25519; h=sha1:sha256; s=email; p=" + p:   Pass,
		"v=DKIM1; k=ed25519; p=" + p[:10] + " " + p[10:] + ";": Pass,
		"v=DKIM1; k=ed25519; t=s; p=" + p:                      Pass,
		"v=DKIM1; k=ed25519; p=":                               PermError,
		"v=DKIM1; k=ed25519; h=sha1; p=" + p:                   PermError,
		"v=DKIM1; k=ed25519; s=tlsrpt; p=" + p:                 PermError,
		"k=ed25519; v=DKIM1; p=" + p:                           PermError,
		"v=DKIM2; k=ed25519; p=" + p:                           PermError,
		"v=DKIM1; k=rsa; p=" + p:                               PermError,
		"v=DKIM1; k=gost; p=" + p:                              PermError,
		"v=DKIM1; k=ed25519":                                   PermError,
		"v=DKIM1; k=ed25519; p=%%":                             PermError,
		"nonsense":                                             PermError,
		"":                                                     PermError,
		"down":                                                 TempError,
	} {
		got := verify(t, string(field)+string(h)+body, zone{s.Name(): {rec}})
		if got[0].Result != want {
			t.Errorf("%q: %+v, want %s", rec, got, want)
		}
	}
	if got := verify(t, string(field)+string(h)+body, zone{s.Name(): {"k=ed25519; p=" + p, "k=ed25519; p=" + p}}); got[0].Result != PermError {
		t.Errorf("two records: %+v", got)
	}
}

func TestWeakKey(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	k, err := rsa.GenerateKey(rand.Reader, 768)
	if err != nil {
		t.Skip("such a key cannot be made:", err)
	}
	z := zone{}
	s := &Signer{Domain: "example.org", Selector: "weak", Key: k}
	publish(t, z, s)
	h, body := split(letter)
	field, err := s.Sign(h, strings.NewReader(body), now)
	if err != nil {
		t.Fatal(err)
	}
	if got := verify(t, string(field)+letter, z); got[0].Result != Policy || got[0].Bits != 768 {
		t.Errorf("%+v", got)
	}
}

func TestManySignatures(t *testing.T) {
	asked := 0
	lookup := func(context.Context, string) ([]string, error) { asked++; return nil, ErrNoKey }
	s := signers(t)[1]
	h, _ := split(letter)
	field, _ := s.Sign(h, strings.NewReader(""), now)
	sigs, err := Verify(t.Context(), append(bytes.Repeat(field, 200), h...), strings.NewReader(""), lookup, now)
	if err != nil || len(sigs) != MaxSignatures || asked > MaxSignatures {
		t.Error(len(sigs), asked, err)
	}
}

func TestBodyThatFails(t *testing.T) {
	s := signers(t)[1]
	h, _ := split(letter)
	field, _ := s.Sign(h, strings.NewReader(""), now)
	broken := io.MultiReader(strings.NewReader("x"), iotest.ErrReader(io.ErrClosedPipe))
	if _, err := Verify(t.Context(), append(field, h...), broken, zone{}.lookup, now); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
	if _, err := s.Sign(h, iotest.ErrReader(io.ErrClosedPipe), now); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
	if _, err := s.Sign([]byte("To: x\r\n\r\n"), strings.NewReader(""), now); err == nil {
		t.Error("a message without From was signed")
	}
}

func testdata(t *testing.T) string {
	dir, _ := os.Getwd()
	for range 8 {
		dir = filepath.Dir(dir)
		if p := filepath.Join(dir, "shared", "testdata", "dkim-dkimpy"); dirExists(p) {
			return p
		}
	}
	t.Skip("the public test vectors are not here")
	return ""
}

func dirExists(p string) bool {
	info, err := os.Stat(p)
	return err == nil && info.IsDir()
}

// TestPublicVectors: the messages of RFC 8463, as dkimpy signed them.
func TestPublicVectors(t *testing.T) {
	dir := testdata(t)
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n", "\r\n")
	}
	seed, err := base64.StdEncoding.DecodeString(strings.TrimSpace(read("rfc8032_7_1.key")))
	if err != nil {
		t.Fatal(err)
	}
	pub := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	z := zone{
		"brisbane._domainkey.football.example.com": {"v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(pub)},
		"test._domainkey.football.example.com":     {strings.TrimSpace(read("test.txt"))},
	}
	for name, n := range map[string]int{"rfc6376.signed.msg": 2, "rfc6376.signed.rsa.msg": 1} {
		got := verify(t, read(name), z)
		if len(got) != n {
			t.Errorf("%s: %+v", name, got)
		}
		for _, s := range got {
			if s.Result != Pass {
				t.Errorf("%s: %+v", name, s)
			}
		}
	}
}

func FuzzVerify(f *testing.F) {
	_, e, _ := ed25519.GenerateKey(rand.Reader)
	s := &Signer{Domain: "example.org", Selector: "s", Key: crypto.Signer(e)}
	h, _ := split(letter)
	field, _ := s.Sign(h, strings.NewReader("body"), now)
	rec, _ := s.Record()
	f.Add(string(field)+letter+"body", rec)
	f.Add("DKIM-Signature: v=1; a=rsa-sha256; b=; bh=; d=x.y; h=from; s=a\r\n\r\n", "v=DKIM1; p=")
	f.Fuzz(func(t *testing.T, msg, key string) {
		h, b, _ := strings.Cut(msg, "\r\n\r\n")
		lookup := func(context.Context, string) ([]string, error) { return []string{key}, nil }
		sigs, err := Verify(context.Background(), []byte(h+"\r\n\r\n"), strings.NewReader(b), lookup, now)
		if err != nil || len(sigs) > MaxSignatures {
			t.Fatal(err, len(sigs))
		}
		for _, s := range sigs {
			if s.Result == "" || (s.Result == Pass) != (s.Reason == "") {
				t.Fatalf("%+v", s)
			}
		}
	})
}

func BenchmarkSign(b *testing.B) {
	h, _ := split(letter)
	body := strings.Repeat("some words on a line of mail\r\n", 130)
	for _, s := range signers(b) {
		b.Run(s.Selector, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Sign(h, strings.NewReader(body), now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
