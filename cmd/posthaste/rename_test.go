package main

import (
	"net/textproto"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/backup"
	"posthaste/internal/server/demo"
	"posthaste/internal/service/admind"
	"posthaste/internal/store/mailbox"
)

// imapSession logs in, and gives what says a command and returns all of the answer.
func imapSession(t *testing.T, addr string, p demo.Person) func(command string) string {
	t.Helper()
	c, err := textproto.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := c.ReadLine(); err != nil {
		t.Fatal(err)
	}
	do := func(command string) (all string) {
		t.Helper()
		c.PrintfLine("x %s", command)
		for {
			line, err := c.ReadLine()
			if err != nil {
				return all + "\ngone"
			}
			all += line + "\n"
			if strings.HasPrefix(line, "x ") {
				return all
			}
		}
	}
	if got := do("LOGIN " + p.Address + " " + p.Password); !strings.Contains(got, "x OK") {
		t.Fatal(got)
	}
	return do
}

// TestRename renames somebody who is logged in, and whose mailbox another one reads.
func TestRename(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	w, stop := startDemo(t, data)
	defer stop()
	ada, bob := w.People[0], w.People[1]
	domain := bob.Address[strings.IndexByte(bob.Address, '@'):]
	to := "robert" + domain
	his := imapSession(t, w.IMAP, bob)
	hers := imapSession(t, w.IMAP, ada)
	status := "STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY)"
	was := his(status)
	his("SETACL INBOX " + ada.Address + " lrs")
	if got := hers(`SUBSCRIBE "Other Users/` + bob.Address + `/INBOX"`); !strings.Contains(got, "x OK") {
		t.Fatal(got)
	}

	mustFail(t, "exists already", "", "account", "rename", bob.Address, ada.Address, "--data", data)
	mustFail(t, "not served here", "", "account", "rename", bob.Address, "bob@nowhere.example", "--data", data)
	mustFail(t, "not found", "", "account", "rename", "nobody"+domain, to, "--data", data)
	out := must(t, "", "account", "rename", bob.Address, to, "--data", data)
	if !strings.Contains(out, bob.Address+" is "+to+" now.") || !strings.Contains(out, "may still log in") {
		t.Error(out)
	}
	mustFail(t, "is "+to+" now", "", "account", "rename", bob.Address, "other"+domain, "--data", data)
	mustFail(t, "is "+to+" now", "", "account", "password", "list", bob.Address, "--data", data)
	if out := must(t, "", "alias", "list", "--data", data); !strings.Contains(out, bob.Address+" → "+to+"  (renamed: it still logs in)") {
		t.Error(out)
	}
	if out := must(t, "", "address", "explain", bob.Address, "--data", data); !strings.Contains(out, "was the address of an account") || !strings.Contains(out, "mailbox of "+to) {
		t.Error(out)
	}
	waitFor(t, "the session to end", func() bool { return strings.Contains(his("NOOP"), "gone") })
	for _, name := range []string{bob.Address, to} {
		his = imapSession(t, w.IMAP, demo.Person{Address: name, Password: bob.Password})
		if now := his(status); now != was {
			t.Errorf("as %s: %s, and it was %s", name, now, was)
		}
	}
	if got := hers(`LIST (SUBSCRIBED) "" "Other Users/*"`); !strings.Contains(got, `"Other Users/`+to+`/INBOX"`) || strings.Contains(got, bob.Address) {
		t.Error(got)
	}
	for _, name := range []string{bob.Address, to} { // what her program remembers goes, too
		if got := hers(`EXAMINE "Other Users/` + name + `/INBOX"`); !strings.Contains(got, "x OK") {
			t.Error(got)
		}
	}
	submit(t, w, ada, []string{bob.Address}, "From: "+ada.Address+"\r\nSubject: To the old one\r\n\r\nHello\r\n")
	submit(t, w, demo.Person{Address: bob.Address, Password: bob.Password}, []string{ada.Address}, "From: "+bob.Address+"\r\nSubject: From the old one\r\n\r\nHello\r\n")
	his("SELECT INBOX")
	if got := his(`SEARCH SUBJECT "To the old one"`); len(strings.Fields(got)) < 6 {
		t.Error("it did not come:", got)
	}
	if out := must(t, "", "check", "--data", data); !strings.Contains(out, "as it should be") {
		t.Error(out)
	}
	must(t, "", "account", "rename", to, bob.Address, "--no-alias", "--data", data) // back
	if out := must(t, "", "alias", "list", "--data", data); strings.Contains(out, bob.Address) {
		t.Error(out)
	}
}

// TestRestoreRenamed: a backup gives an account what was its own, whatever it was called.
func TestRestoreRenamed(t *testing.T) { synctest.Test(t, restoreRenamed) }

func restoreRenamed(t *testing.T) {
	dir := t.TempDir()
	a, st := newAccount(t, dir+"/data")
	a.add(mailbox.Inbox, "stays")
	gone := a.add(mailbox.Inbox, "went")
	time.Sleep(time.Hour)
	if _, err := st.Backup(t.Context(), &backup.Repository{Depot: backup.Folder(dir + "/backup")}, "test"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Hour)
	a.expunge(mailbox.Inbox, gone)
	const countess = "countess@example.org"
	if _, err := a.cl.RenameAccount(t.Context(), adaAddress, admind.Renaming{To: countess, NoAlias: true}); err != nil {
		t.Fatal(err)
	}
	if err := a.cl.AddAccount(t.Context(), admind.Account{Address: adaAddress, Password: "many secret words"}); err != nil {
		t.Fatal(err)
	}
	restore := func(address string) error {
		r := restoring{t: &tool{}, now: a.cl, chosen: &chosen{scratch: dir}, place: dir + "/backup", address: address, quiet: true}
		return r.run(t.Context())
	}
	if err := restore(adaAddress); err == nil || !strings.Contains(err.Error(), "is the account that is "+countess+" now") {
		t.Errorf("somebody else's mail: %v", err)
	}
	if got := a.has(); len(got) != 0 {
		t.Errorf("the new one has %q", got)
	}
	for range 2 {
		if err := restore(countess); err != nil {
			t.Fatal(err)
		}
		if got := a.hasAt(countess); !slices.Equal(got, []string{"INBOX/stays", "INBOX/went"}) {
			t.Errorf("she has %q", got)
		}
	}
}
