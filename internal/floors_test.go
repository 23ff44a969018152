// Package internal has no code: this test keeps the house as ARCHITECTURE.md
// draws it.
package internal

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

const root = "posthaste/internal/"

// A package may import the floors below its own. proto and engine are on one
// floor and do not know each other.
var floor = map[string]int{"base": 0, "proto": 1, "engine": 1, "store": 2, "agent": 3, "service": 4, "server": 5}

// What a package may import on its own floor. Every row is a decision.
var siblings = map[string][]string{
	"base/dns":             {"base/mail"},
	"base/dns/zone":        {"base/dns", "base/mail"},
	"base/fetch":           {"base/dns", "base/mail"},
	"base/remedy":          {"base/mail"},
	"base/trace":           {"base/mail", "base/remedy"},
	"proto/arf":            {"proto/message"},
	"proto/dkim":           {"proto/message"},
	"proto/imap":           {"proto/message"},
	"proto/maildir":        {"proto/imap"},
	"proto/dsn":            {"proto/message"},
	"proto/sieve":          {"proto/message"},
	"store/mailbox":        {"store/body"},
	"store/allowance":      {"store/mailbox"},
	"store/maildrop":       {"store/mailbox"},
	"store/opinion":        {"store/mailbox"},
	"store/outpost":        {"store/mailbox"},
	"store/script":         {"store/mailbox"},
	"store/signin":         {"store/mailbox"},
	"store/queue":          {"store/body"},
	"agent/carrier":        {"agent/mover"},
	"agent/collector":      {"agent/carrier", "agent/mda", "agent/mx", "agent/token"},
	"agent/envoy":          {"agent/collector", "agent/mta", "agent/token"},
	"agent/former":         {"agent/carrier", "agent/mover"},
	"agent/filter":         {"agent/mda"},
	"agent/mda":            {"agent/rules"},
	"agent/mx":             {"agent/filter", "agent/mda"},
	"agent/msa":            {"agent/filter", "agent/mda"},
	"agent/mta":            {"agent/mda"},
	"agent/reporter":       {"agent/mda"},
	"agent/owner":          {"agent/mover", "agent/registrar", "agent/rules"},
	"agent/postmaster":     {"agent/msa"},
	"server":               {"server/config", "server/listen", "server/resolver"},
	"server/demo":          {"server", "server/config", "server/listen"},
	"server/listen":        {"server/config"},
	"server/resolver":      {"server/resolver/dnssec"},
	"engine/kv/kvtest":     {"engine/kv"},
	"engine/kv/local":      {"engine/kv"},
	"engine/kv/memkv":      {"engine/kv", "engine/kv/local"},
	"engine/kv/pebblekv":   {"engine/kv", "engine/kv/local"},
	"engine/blob/blobtest": {"engine/blob"},
	"engine/blob/memblob":  {"engine/blob"},
	"engine/blob/packblob": {"engine/blob", "engine/blob/codec"},
}

// What a floor may not import though it stands below.
var never = map[string]string{
	"service": "engine", // a service opens no transaction
}

// What a protocol may not touch: it gets bytes, and the time, from above.
var impure = []string{"net", "net/http", "os", "os/exec", "log", "log/slog", "database/sql", "math/rand/v2"}

const (
	maxFunc = 70  // lines
	maxFile = 600 // lines
)

func TestHouse(t *testing.T) {
	fset := token.NewFileSet()
	documented := map[string]bool{}
	err := fs.WalkDir(os.DirFS("."), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(fset, p, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		dir := path.Dir(p)
		documented[dir] = documented[dir] || f.Doc != nil
		checkImports(t, dir, f)
		checkSizes(t, fset, p, f)
		if strings.HasPrefix(p, "proto/") {
			checkClock(t, p, f)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s: the package says nowhere what it is for", dir)
		}
	}
}

func checkImports(t *testing.T, dir string, f *ast.File) {
	top, _, _ := strings.Cut(dir, "/")
	for _, spec := range f.Imports {
		imp := strings.Trim(spec.Path.Value, `"`)
		if top == "proto" && slices.Contains(impure, imp) {
			t.Errorf("%s imports %s: a protocol touches nothing outside", dir, imp)
		}
		to, ok := strings.CutPrefix(imp, root)
		if !ok {
			continue
		}
		toTop, _, _ := strings.Cut(to, "/")
		if to == "server/config" && top != "server" {
			t.Errorf("%s imports the configuration: take what you need as a field", dir)
		}
		if never[top] == toTop {
			t.Errorf("%s imports %s: not for this floor", dir, to)
		}
		if floor[toTop] >= floor[top] && !slices.Contains(siblings[dir], to) {
			t.Errorf("%s imports %s, which is not below it", dir, to)
		}
	}
}

func checkSizes(t *testing.T, fset *token.FileSet, p string, f *ast.File) {
	if n := fset.Position(f.End()).Line; n > maxFile {
		t.Logf("%s has %d lines", p, n)
	}
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if n := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line + 1; n > maxFunc {
			t.Logf("%s: %s has %d lines", p, fn.Name.Name, n)
		}
		if fn.Name.Name == "init" && fn.Recv == nil {
			t.Errorf("%s: init: let somebody call it", p)
		}
	}
}

func checkClock(t *testing.T, p string, f *ast.File) {
	ast.Inspect(f, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Now" {
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == "time" {
				t.Errorf("%s looks at the clock: let the caller say what time it is", p)
			}
		}
		return true
	})
}
