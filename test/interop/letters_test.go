//go:build interop

package interop

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/smtp"
	"strings"
	"testing"
)

// compose makes a message with CRLF at the end of lines.
func compose(subject, fields, text string) []byte {
	head := fmt.Sprintf("From: Odd Sender <odd@outside.example>\nTo: somebody@hill.example\nDate: Tue, 03 Mar 2026 10:20:30 +0100\nSubject: %s\nMessage-ID: <%08x.%08x@outside.example>\n%s\n",
		subject, rand.Uint32(), rand.Uint32(), fields)
	return []byte(strings.ReplaceAll(head+text, "\n", "\r\n"))
}

// corpus gives the messages that programs are known to spoil.
func corpus() [][]byte {
	const mime = "MIME-Version: 1.0\n"
	attachment := make([]byte, 20_000)
	for i := range attachment {
		attachment[i] = byte(rand.Uint32())
	}
	return [][]byte{
		compose("Plain", "", "Hello,\n\nthis is all.\n"),
		compose("Dots", "", ".\n..\n...\n.hidden file\n\n.\nend\n"),
		compose("Long lines", "", long(990)+"\n"+long(998)+"\nshort\n"),
		compose("=?utf-8?q?Gr=C3=BC=C3=9Fe?=", mime+"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n", "Grüße aus Köln — ελληνικά, 日本\n"),
		compose("Latin", mime+"Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n", "Gr\xfc\xdfe\n"),
		compose("From the start", "", "From here on\n>From there on\n"),
		compose("Blanks", "", "trailing blanks  \t\n\n\n  \n\n"),
		compose("Empty", "", ""),
		compose("Attachment", mime+"Content-Type: multipart/mixed; boundary=\"=_'()+,-./:=?\"\n",
			"--=_'()+,-./:=?\nContent-Type: text/plain\n\nSee below.\n--=_'()+,-./:=?\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n"+
				"Content-Disposition: attachment; filename*0*=utf-8''%E6%97%A5%E6%9C%AC;\n filename*1*=%20.bin\n\n"+folded(attachment)+"--=_'()+,-./:=?--\n"),
	}
}

func long(n int) string { return strings.Repeat("0123456789", n/10+1)[:n] }

func folded(b []byte) string {
	var s strings.Builder
	for text := base64.StdEncoding.EncodeToString(b); text != ""; {
		n := min(76, len(text))
		s.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	return s.String()
}

// large gives a message of some size, which does not compress.
func large(size int) []byte {
	b := make([]byte, size*3/4)
	r := rand.NewChaCha8([32]byte{byte(size)})
	r.Read(b)
	return compose("Big", "MIME-Version: 1.0\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n", folded(b))
}

// marked is a message as a part of others: after its trace fields.
func marked(text []byte) []byte { return text[bytes.Index(text, []byte("From: ")):] }

// by is a message as if the person had written it: nobody may submit in another
// name.
func (p person) by(text []byte) []byte {
	return bytes.Replace(text, []byte("odd@outside.example>"), []byte(p.address+">"), 1)
}

// deliver brings a message in at the door for other servers.
func (p person) deliver(t *testing.T, texts ...[]byte) {
	t.Helper()
	c, err := smtp.Dial(p.h.SMTP)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Hello("outside.example")
	c.StartTLS(roots(t, p.h.CA))
	for _, text := range texts {
		err := c.Mail("odd@outside.example")
		if err == nil {
			err = c.Rcpt(p.address)
		}
		if err != nil {
			t.Fatal(err)
		}
		w, err := c.Data()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	c.Quit()
}
