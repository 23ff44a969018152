package house

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
)

// A Milter is a filter that answers each stage with what it is told to, "c" if nothing.
type Milter map[byte]string

// Frame makes a packet of the milter protocol.
func Frame(cmd byte, data string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(data)+1))) + string(cmd) + data
}

// Dial gives a connection to the filter, and tells said at the end what it was told.
func (m Milter) Dial(said chan<- string) func(context.Context) (net.Conn, error) {
	return func(context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			var heard bytes.Buffer
			if said != nil {
				defer func() { said <- heard.String() }()
			}
			var head [5]byte
			for {
				if _, err := io.ReadFull(theirs, head[:]); err != nil {
					return
				}
				data := make([]byte, binary.BigEndian.Uint32(head[:])-1)
				if _, err := io.ReadFull(theirs, data); err != nil {
					return
				}
				heard.WriteString(string(head[4]) + " " + string(data) + "\n")
				answer, told := m[head[4]]
				switch {
				case head[4] == 'O':
					answer = Frame('O', "\x00\x00\x00\x06\x00\x00\x00\xff\x00\x10\x00\x00")
				case head[4] == 'Q':
					return
				case head[4] == 'D' || head[4] == 'A':
					continue
				case !told:
					answer = Frame('c', "")
				}
				if _, err := io.WriteString(theirs, answer); err != nil {
					return
				}
			}
		}()
		return ours, nil
	}
}
