package carrier

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fake writes a program that stands for doveadm, and doveconf beside it: a script of a
// shell.
func fake(t *testing.T, doveadm, doveconf string) Doveadm {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"doveadm": doveadm, "doveconf": doveconf} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	d := Doveadm{Command: []string{filepath.Join(dir, "doveadm"), "-c", "it's here"}}
	if err := d.Check(); err != nil {
		t.Fatal(err)
	}
	return d
}

// greeting is what IMAP says to the first commands of a session that is let in.
const greeting = `printf '* PREAUTH hi\r\np1 OK\r\np2 OK\r\n'
`

// TestDoveadm: an account over the pipe; ids that Dovecot keeps come before those that
// it would make.
func TestDoveadm(t *testing.T) {
	d := fake(t, `case "$*" in
"-c it's here user *") printf 'ada\nbob\n' ;;
"-c it's here -f tab fetch -u ada uid guid pop3.uidl mailbox INBOX") printf 'uid\tguid\tpop3.uidl\n3\tg3\told\0013\n5\tg5\t\n' ;;
"-c it's here exec imap -o mail_plugins=acl imap_acl -o imap_metadata=yes -u ada")
`+greeting+`printf '* LIST () "/" INBOX\r\np3 OK\r\np4 OK\r\np5 OK\r\n* OK [UIDVALIDITY 7]\r\np6 OK\r\n* SEARCH 3 5\r\np7 OK\r\n'
printf '* 1 FETCH (UID 3 FLAGS () RFC822.SIZE 3)\r\n* 2 FETCH (UID 5 FLAGS () RFC822.SIZE 3)\r\np8 OK\r\n* 1 FETCH (UID 3 BODY[] {3}\r\nabc)\r\n* 2 FETCH (UID 5 BODY[] {3}\r\ndef)\r\np9 OK\r\n'
cat > /dev/null ;;
*) echo "what? $*" >&2; exit 64 ;;
esac
`, `case "$*" in
"-c it's here -h -f protocol=imap mail_plugins imap_metadata") printf 'acl imap_acl\nyes\n' ;;
"-c it's here -h -f protocol=pop3 pop3_uidl_format") echo %g ;;
*) exit 1 ;;
esac
`)
	users, err := d.Users(t.Context())
	if err != nil || !slices.Equal(users, []string{"ada", "bob"}) {
		t.Error(users, err)
	}
	uidl, err := d.UIDLFormat(t.Context())
	if err != nil || uidl != "%g" {
		t.Error(uidl, err)
	}
	d.Options = d.IMAPOptions(t.Context())
	src, err := d.Open(t.Context(), "ada", uidl)
	if err != nil {
		t.Fatal(err)
	}
	s := newShelf()
	s.take(t, src, nil)
	equal(t, s.mail, []string{"INBOX -62135596800 old\x013: abc", "INBOX -62135596800 g5: def"})
	if err := src.Close(); err != nil || src.Name() != "dovecot:ada" {
		t.Error(src.Name(), err)
	}
}

// TestDoveadmFails: what it says is told, whenever it ends; who is not let wait for
// ever ends it.
func TestDoveadmFails(t *testing.T) {
	no := fake(t, "echo 'Fatal: Unknown  user' >&2; exit 67\n", "exit 1\n")
	if _, err := no.Users(t.Context()); err == nil || !strings.Contains(err.Error(), "Fatal: Unknown user") {
		t.Error(err)
	}
	if _, err := no.Open(t.Context(), "ada", ""); err == nil || !strings.Contains(err.Error(), "Fatal: Unknown user") {
		t.Error(err)
	}
	if _, err := no.UIDLFormat(t.Context()); err == nil || !strings.Contains(err.Error(), "--uidl") {
		t.Error(err)
	}
	if o := no.IMAPOptions(t.Context()); o != nil {
		t.Error(o)
	}
	odd := fake(t, "printf 'one\\ttwo\\n'\n", "echo %m\n")
	if _, err := odd.uidls(t.Context(), "ada"); err == nil {
		t.Error("a row of two columns is none")
	}
	if _, err := odd.UIDLFormat(t.Context()); err == nil {
		t.Error("%m cannot be made")
	}
	half := fake(t, greeting+"read a; read b; read c; echo 'lost it' >&2; exit 1\n", "")
	src, err := half.Open(t.Context(), "ada", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := src.Folders(t.Context()); err == nil || !strings.Contains(err.Error(), "lost it") {
		t.Error(err)
	}
	src.Close()
	ctx, cancel := context.WithCancel(t.Context())
	slow := fake(t, "echo begun; exec sleep 600\n", "")
	err = slow.lines(slow.command(ctx, slow.Command), func(string) error { cancel(); return nil })
	if err == nil || !errors.Is(ctx.Err(), context.Canceled) {
		t.Error(err)
	}
	if err := (Doveadm{Command: []string{"ssh", "old"}}).Check(); err == nil {
		t.Error("that is not doveadm")
	}
}
