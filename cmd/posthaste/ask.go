package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// errInterrupted ends a command whose question was answered by Ctrl-C.
var errInterrupted = errors.New("interrupted")

// askSecret asks for what is not to be seen as it is typed; instead is the flag by which
// it can be given where there is nobody to ask.
func askSecret(ctx context.Context, what, instead string) (string, error) {
	fd := int(os.Stdin.Fd())
	before, err := term.GetState(fd)
	if err != nil || !term.IsTerminal(fd) {
		return "", errors.New("there is nobody to ask for the password: give it with " + instead)
	}
	fmt.Fprint(os.Stderr, what+": ")
	defer fmt.Fprintln(os.Stderr)
	defer term.Restore(fd, before) // Ctrl-C comes while nothing is shown
	return awaited(ctx, func() (string, error) {
		b, err := term.ReadPassword(fd)
		return string(b), err
	})
}

// askLine asks for a line, which may also come from a file.
func askLine(ctx context.Context, what string) (string, error) {
	fmt.Fprint(os.Stderr, what)
	line, err := awaited(ctx, func() (string, error) { return bufio.NewReader(os.Stdin).ReadString('\n') })
	if err != nil {
		fmt.Fprintln(os.Stderr) // nobody has ended the line
	}
	return strings.TrimSpace(line), err
}

// readFile reads a file that a person has named; - is standard input.
func readFile(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(name)
}

// openFile opens a file that a person has named; - is standard input.
func openFile(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(os.Stdin), nil
	}
	return os.Open(name)
}

// eachLine calls fn for the words of each line of a list, which are divided by tabs; the
// last of them may have tabs in it. What begins with # is passed over, and so is the mark
// that some programs put in front of UTF-8.
func eachLine(in io.Reader, words int, fn func(line int, words []string) error) error {
	lines := bufio.NewScanner(in)
	n := 1
	for ; lines.Scan(); n++ {
		line := strings.TrimRight(lines.Text(), "\r")
		if n == 1 {
			line = strings.TrimPrefix(line, "\ufeff")
		}
		if line == "" || line[0] == '#' {
			continue
		}
		if !utf8.ValidString(line) {
			return fmt.Errorf("line %d is no UTF-8", n)
		}
		if err := fn(n, strings.SplitN(line, "\t", words)); err != nil {
			return err
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("line %d is too long", n)
	}
	return lines.Err()
}

// awaited gives what read gives, unless ctx ends before.
func awaited(ctx context.Context, read func() (string, error)) (string, error) {
	type answer struct {
		text string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		text, err := read()
		got <- answer{text, err}
	}()
	select {
	case a := <-got:
		return a.text, a.err
	case <-ctx.Done():
		return "", errInterrupted
	}
}
