package message

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	gomessage "github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset"

	"posthaste/internal/base/mail"
)

// A generator makes well-formed messages from a seed.
type generator struct {
	*rand.Rand
	boundaries int
}

var someWords = []string{"alpha", "beta", "Grüße", "日本語", "a.b", "x\"y", "back\\slash", "comma,", "(paren)", "=?not?=", "Ärger", "-", "From", "@"}

func (g *generator) words(n int) string {
	var out []string
	for range 1 + g.IntN(n) {
		out = append(out, someWords[g.IntN(len(someWords))])
	}
	return strings.Join(out, " ")
}

func (g *generator) contacts() []Contact {
	locals := []string{"joe", "a.b", "x+y", "with space", "q\"uote", "o'neill"}
	var out []Contact
	for i := range 1 + g.IntN(4) {
		c := Contact{Address: mail.Address{Local: locals[g.IntN(len(locals))], Domain: mail.Domain(fmt.Sprintf("d%d.example", i))}}
		if g.IntN(3) > 0 {
			c.Name = g.words(3)
		}
		out = append(out, c)
	}
	return out
}

func (g *generator) data(text bool) []byte {
	if !text {
		b := make([]byte, g.IntN(300))
		for i := range b {
			b[i] = byte(g.IntN(256))
		}
		return b
	}
	var b strings.Builder
	for range g.IntN(8) {
		b.WriteString(g.words(12) + []string{"\r\n", "\r\n\r\n", " \r\n", "--\r\n", "\r\n--x\r\n", ""}[g.IntN(6)])
	}
	return []byte(b.String())
}

func (g *generator) content(depth int) Content {
	switch n := g.IntN(10); {
	case n < 4 && depth < 4:
		g.boundaries++
		c := Content{Type: "multipart/" + []string{"mixed", "alternative", "related"}[g.IntN(3)], Boundary: fmt.Sprintf("=_%d_=", g.boundaries)}
		for range 1 + g.IntN(4) {
			c.Parts = append(c.Parts, g.content(depth+1))
		}
		return c
	case n < 8:
		c := Content{Type: "text/plain", Data: g.data(true), Encoding: []string{"", "base64", "quoted-printable"}[g.IntN(3)]}
		if g.IntN(3) == 0 {
			c.Filename = g.words(10)
		}
		return c
	}
	return Content{Type: "application/x-y", Disposition: "inline", Data: g.data(false), Filename: g.words(3)}
}

func (g *generator) message(t *testing.T) ([]byte, []Contact, string, time.Time) {
	var b Builder
	to, subject, date := g.contacts(), g.words(20), time.Unix(g.Int64N(4e9), 0).In(time.FixedZone("", (g.IntN(48)-24)*1800))
	b.Addresses("To", to...)
	b.Text("Subject", subject)
	b.Date("Date", date)
	b.Body(g.content(0))
	msg, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return msg, to, subject, date
}

// read gives type and decoded body of each leaf, as we see it.
func read(t *testing.T, root *Part, msg []byte) (out []string) {
	for p := range root.All() {
		if p.IsMultipart() {
			out = append(out, p.MediaType())
			continue
		}
		b, err := io.ReadAll(NewBodyReader(p, bytes.NewReader(msg)))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%s %q %q", p.MediaType(), Filename(p), b))
	}
	return out
}

// readGoMessage gives the same as emersion's library sees it.
func readGoMessage(t *testing.T, e *gomessage.Entity) (out []string) {
	typ, params, _ := e.Header.ContentType()
	if mr := e.MultipartReader(); mr != nil {
		out = append(out, typ)
		for {
			p, err := mr.NextPart()
			if err == io.EOF {
				return out
			}
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, readGoMessage(t, p)...)
		}
	}
	_, disp, _ := e.Header.ContentDisposition()
	b, err := io.ReadAll(e.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = params
	return append(out, fmt.Sprintf("%s %q %q", typ, baseName(disp["filename"]), b))
}

// readStandard gives the bodies, not decoded, as the standard library sees them.
func readStandard(t *testing.T, contentType string, body io.Reader) (out []string) {
	typ, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(typ, "multipart/") {
		mr := multipart.NewReader(body, params["boundary"])
		for {
			p, err := mr.NextRawPart()
			if err == io.EOF {
				return out
			}
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, readStandard(t, p.Header.Get("Content-Type"), p)...)
		}
	}
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return append(out, string(b))
}

func baseName(s string) string {
	if i := strings.LastIndexAny(s, `/\`); i >= 0 {
		s = s[i+1:]
	}
	return strings.TrimSpace(s)
}

func TestDifferential(t *testing.T) {
	for seed := range uint64(300) {
		g := &generator{Rand: rand.New(rand.NewPCG(seed, 7))}
		msg, to, subject, date := g.message(t)
		root := check(t, msg)

		// What was written comes back.
		got := ParseAddresses(Text(msg, "to"))
		for i := range to {
			if i >= len(got) || got[i].Name != strings.TrimSpace(to[i].Name) || got[i].Address != to[i].Address {
				t.Fatalf("seed %d: %+v, wrote %+v", seed, got, to)
			}
		}
		if s := DecodeWords(root.Envelope.Subject); s != subject {
			t.Fatalf("seed %d: subject %q, wrote %q", seed, s, subject)
		}
		if d, err := ParseDate(root.Envelope.Date); err != nil || !d.Equal(date) {
			t.Fatalf("seed %d: %v %v, wrote %v", seed, d, err, date)
		}

		// emersion's library reads the same.
		e, err := gomessage.Read(bytes.NewReader(msg))
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, msg)
		}
		ours, theirs := read(t, root, msg), readGoMessage(t, e)
		for i := range max(len(ours), len(theirs)) {
			if i >= len(ours) || i >= len(theirs) || ours[i] != theirs[i] {
				t.Fatalf("seed %d:\n%q\ngo-message:\n%q", seed, ours, theirs)
			}
		}

		// So does the standard library.
		m, err := netmail.ReadMessage(bytes.NewReader(msg))
		if err != nil {
			t.Fatal(err)
		}
		list, err := m.Header.AddressList("To")
		if err != nil || len(list) != len(to) {
			t.Fatalf("seed %d: net/mail: %v %v\n%s", seed, list, err, msg)
		}
		for i, a := range list {
			if a.Name != to[i].Name || a.Address != to[i].Address.Local+"@"+string(to[i].Address.Domain) {
				t.Fatalf("seed %d: net/mail: %+v, wrote %+v", seed, a, to[i])
			}
		}
		raw := []string{}
		for p := range root.All() {
			if !p.IsMultipart() {
				raw = append(raw, string(msg[p.BodyOffset():p.End()]))
			}
		}
		std := readStandard(t, m.Header.Get("Content-Type"), m.Body)
		if fmt.Sprintf("%q", raw) != fmt.Sprintf("%q", std) {
			t.Fatalf("seed %d:\n%q\nmime/multipart:\n%q", seed, raw, std)
		}
	}
}

// Text gives the value of the first field of that name.
func Text(msg []byte, name string) string {
	f, _ := Find(msg, name)
	return f.Text()
}

// TestNetMailAddresses compares lists that net/mail takes, too.
func TestNetMailAddresses(t *testing.T) {
	compared := 0
	for _, tt := range addressLists {
		list, err := netmail.ParseAddressList(tt.in)
		if err != nil {
			continue
		}
		got := ParseAddresses(tt.in)
		if len(got) != len(list) {
			t.Errorf("%q: %+v, net/mail %v", tt.in, got, list)
			continue
		}
		compared++
		for i, a := range list {
			if got[i].Raw != a.Address || a.Name != "" && noSpace(got[i].Name) != noSpace(a.Name) {
				t.Errorf("%q: %+v, net/mail %+v", tt.in, got[i], a)
			}
		}
	}
	if compared < 10 {
		t.Errorf("only %d lists", compared)
	}
}

// noSpace hides that words with nothing between them are kept so by us.
func noSpace(s string) string { return strings.ReplaceAll(s, " ", "") }
