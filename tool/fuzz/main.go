// Command fuzz runs every fuzz target of the module for a while, one after the
// other, and ends with failure if one finds something.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

var target = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)

func main() {
	each := flag.Duration("time", 5*time.Second, "how long each target runs")
	only := flag.String("run", "", "only targets whose package and name contain this")
	flag.Parse()
	failed := 0
	err := filepath.WalkDir("internal", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(p, "_test.go") {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		for _, m := range target.FindAllSubmatch(b, -1) {
			name, pkg := string(m[1]), "./"+filepath.Dir(p)
			if !strings.Contains(pkg+" "+name, *only) {
				continue
			}
			start := time.Now()
			cmd := exec.Command("go", "test", "-run", "^$", "-fuzz", "^"+name+"$", "-fuzztime", each.String(), "-fuzzminimizetime", "1s", pkg)
			out, err := cmd.CombinedOutput()
			if err != nil && bytes.Contains(out, []byte("context deadline exceeded")) && !bytes.Contains(out, []byte("Failing input")) {
				err = nil // the time was over while a worker was still busy: no finding
			}
			if err != nil {
				failed++
				fmt.Printf("FAIL %s %s\n%s\n", pkg, name, out)
				continue
			}
			fmt.Printf("ok   %s %s (%s)\n", pkg, name, time.Since(start).Round(time.Second))
		}
		return nil
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
		os.Exit(2)
	}
	if failed > 0 {
		fmt.Printf("%d targets failed\n", failed)
		os.Exit(1)
	}
}
