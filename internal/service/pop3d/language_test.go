package pop3d

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/pop3"
	"posthaste/internal/proto/sasl"
)

// passedOn are what stands in place of a text that is written somewhere else, where it is
// looked at, too.
var passedOn = []string{
	"text", "f.text", "end.last.text", "r.Text", "known.Error()", `strconv.FormatInt(s.drop.octets(r), 10) + " octets"`,
	`tag + " is what I speak now"`, "s.greeting(ctx)", // before anybody can choose
}

// saying are the functions that say a text, and which of their arguments it is.
var saying = map[string]int{"no": 1, "s.ok": 0, "s.lines": 0, "s.each": 1, "s.appendErr": 1, "s.appendOK": 0, "s.send": 3}

// TestGerman looks that every text that a session says to people is there in German.
func TestGerman(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, f := range files {
		if !strings.HasSuffix(f, "_test.go") {
			texts = append(texts, textsOf(t, f)...)
		}
	}
	// And those that come up from below.
	for _, err := range []error{pop3.ErrUnknown, pop3.ErrSyntax, pop3.ErrLineTooLong, pop3.ErrControl, pop3.ErrBase64, pop3.ErrCancelled} {
		texts = append(texts, err.Error())
	}
	for _, r := range []*mail.Refusal{sasl.ErrFailed, sasl.ErrMalformed, sasl.ErrMechanism} {
		texts = append(texts, r.Text)
	}
	texts = append(texts, "too many attempts, wait a little", "7 octets", "de is what I speak now")
	former, err := os.ReadFile("../../agent/former/former.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`mail\.Refuse\("[0-9.]+", "([^"]+)"`).FindAllSubmatch(former, -1) {
		texts = append(texts, string(m[1]))
	}
	if len(texts) < 45 {
		t.Errorf("only %d texts have been found", len(texts))
	}
	said := map[string]bool{}
	for _, text := range texts {
		if german.Say(text) == text && text != "" {
			t.Errorf("%q is not there in German", text)
		}
		said[text] = true
	}
	for text := range german.Words {
		if !said[text] {
			t.Errorf("%q is said nowhere", text)
		}
	}
}

// textsOf gives the texts for people that stand in a file.
func textsOf(t *testing.T, file string) (out []string) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	note := func(e ast.Expr) {
		switch e := e.(type) {
		case *ast.BasicLit:
			s, _ := strconv.Unquote(e.Value)
			out = append(out, s)
			return
		case *ast.CallExpr:
			if types.ExprString(e.Fun) == "fmt.Sprintf" {
				s, _ := strconv.Unquote(e.Args[0].(*ast.BasicLit).Value)
				out = append(out, strings.NewReplacer("%d", "7", "%v", "1m0s").Replace(s))
				return
			}
		}
		if s := types.ExprString(e); !slices.Contains(passedOn, s) {
			t.Errorf("%s: the test cannot see what %s says", file, s)
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if i, says := saying[types.ExprString(n.Fun)]; says {
				note(n.Args[i])
			}
		case *ast.CompositeLit:
			if types.ExprString(n.Type) == "failure" {
				note(n.Elts[len(n.Elts)-1])
			}
		}
		return true
	})
	return out
}
