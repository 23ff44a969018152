//go:build bench

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A wire is a connection of a client.
type wire struct {
	net.Conn
	r   *bufio.Reader
	out []byte
	n   int
}

func dial(addr string) (*wire, error) {
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	return &wire{Conn: c, r: bufio.NewReaderSize(c, 4<<10)}, nil
}

// line reads a line; it is good until the next is read.
func (w *wire) line() ([]byte, error) {
	return w.r.ReadSlice('\n')
}

// reply reads an SMTP or POP3 reply, which must begin as wanted.
func (w *wire) reply(want string) error {
	for {
		l, err := w.line()
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(l, []byte(want)) {
			return fmt.Errorf("it said %q", l)
		}
		if len(l) < 4 || l[3] != '-' {
			return nil
		}
	}
}

func (w *wire) say(command, want string) error {
	if _, err := io.WriteString(w, command+"\r\n"); err != nil {
		return err
	}
	return w.reply(want)
}

func dialSMTP(addr string) (*wire, error) {
	w, err := dial(addr)
	if err != nil {
		return nil, err
	}
	if err = w.reply("220"); err == nil {
		err = w.say("EHLO client.example", "250")
	}
	return w, err
}

// send sends a message, pipelined as far as that goes.
func (w *wire) send(from, to string, msg []byte) error {
	w.out = append(w.out[:0], "MAIL FROM:<"...)
	w.out = append(w.out, from...)
	w.out = append(w.out, ">\r\nRCPT TO:<"...)
	w.out = append(w.out, to...)
	w.out = append(w.out, ">\r\nDATA\r\n"...)
	if _, err := w.Write(w.out); err != nil {
		return err
	}
	for _, want := range [...]string{"250", "250", "354"} {
		if err := w.reply(want); err != nil {
			return err
		}
	}
	w.out = append(append(w.out[:0], msg...), ".\r\n"...)
	if _, err := w.Write(w.out); err != nil {
		return err
	}
	return w.reply("250")
}

func dialIMAP(addr, name string) (*wire, error) {
	w, err := dial(addr)
	if err != nil {
		return nil, err
	}
	if _, err = w.line(); err == nil {
		_, err = w.do("LOGIN " + name + " " + password)
	}
	return w, err
}

// do carries out a command whose answer is short, and gives the last untagged
// line.
func (w *wire) do(command string) (last string, err error) {
	w.n++
	tag := fmt.Sprintf("x%d ", w.n)
	if _, err := io.WriteString(w, tag+command+"\r\n"); err != nil {
		return "", err
	}
	for {
		l, err := w.line()
		if err != nil {
			return "", err
		}
		if rest, mine := bytes.CutPrefix(l, []byte(tag)); mine {
			if !bytes.HasPrefix(rest, []byte("OK")) {
				return "", fmt.Errorf("%s: it said %q", command, l)
			}
			return last, nil
		}
		last = string(l)
	}
}

// bulk carries out a command whose answer is long, and gives its length and how
// often a word is in it. It looks for the tag only at the end of what has come,
// so that the client is not what is measured.
func (w *wire) bulk(command, word string, buf []byte) (size, count int, err error) {
	w.n++
	tag := fmt.Sprintf("\r\nx%d ", w.n)
	if _, err := io.WriteString(w, tag[2:]+command+"\r\n"); err != nil {
		return 0, 0, err
	}
	keep := 0
	for {
		n, err := w.Read(buf[keep:])
		if err != nil {
			return 0, 0, err
		}
		size += n
		b := buf[:keep+n]
		tail := b[max(0, len(b)-300):]
		at := bytes.LastIndex(tail, []byte(tag))
		if at < 0 && size == n && bytes.HasPrefix(b, []byte(tag[2:])) {
			at = 0
		}
		if at >= 0 && bytes.HasSuffix(b, []byte("\r\n")) {
			if !bytes.Contains(tail[at:], []byte(tag[2:]+"OK")) {
				return 0, 0, fmt.Errorf("%s: it said %q", command, tail[at:])
			}
			return size, count + bytes.Count(b, []byte(word)), nil
		}
		if len(b) < len(buf)/2 {
			keep = len(b)
			continue
		}
		count += bytes.Count(b, []byte(word)) // one on the border may be missed
		keep = copy(buf, tail)
		count -= bytes.Count(buf[:keep], []byte(word))
	}
}

// letters are messages of a size, of random words. Those of a sender differ in
// Message-ID, Subject and text.
func letters(size int) []*letter {
	r := rand.New(rand.NewPCG(1, uint64(size)))
	words := make([]string, 2000)
	for i := range words {
		b := make([]byte, 2+r.IntN(9))
		for j := range b {
			b[j] = 'a' + byte(r.IntN(26))
		}
		words[i] = string(b)
	}
	text := func(n int) string {
		var b strings.Builder
		for col := 0; b.Len() < n; {
			w := words[int(float64(len(words))*r.Float64()*r.Float64())]
			if col += len(w) + 1; col > 72 {
				b.WriteString("\r\n")
				col = len(w) + 1
			}
			b.WriteString(w + " ")
		}
		return b.String() + "\r\n"
	}
	out := make([]*letter, 64)
	for i := range out {
		b := fmt.Sprintf("Date: Sat, 21 Nov 2026 %02d:%02d:00 +0000\r\nFrom: \"Some Sender\" <u0@%s>\r\nTo: <someone@%s>\r\n", i%24, i%60, domain, domain)
		b += fmt.Sprintf("Subject: %s 0000000000\r\nMessage-ID: <0000000000.%d@%s>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nX-Sent: 0000000000000000000\r\n\r\n",
			strings.TrimSpace(text(20)), i, domain)
		b += text(size - len(b))
		out[i] = &letter{text: []byte(b)}
	}
	return out
}

type letter struct{ text []byte }

var serial atomic.Int64

// stamped gives the letter with numbers of its own and the time, in buf.
func (l *letter) stamped(buf []byte) []byte {
	buf = append(buf[:0], l.text...)
	n := fmt.Appendf(nil, "%010d", serial.Add(1))
	for b := buf; ; {
		at := bytes.Index(b, []byte("0000000000"))
		if at < 0 {
			return buf
		}
		if bytes.HasPrefix(b[at:], []byte("0000000000000000000")) {
			copy(b[at:], fmt.Appendf(nil, "%019d", time.Now().UnixNano()))
			return buf
		}
		copy(b[at:], n)
		b = b[at+10:]
	}
}

// A sink takes all mail, and remembers how long each message was on its way.
type sink struct {
	ln    net.Listener
	mu    sync.Mutex
	took  []time.Duration
	count atomic.Int64
}

func newSink() (*sink, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{ln: ln}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return s, nil
}

func (s *sink) addr() string { return s.ln.Addr().String() }

func (s *sink) close() { s.ln.Close() }

func (s *sink) serve(c net.Conn) {
	defer c.Close()
	r, out := bufio.NewReaderSize(c, 64<<10), bufio.NewWriter(c)
	out.WriteString("220 sink ESMTP\r\n")
	for {
		if r.Buffered() == 0 && out.Flush() != nil {
			return
		}
		l, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		switch string(bytes.ToUpper(l[:min(4, len(l))])) {
		case "RCPT":
			if bytes.Contains(l, []byte("@dead")) {
				out.WriteString("451 4.3.0 not now\r\n")
			} else {
				out.WriteString("250 ok\r\n")
			}
		case "EHLO":
			out.WriteString("250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 100000000\r\n")
		case "DATA":
			out.WriteString("354 go on\r\n")
			if out.Flush() != nil || !s.message(r) {
				return
			}
			out.WriteString("250 ok\r\n")
		case "QUIT":
			out.WriteString("221 bye\r\n")
			out.Flush()
			return
		default:
			out.WriteString("250 ok\r\n")
		}
	}
}

func (s *sink) message(r *bufio.Reader) bool {
	for {
		l, err := r.ReadSlice('\n')
		if err != nil {
			return false
		}
		if string(l) == ".\r\n" {
			s.count.Add(1)
			return true
		}
		if rest, ok := bytes.CutPrefix(l, []byte("X-Sent: ")); ok {
			var at int64
			for _, d := range bytes.TrimSpace(rest) {
				at = at*10 + int64(d-'0')
			}
			s.mu.Lock()
			s.took = append(s.took, time.Since(time.Unix(0, at)))
			s.mu.Unlock()
		}
	}
}
