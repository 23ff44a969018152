//go:build interop

package interop

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A marionette is the remote control that Thunderbird and Firefox have.
type marionette struct {
	conn net.Conn
	r    *bufio.Reader
	id   int
}

// newMarionette waits until the program answers, and hears what it is.
func newMarionette(t *testing.T, at string) *marionette {
	t.Helper()
	m := new(marionette)
	eventually(t, func() (err error) {
		m.conn, err = net.Dial("tcp", at)
		return err
	})
	t.Cleanup(func() { m.conn.Close() })
	m.r = bufio.NewReader(m.conn)
	if _, err := m.read(); err != nil {
		t.Fatal(err)
	}
	return m
}

// read reads one message.
func (m *marionette) read() ([]byte, error) {
	m.conn.SetReadDeadline(time.Now().Add(patience))
	head, err := m.r.ReadString(':')
	if err != nil {
		return nil, fmt.Errorf("the program says nothing: %w", err)
	}
	n, err := strconv.Atoi(strings.TrimSuffix(head, ":"))
	if err != nil {
		return nil, err
	}
	text := make([]byte, n)
	_, err = io.ReadFull(m.r, text)
	return text, err
}

// do has a command done, and gives the answer.
func (m *marionette) do(name string, args any) (json.RawMessage, error) {
	m.id++
	text, err := json.Marshal([]any{0, m.id, name, args})
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(m.conn, "%d:%s", len(text), text); err != nil {
		return nil, err
	}
	raw, err := m.read()
	if err != nil {
		return nil, err
	}
	var answer [4]json.RawMessage
	if err := json.Unmarshal(raw, &answer); err != nil {
		return nil, err
	}
	if string(answer[2]) != "null" {
		e := new(driverError)
		if err := json.Unmarshal(answer[2], e); err != nil {
			return nil, err
		}
		return nil, e
	}
	return answer[3], nil
}
