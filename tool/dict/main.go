// Command dict makes the dictionary that small message bodies are compressed
// with, out of the sample text beside it:
//
//	go run ./tool/dict -id 1 -o internal/engine/blob/codec/v1.dict
//
// A dictionary that has been released never changes: what was written with it
// needs it for ever. A better one gets the next id and stands beside it.
package main

import (
	"bytes"
	"embed"
	"flag"
	"fmt"
	"os"
	"path"

	"github.com/klauspost/compress/zstd"
)

// The files are in the order of their names: what is met most often comes
// last, where a match costs the fewest bits.
//
//go:embed text/*.txt
var text embed.FS

func main() {
	id := flag.Uint("id", 1, "id of the dictionary")
	out := flag.String("o", "", "file to write")
	flag.Parse()
	if err := run(uint32(*id), *out); err != nil {
		fmt.Fprintln(os.Stderr, "dict:", err)
		os.Exit(1)
	}
}

func run(id uint32, out string) error {
	files, err := text.ReadDir("text")
	if err != nil {
		return err
	}
	var history []byte
	var parts [][]byte
	for _, f := range files {
		b, err := text.ReadFile(path.Join("text", f.Name()))
		if err != nil {
			return err
		}
		b = bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
		history = append(history, b...)
		parts = append(parts, b)
	}
	d, err := zstd.BuildDict(zstd.BuildDictOptions{
		ID:         id,
		Contents:   messages(parts),
		History:    history,
		Offsets:    [3]int{1, 4, 8},
		CompatV155: true,
		Level:      zstd.SpeedDefault,
	})
	if err != nil {
		return err
	}
	return os.WriteFile(out, d, 0o644)
}

// messages makes samples from which the tables of the dictionary are counted:
// text like that in parts, but broken up so that not all of it is one match.
func messages(parts [][]byte) [][]byte {
	var all [][]byte
	for i := range 200 {
		var m []byte
		for j := range parts {
			p := parts[(i+j)%len(parts)]
			lines := bytes.SplitAfter(p, []byte("\r\n"))
			for k := i % 3; k < len(lines); k += 2 + (i+j)%4 {
				words := bytes.SplitAfter(lines[k], []byte(" "))
				for w := range words {
					if (w*7+i+k)%5 != 0 {
						m = append(m, words[w]...)
					} else {
						m = fmt.Appendf(m, "%x ", uint32(w+1)*2654435761+uint32(i*k))
					}
				}
			}
		}
		all = append(all, m[:min(len(m), 8<<10)])
	}
	return all
}
