//go:build interop

package interop

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A judge is a plain IMAP session by which the tests see what is there. It
// shares no code with the server.
type judge struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	tag  int
}

// A letter is a message as the judge sees it.
type letter struct {
	uid   int
	flags []string
	date  time.Time
	text  []byte
}

func (l letter) has(flag string) bool {
	return slices.ContainsFunc(l.flags, func(f string) bool { return strings.EqualFold(f, flag) })
}

func roots(t *testing.T, ca string) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}

// judge logs in as a person.
func (p person) judge(t *testing.T) *judge {
	t.Helper()
	conn, err := tls.Dial("tcp", p.h.IMAPS, roots(t, p.h.CA))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	j := &judge{t: t, conn: conn, r: bufio.NewReader(conn)}
	j.line()
	j.do(fmt.Sprintf("LOGIN %q %q", p.address, p.password))
	return j
}

// line reads one line with the literals in it.
func (j *judge) line() (text string, literals [][]byte) {
	j.t.Helper()
	j.conn.SetReadDeadline(time.Now().Add(patience))
	for {
		s, err := j.r.ReadString('\n')
		if err != nil {
			j.t.Fatalf("the judge reads: %v after %q", err, text)
		}
		text += strings.TrimRight(s, "\r\n")
		m := literalEnd.FindStringSubmatch(text)
		if m == nil {
			return text, literals
		}
		n, _ := strconv.Atoi(m[1])
		b := make([]byte, n)
		if _, err := io.ReadFull(j.r, b); err != nil {
			j.t.Fatal(err)
		}
		literals = append(literals, b)
	}
}

var literalEnd = regexp.MustCompile(`\{(\d+)\}$`)

// try sends a command, with a literal at its end if there is one.
func (j *judge) try(command string, literal []byte, each func(text string, literals [][]byte)) error {
	j.t.Helper()
	j.tag++
	tag := fmt.Sprintf("j%d ", j.tag)
	if literal != nil {
		command += fmt.Sprintf(" {%d+}", len(literal))
	}
	fmt.Fprintf(j.conn, "%s%s\r\n", tag, command)
	if literal != nil {
		j.conn.Write(append(bytes.Clone(literal), "\r\n"...))
	}
	for {
		text, literals := j.line()
		if rest, ok := strings.CutPrefix(text, tag); ok {
			if !strings.HasPrefix(rest, "OK") {
				return fmt.Errorf("%s: %s", command, rest)
			}
			return nil
		}
		if each != nil {
			each(text, literals)
		}
	}
}

// do sends a command that must succeed, and gives the lines of the answer.
func (j *judge) do(command string) (lines []string) {
	j.t.Helper()
	if err := j.try(command, nil, func(text string, _ [][]byte) { lines = append(lines, text) }); err != nil {
		j.t.Fatal(err)
	}
	return lines
}

// put appends a message.
func (j *judge) put(box, flags string, date time.Time, text []byte) {
	j.t.Helper()
	command := fmt.Sprintf("APPEND %q (%s) %q", box, flags, date.Format("_2-Jan-2006 15:04:05 -0700"))
	if err := j.try(command, text, nil); err != nil {
		j.t.Fatal(err)
	}
}

var (
	uidItem   = regexp.MustCompile(`\bUID (\d+)`)
	flagsItem = regexp.MustCompile(`\bFLAGS \(([^)]*)\)`)
	dateItem  = regexp.MustCompile(`\bINTERNALDATE "([^"]*)"`)
	sizeItem  = regexp.MustCompile(`\bRFC822\.SIZE (\d+)`)
)

// letters gives all messages of a mailbox, which is its name in modified UTF-7.
func (j *judge) letters(box string) []letter {
	j.t.Helper()
	list, err := j.look(box)
	if err != nil {
		j.t.Fatal(err)
	}
	return list
}

func (j *judge) look(box string) (list []letter, err error) {
	if err := j.try(fmt.Sprintf("EXAMINE %q", box), nil, nil); err != nil {
		return nil, err
	}
	err = j.try("UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])", nil, func(text string, literals [][]byte) {
		if !strings.Contains(text, " FETCH ") || len(literals) != 1 {
			return
		}
		l := letter{text: literals[0]}
		l.uid, _ = strconv.Atoi(item(uidItem, text))
		l.flags = slices.DeleteFunc(strings.Fields(item(flagsItem, text)), func(f string) bool { return f == `\Recent` })
		slices.Sort(l.flags)
		l.date, _ = time.Parse("_2-Jan-2006 15:04:05 -0700", item(dateItem, text))
		if size := item(sizeItem, text); size != strconv.Itoa(len(l.text)) {
			j.t.Errorf("UID %d in %s: RFC822.SIZE is %s, its bytes are %d", l.uid, box, size, len(l.text))
		}
		list = append(list, l)
	})
	return list, err
}

func item(re *regexp.Regexp, text string) string {
	if m := re.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

// wait waits for n messages in a mailbox.
func (j *judge) wait(box string, n int) []letter {
	j.t.Helper()
	var list []letter
	eventually(j.t, func() (err error) {
		if list, err = j.look(box); err == nil && len(list) != n {
			err = fmt.Errorf("%d messages in %s, not %d", len(list), box, n)
		}
		return err
	})
	return list
}

// sameTexts fails the test unless the letters are these texts, in any order.
func sameTexts(t *testing.T, what string, got []letter, want [][]byte) {
	t.Helper()
	var have [][]byte
	for _, l := range got {
		have = append(have, l.text)
	}
	sameBytes(t, what, have, want)
}

func sameBytes(t *testing.T, what string, got, want [][]byte) {
	t.Helper()
	got, want = slices.Clone(got), slices.Clone(want)
	for i := range got {
		got[i] = added.ReplaceAll(got[i], nil)
	}
	slices.SortFunc(got, bytes.Compare)
	slices.SortFunc(want, bytes.Compare)
	if len(got) != len(want) {
		t.Errorf("%s: %d messages, not %d", what, len(got), len(want))
		return
	}
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			t.Errorf("%s: not the same bytes: %s", what, difference(got[i], want[i]))
			return
		}
	}
}

// added are the fields that mbsync, offlineimap and getmail add to what they
// copy.
var added = regexp.MustCompile(`(X-TUID|X-OfflineIMAP|X-getmail-[a-z-]+): [^\r\n]*\r\n`)

// difference shows where two texts part.
func difference(got, want []byte) string {
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	cut := func(b []byte) []byte { return b[max(0, i-40):min(len(b), i+80)] }
	return fmt.Sprintf("%d and %d bytes, at %d %q instead of %q", len(got), len(want), i, cut(got), cut(want))
}
