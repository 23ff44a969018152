package imapd

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

	"posthaste/internal/store/mailbox"
)

// passedOn are what stands in place of a text that is written somewhere else, where
// it is looked at, too.
var passedOn = []string{
	"text", "f.text", "s.text", "end.text", "e.Text", "r.Text", "err.Error()",
	"sasl.ErrMalformed.Text", "sasl.ErrMechanism.Text", "sasl.ErrFailed.Text",
	`c.Name + " completed"`, "base64.StdEncoding.EncodeToString(challenge)", `d.fail("expected " + string(rune(c)))`,
}

// TestGerman looks that every text that a session says to people is there in German.
func TestGerman(t *testing.T) {
	var texts []string
	for _, p := range []string{"*.go", "../../proto/imap/*.go"} {
		files, err := filepath.Glob(p)
		if err != nil || len(files) < 20 {
			t.Fatal(files, err)
		}
		for _, f := range files {
			if !strings.HasSuffix(f, "_test.go") {
				texts = append(texts, textsOf(t, f)...)
			}
		}
	}
	// And those that come up from below.
	for _, name := range []string{"", strings.Repeat("a", mailbox.MaxName+1), "a\xff", "a\x01", "a//b", strings.Repeat("a/", mailbox.MaxDepth+1) + "a"} {
		_, err := mailbox.ParseName(name)
		if err == nil {
			t.Fatalf("%q is a name", name)
		}
		texts = append(texts, err.Error())
	}
	texts = append(texts, "too many attempts, wait a little", "authentication failed", "malformed authentication message", "mechanism not offered here", "UID FETCH completed", othersPrefix, sharedPrefix)
	former, err := os.ReadFile("../../agent/former/former.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`mail\.Refuse\("[0-9.]+", "([^"]+)"`).FindAllSubmatch(former, -1) {
		if text := string(m[1]); !strings.Contains(text, "over IMAP") { // which is of POP3
			texts = append(texts, text)
		}
	}
	if len(texts) < 200 {
		t.Errorf("only %d texts have been found", len(texts))
	}
	slices.Sort(texts)
	said := map[string]bool{}
	for _, text := range slices.Compact(texts) {
		if got := german.Say(text); got == text && text != "OK" && text != "RETURN" {
			t.Errorf("%q is not there in German", text)
		}
		said[text] = true
	}
	for text := range german.Words {
		if !said[text] && !slices.Contains([]string{"OK", "NO", "BAD"}, text) && !said["expected "+text] {
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
	note := func(e ast.Expr, before string) {
		switch e := e.(type) {
		case *ast.BasicLit:
			s, err := strconv.Unquote(e.Value)
			if err != nil {
				t.Fatal(err)
			}
			if s != "" {
				out = append(out, before+s)
			}
			return
		case *ast.CallExpr:
			if types.ExprString(e.Fun) == "fmt.Sprintf" {
				s, _ := strconv.Unquote(e.Args[0].(*ast.BasicLit).Value)
				out = append(out, strings.Replace(s, "%d", "7", 1))
				return
			}
		}
		if s := types.ExprString(e); !slices.Contains(passedOn, s) && !strings.HasPrefix(s, `"expected " + `) {
			t.Errorf("%s: the test cannot see what %s says", file, s)
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			switch fn := types.ExprString(n.Fun); {
			case (fn == "no" || fn == "bad" || fn == "s.bye") && len(n.Args) == 2:
				note(n.Args[1], "")
			case fn == "s.enc.Status":
				note(n.Args[3], "")
			case fn == "s.enc.Continue":
				note(n.Args[0], "")
			case strings.HasSuffix(fn, ".fail"):
				note(n.Args[0], "")
			case strings.HasSuffix(fn, ".span"):
				note(n.Args[1], "expected ")
			}
		case *ast.CompositeLit:
			if name := types.ExprString(n.Type); name == "ending" || name == "failure" {
				note(n.Elts[len(n.Elts)-1], "")
			}
		case *ast.AssignStmt:
			for i, l := range n.Lhs {
				if types.ExprString(l) == "s.text" && len(n.Rhs) == len(n.Lhs) {
					note(n.Rhs[i], "")
				}
			}
		}
		return true
	})
	return out
}
