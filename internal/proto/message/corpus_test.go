package message

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// testdata finds the folder of other people's test data beside the checkout.
func testdata(t testing.TB, name string) string {
	dir := "."
	for range 8 {
		dir = filepath.Join(dir, "..")
		p := filepath.Join(dir, "shared", "testdata", name)
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	t.Skipf("no shared/testdata/%s beside the checkout", name)
	return ""
}

// corpus gives all files of the MIME collections.
func corpus(t testing.TB) map[string][]byte {
	files := map[string][]byte{}
	for _, name := range []string{"mime-mail-parser", "mime-enmime", "mime-mimekit"} {
		root := testdata(t, name)
		err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(p)
			rel, _ := filepath.Rel(root, p)
			files[name+"/"+filepath.ToSlash(rel)] = b
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// check fails if the tree of b breaks an invariant of the package.
func check(t testing.TB, b []byte) *Part {
	t.Helper()
	root := ParseBytes(b)
	if root.Offset != 0 || root.Size() != int64(len(b)) {
		t.Fatalf("root is %d+%d+%d of %d", root.Offset, root.HeaderSize, root.BodySize, len(b))
	}
	parts := 0
	checkPart(t, b, root, 0, &parts)
	if parts > MaxParts+1 {
		t.Fatalf("%d parts", parts)
	}
	bin := root.AppendBinary(nil)
	again, err := DecodePart(bin)
	if err != nil {
		t.Fatalf("decode: %v", err)
	}
	if !reflect.DeepEqual(root, again) {
		t.Fatalf("binary form:\n%s\n%s", dump(root), dump(again))
	}
	for _, step := range []int{1, 1000} {
		if len(b) > 1<<20 && step == 1 {
			continue
		}
		p, err := parseWindows(bytes.NewReader(b), int64(len(b)), step)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(root, p) {
			t.Fatalf("in steps of %d:\n%swant\n%s", step, dump(p), dump(root))
		}
	}
	return root
}

func checkPart(t testing.TB, b []byte, p *Part, depth int, parts *int) {
	t.Helper()
	*parts++
	if p.HeaderSize < 0 || p.BodySize < 0 || p.Type == "" || p.Subtype == "" || depth > MaxDepth+1 {
		t.Fatalf("bad part at depth %d: %+v", depth, p)
	}
	body := b[p.BodyOffset():p.End()]
	if n := int64(bytes.Count(body, []byte("\n"))); n != p.Lines {
		t.Fatalf("part at %d has %d lines, told %d", p.Offset, n, p.Lines)
	}
	for _, s := range []string{p.Type, p.Subtype, p.Encoding, p.ID, p.Description, p.Disposition} {
		if strings.ContainsAny(s, "\r\n\x00") {
			t.Fatalf("line break in %q", s)
		}
	}
	if p.Envelope != nil {
		for _, s := range p.Envelope.strings() {
			if strings.ContainsAny(*s, "\r\n\x00") {
				t.Fatalf("line break in %q", *s)
			}
		}
		for _, l := range p.Envelope.lists() {
			for _, a := range *l {
				if strings.ContainsAny(a.Name+a.Local+a.Domain, "\r\n\x00") {
					t.Fatalf("line break in %q", a)
				}
			}
		}
	}
	if m := p.Message; m != nil {
		if m.Offset != p.BodyOffset() || m.End() != p.End() || m.Envelope == nil {
			t.Fatalf("message %d..%d in body %d..%d", m.Offset, m.End(), p.BodyOffset(), p.End())
		}
		checkPart(t, b, m, depth+1, parts)
	}
	at := p.BodyOffset()
	for _, c := range p.Children {
		if c.Offset < at || c.End() > p.End() {
			t.Fatalf("child %d..%d in %d..%d", c.Offset, c.End(), at, p.End())
		}
		at = c.End()
		checkPart(t, b, c, depth+1, parts)
	}
}

func TestCorpusInvariants(t *testing.T) {
	for name, b := range corpus(t) {
		for _, form := range [][]byte{b, appendCRLF(nil, b), bytes.ReplaceAll(b, []byte("\n"), nil)} {
			root := check(t, form)
			for p := range root.All() {
				if _, err := io.Copy(io.Discard, NewTextReader(p, bytes.NewReader(form))); err != nil {
					t.Errorf("%s: text: %v", name, err)
				}
				Filename(p)
			}
			if s := Preview(root, bytes.NewReader(form)); len([]rune(s)) > MaxPreview || strings.ContainsAny(s, "\r\n") {
				t.Errorf("%s: preview %q", name, s)
			}
		}
	}
}

// An expectedPart is what mail-parser's expectations say of a part.
type expectedPart struct {
	Headers []struct {
		Name  string          `json:"name"`
		Value json.RawMessage `json:"value"`
	} `json:"headers"`
	Body   map[string]json.RawMessage `json:"body"`
	Header int64                      `json:"offset_header"`
	Start  int64                      `json:"offset_body"`
	End    int64                      `json:"offset_end"`
}

type expectedMessage struct {
	Parts []expectedPart `json:"parts"`
}

// compare lists where the tree and the expectations differ.
func compare(b []byte, root *Part, want expectedMessage) (diffs []string) {
	var parts []*Part // mail-parser counts the parts of one message
	var list func(p *Part)
	list = func(p *Part) {
		parts = append(parts, p)
		for _, c := range p.Children {
			list(c)
		}
	}
	list(root)
	if len(parts) != len(want.Parts) {
		for _, w := range want.Parts {
			diffs = append(diffs, fmt.Sprint(w.Header, "+", w.Start, "-", w.End))
		}
		return append(diffs, dump(root))
	}
	for i, p := range parts {
		w := want.Parts[i]
		if p.Offset != w.Header || p.BodyOffset() != w.Start {
			diffs = append(diffs, fmt.Sprint("offset ", p.Offset, p.BodyOffset(), " ", w.Header, w.Start))
		}
		if !p.IsMultipart() && p.End() != w.End {
			diffs = append(diffs, fmt.Sprint("end ", p.End(), " ", w.End))
		}
		if m, ok := w.Body["Message"]; ok && p.Message != nil {
			var inner expectedMessage
			if json.Unmarshal(m, &inner) == nil {
				diffs = append(diffs, compare(b, p.Message, inner)...)
			}
		}
		for _, k := range []string{"Text", "Html"} {
			var text string
			if json.Unmarshal(w.Body[k], &text) == nil {
				got, _ := io.ReadAll(NewTextReader(p, bytes.NewReader(b)))
				if strings.TrimSpace(string(got)) != strings.TrimSpace(text) {
					diffs = append(diffs, fmt.Sprintf("text %.300q %.300q", strings.TrimSpace(string(got)), strings.TrimSpace(text)))
				}
			}
		}
		for _, h := range w.Headers {
			var v struct{ Text string }
			if json.Unmarshal(h.Value, &v) == nil && v.Text != "" && h.Name == "subject" && p.Envelope != nil {
				if got := DecodeWords(p.Envelope.Subject); got != v.Text {
					diffs = append(diffs, "subject "+got+" | "+v.Text)
				}
			}
		}
	}
	return diffs
}

// differs has the files which we read differently, and why.
var differs = map[string]string{
	"malformed/000":  "a boundary ends a header without an end",
	"malformed/001":  "boundaries are equal or not, never a prefix",
	"malformed/004":  "boundaries are equal or not, never a prefix",
	"malformed/007":  "a boundary ends a header without an end",
	"malformed/008":  "where the header of a part begins after a longer boundary",
	"malformed/009":  "the outer boundary ends an inner multipart",
	"malformed/011":  "the outer boundary ends an inner multipart",
	"malformed/012":  "the outer boundary ends an inner multipart",
	"malformed/013":  "the same boundary within each other",
	"malformed/016":  "boundaries are equal or not, never a prefix",
	"malformed/020":  "a header goes on to its empty line",
	"malformed/021":  "a header goes on to its empty line",
	"malformed/022":  "a message cut off",
	"rfc/000":        "base64 which is none",
	"thirdparty/002": "the number of U+FFFD for broken bytes",
	"thirdparty/005": "base64 followed by what is no boundary",
}

func TestMailParser(t *testing.T) {
	files := corpus(t)
	all := 0
	for name, b := range files {
		base, ok := strings.CutSuffix(name, ".eml")
		short, is := strings.CutPrefix(base, "mime-mail-parser/")
		if !ok || !is {
			continue
		}
		lf := bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
		for suffix, form := range map[string][]byte{".json": lf, ".crlf.json": appendCRLF(nil, b)} {
			var want expectedMessage
			if json.Unmarshal(files[base+suffix], &want) != nil {
				continue
			}
			all++
			diffs := compare(form, ParseBytes(form), want)
			if len(diffs) > 0 && differs[short] == "" {
				t.Errorf("%s%s: %q", base, suffix, diffs)
			}
		}
	}
	if all < 80 {
		t.Errorf("only %d files had expectations", all)
	}
}
