package imapd

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/blob/memblob"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
	"posthaste/internal/engine/kv/pebblekv"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/body"
	"posthaste/internal/store/mailbox"
)

const benchMessages = 10_000

// benchSession gives a client of a mailbox with 10,000 messages.
func benchSession(b *testing.B, db kv.Store, fill string) *bench {
	b.Cleanup(func() { db.Close() })
	st := &mailbox.Store{DB: db, Bodies: &body.Store{DB: db, Blobs: memblob.New()}}
	err := db.Update(b.Context(), kv.Plan{Locks: []kv.Lock{mailbox.Lock(ada)}}, func(tx kv.Tx) error { return st.Create(tx, ada, 0, 0) })
	if err != nil {
		b.Fatal(err)
	}
	srv := &Server{Mail: st, ClearAuth: true, Auth: func(mail.Peer) sasl.Verifier { return people{} }, Log: slog.New(slog.DiscardHandler)}
	for range benchMessages / 100 {
		var in []mailbox.Incoming
		for i := range 100 {
			text := fmt.Sprintf("Received: by x\r\n%s%d\r\n", mixed, i) + fill
			p, err := st.PrepareMessage(b.Context(), mail.TraceID{}, bytes.NewReader([]byte(text)))
			if err != nil {
				b.Fatal(err)
			}
			in = append(in, mailbox.Incoming{Prepared: p})
		}
		if _, err := st.AppendMessages(b.Context(), ada, mailbox.Inbox, in...); err != nil {
			b.Fatal(err)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go srv.Serve(b.Context(), ln)
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	s := &bench{b: b, store: st, conn: c, r: bufio.NewReaderSize(c, 1<<20)}
	s.r.ReadSlice('\n')
	s.do("LOGIN ada@example.org sesame")
	s.do("SELECT INBOX")
	return s
}

type bench struct {
	b     *testing.B
	store *mailbox.Store
	conn  net.Conn
	r     *bufio.Reader
}

// do sends a command and reads up to its OK; it gives how many bytes came.
func (s *bench) do(command string) (n int64) {
	io.WriteString(s.conn, "tag "+command+"\r\n")
	for {
		l, err := s.r.ReadSlice('\n')
		if err != nil {
			s.b.Fatal(err)
		}
		n += int64(len(l))
		if bytes.HasPrefix(l, []byte("tag ")) {
			if !bytes.HasPrefix(l, []byte("tag OK")) {
				s.b.Fatalf("%s: %s", command, l)
			}
			return n
		}
	}
}

func BenchmarkCommands(b *testing.B) {
	for _, bc := range []struct{ name, command string }{
		{"noop", "NOOP"},
		{"select", "SELECT INBOX"},
		{"flags", "FETCH 1:* (FLAGS)"},
		{"uid-flags", "UID FETCH 1:* (FLAGS)"},
		{"list", "FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (From To Subject Date Message-ID References)])"},
		{"envelope", "FETCH 1:* (ENVELOPE BODYSTRUCTURE)"},
		{"header", "FETCH 1:* (BODY.PEEK[HEADER])"},
		{"bodies", "FETCH 1:* (BODY.PEEK[])"},
		{"part", "FETCH 1:* (BODY.PEEK[1])"},
		{"search-from", "SEARCH FROM nobody"},
		{"search-header", "SEARCH HEADER X-Nothing nobody"},
		{"search-body", "SEARCH BODY nothing"},
		{"search-text", "SEARCH TEXT nothing"},
		{"search-flags", "SEARCH UNSEEN NOT DELETED"},
		{"sort", "SORT (REVERSE DATE) UTF-8 ALL"},
		{"sort-subject", "SORT (SUBJECT) UTF-8 ALL"},
		{"thread", "THREAD REFERENCES UTF-8 ALL"},
	} {
		b.Run(bc.name, func(b *testing.B) {
			s := benchSession(b, memkv.New(), "")
			s.do(bc.command)
			for b.Loop() {
				b.SetBytes(s.do(bc.command))
			}
		})
	}
	b.Run("store", func(b *testing.B) {
		s := benchSession(b, memkv.New(), "")
		for i := 0; b.Loop(); i++ {
			s.do(fmt.Sprintf(`STORE 1:* %cFLAGS.SILENT (\Flagged)`, "+-"[i%2]))
		}
	})
}

// BenchmarkDisk is some of the commands over the engine on disk, with messages
// of 4 KB; cold is with nothing in the memory of the mailbox store.
func BenchmarkDisk(b *testing.B) {
	db, err := pebblekv.Open(b.TempDir(), pebblekv.Options{})
	if err != nil {
		b.Fatal(err)
	}
	var fill strings.Builder
	for i := 0; fill.Len() < 3000; i++ {
		fmt.Fprintf(&fill, "line %x of a letter that somebody wrote %d times\r\n", i*2654435761, i)
	}
	s := benchSession(b, db, fill.String())
	for _, bc := range []struct{ name, command string }{
		{"select", "SELECT INBOX"},
		{"envelope", "FETCH 1:* (ENVELOPE BODYSTRUCTURE)"},
		{"header", "FETCH 1:* (BODY.PEEK[HEADER])"},
		{"bodies", "FETCH 1:* (BODY.PEEK[])"},
		{"search-body", "SEARCH BODY nothing"},
		{"sort-subject", "SORT (SUBJECT) UTF-8 ALL"},
	} {
		b.Run(bc.name, func(b *testing.B) {
			for b.Loop() {
				b.SetBytes(s.do(bc.command))
			}
		})
	}
	for _, bc := range []struct{ name, command string }{
		{"envelope", "FETCH 1:* (ENVELOPE BODYSTRUCTURE)"},
		{"search-from", "SEARCH FROM nobody"},
	} {
		b.Run(bc.name+"-cold", func(b *testing.B) {
			s.store.RecordBytes = 1
			for b.Loop() {
				b.SetBytes(s.do(bc.command))
			}
			s.store.RecordBytes = 0
		})
	}
}
