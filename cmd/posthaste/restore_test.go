package main

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/agent/backup"
	"posthaste/internal/agent/owner"
	"posthaste/internal/base/mail"
	"posthaste/internal/server"
	"posthaste/internal/server/config"
	"posthaste/internal/service/admind"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/signin"
)

// account is an account in a store on the disk, for restores.
type account struct {
	t  *testing.T
	cl *admind.Client
	s  *mailbox.Store
	id mail.AccountID
}

const adaAddress = "ada@example.org"

func newAccount(t *testing.T, data string) (*account, *server.Store) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	cfg := config.Default()
	cfg.Data, cfg.Hostname = data, "mx.example.org"
	st, err := server.OpenStore(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	h, err := server.Build(cfg, server.Outside{DB: st.DB, Blobs: st.Blobs, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	a := &account{t: t, cl: admind.InProcess(h.Admin.Handler()), s: h.Mailboxes()}
	for _, err := range []error{a.cl.AddDomain(t.Context(), "example.org"), a.cl.AddAccount(t.Context(), admind.Account{Address: adaAddress, Password: "many secret words"})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	who, err := h.Directory().AccountOf(t.Context(), mail.Address{Local: "ada", Domain: "example.org"})
	if err != nil {
		t.Fatal(err)
	}
	a.id = who.ID
	return a, st
}

func (a *account) add(box mail.MailboxID, name string) mail.UID {
	a.t.Helper()
	text := "Message-ID: <" + name + "@x>\r\nSubject: " + name + "\r\n\r\ntext\r\n"
	p, err := a.s.PrepareMessage(a.t.Context(), mail.NewTraceID(time.Now()), strings.NewReader(text))
	if err == nil {
		var done []mailbox.Appended
		if done, err = a.s.AppendMessages(a.t.Context(), a.id, box, mailbox.Incoming{Prepared: p}); err == nil {
			return done[0].UID
		}
	}
	a.t.Fatal(err)
	return 0
}

func (a *account) expunge(box mail.MailboxID, uids ...mail.UID) {
	a.t.Helper()
	if _, _, err := a.s.Expunge(a.t.Context(), a.id, box, mail.UIDs(uids...), mailbox.ExpungeAll); err != nil {
		a.t.Fatal(err)
	}
}

// has gives what is in each folder, "folder/name", in order.
func (a *account) has() []string {
	a.t.Helper()
	return a.hasAt(adaAddress)
}

func (a *account) hasAt(address string) (out []string) {
	a.t.Helper()
	boxes, err := a.cl.Mailboxes(a.t.Context(), address)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, b := range boxes {
		err := a.cl.Listing(a.t.Context(), address, b.ID, func(p admind.Parcel) error {
			out = append(out, b.Name+"/"+strings.TrimSuffix(strings.TrimPrefix(p.MessageID, "<"), "@x>"))
			return nil
		})
		if err != nil {
			a.t.Fatal(err)
		}
	}
	slices.Sort(out)
	return out
}

// TestRestoreAt: an account has what it had at a time, each message once, whatever
// came and went around the last backup before; and a second run changes nothing.
func TestRestoreAt(t *testing.T) {
	t.Run("kept", func(t *testing.T) { synctest.Test(t, func(t *testing.T) { restoreAt(t, false) }) })
	t.Run("reaped", func(t *testing.T) { synctest.Test(t, func(t *testing.T) { restoreAt(t, true) }) })
}

func restoreAt(t *testing.T, reap bool) {
	dir := t.TempDir()
	a, st := newAccount(t, dir+"/data")
	work, err := a.s.CreateMailbox(t.Context(), a.id, "Work", mailbox.NoRole)
	if err != nil {
		t.Fatal(err)
	}
	tick := func() { time.Sleep(time.Hour) }

	before := a.add(mailbox.Inbox, "went-before")
	a.add(mailbox.Inbox, "stays")
	between := a.add(mailbox.Inbox, "went-between")
	after := a.add(mailbox.Inbox, "went-after")
	reaped := a.add(mailbox.Inbox, "went-after-reaped")
	a.add(work.ID, "folder-went")
	tick()
	a.expunge(mailbox.Inbox, before)
	tick()
	repo := &backup.Repository{Depot: backup.Folder(dir + "/backup")}
	if _, err := st.Backup(t.Context(), repo, "test"); err != nil {
		t.Fatal(err)
	}
	tick()
	a.expunge(mailbox.Inbox, between)
	brief := a.add(mailbox.Inbox, "came-and-went")
	new := a.add(mailbox.Inbox, "came-went-after")
	moved := a.add(mailbox.Inbox, "came-moved-went")
	a.add(mailbox.Inbox, "came-stays")
	tick()
	a.expunge(mailbox.Inbox, brief)
	tick()
	at := time.Now()
	want := a.has()
	tick()
	a.expunge(mailbox.Inbox, reaped)
	if reap { // what went just now only the backup has; what went before, nobody knows
		if _, err := a.s.Reap(t.Context(), a.id, mailbox.Keep{Since: time.Now().Add(time.Second)}); err != nil {
			t.Fatal(err)
		}
		want = append(want, "INBOX/went-between")
	}
	a.expunge(mailbox.Inbox, after, new)
	c, err := a.s.Move(t.Context(), a.id, mailbox.Inbox, work.ID, mail.UIDs(moved))
	if err != nil {
		t.Fatal(err)
	}
	a.expunge(work.ID, c.To.Min())
	late := a.add(mailbox.Inbox, "came-late")
	a.add(mailbox.Inbox, "came-late-stays")
	a.expunge(mailbox.Inbox, late)
	if err := a.s.DeleteMailbox(t.Context(), a.id, "Work"); err != nil {
		t.Fatal(err)
	}
	// What was moved comes back where it was last.
	want[slices.Index(want, "INBOX/came-moved-went")] = "Work/came-moved-went"
	want = append(want, "INBOX/came-late-stays")
	slices.Sort(want)

	for range 2 {
		r := restoring{t: &tool{}, now: a.cl, chosen: &chosen{at: at.Format(time.RFC3339), scratch: dir}, place: dir + "/backup", address: adaAddress, quiet: true}
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := a.has(); !slices.Equal(got, want) {
			t.Fatalf("has\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// TestRestoreTooEarly: if there is no backup so old, it is told what can be put back
// without one, but only if there is something.
func TestRestoreTooEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		a, st := newAccount(t, dir+"/data")
		uid := a.add(mailbox.Inbox, "went")
		time.Sleep(time.Hour)
		at := time.Now().Format(time.RFC3339)
		time.Sleep(time.Hour)
		run := func(folders ...string) string {
			r := restoring{t: &tool{}, now: a.cl, chosen: &chosen{at: at, scratch: dir}, place: dir + "/backup", address: adaAddress, folders: folders, quiet: true}
			err := r.run(t.Context())
			if err == nil {
				t.Fatal("a backup that is not there is restored")
			}
			return err.Error()
		}
		if said := run(); !strings.Contains(said, "there are no backups") || strings.Contains(said, "without a backup") {
			t.Error(said)
		}
		a.expunge(mailbox.Inbox, uid)
		if _, err := st.Backup(t.Context(), &backup.Repository{Depot: backup.Folder(dir + "/backup")}, "test"); err != nil {
			t.Fatal(err)
		}
		want := `but 1 message that was there then and has been deleted since can be put back without a backup: posthaste mailbox deleted restore ada@example.org --all --at "` + at + `"`
		if said := run(); !strings.Contains(said, "made after that time") || !strings.HasSuffix(said, want) {
			t.Error(said)
		}
		if said := run("INBOX"); !strings.HasSuffix(said, want+` --mailbox "INBOX"`) {
			t.Error(said)
		}
		if said := run("Work"); strings.Contains(said, "without a backup") {
			t.Error(said)
		}
	})
}

// TestRestoreSignsOut: whoever was signed in when a backup was made is not after it was
// restored, as he may have signed out since.
func TestRestoreSignsOut(t *testing.T) {
	top := t.TempDir()
	a, st := newAccount(t, top+"/data")
	before := &signin.Store{DB: st.DB}
	token, err := before.Open(t.Context(), signin.Session{Account: a.id, Proof: "p1"})
	if err != nil {
		t.Fatal(err)
	}
	r := &backup.Repository{Depot: backup.Folder(top + "/backup")}
	if _, err := st.Backup(t.Context(), r, ""); err != nil {
		t.Fatal(err)
	}
	g, err := r.Open(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	cfg := config.Default()
	cfg.Data = top + "/restored"
	if err := restoreInto(t.Context(), r, g, cfg); err != nil {
		t.Fatal(err)
	}
	for _, there := range []int{0, 1} { // what begins after that stays
		again, err := server.OpenStore(cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		after := &signin.Store{DB: again.DB}
		list, err := after.List(t.Context(), a.id)
		if _, find := after.Find(t.Context(), token); !errors.Is(find, mail.ErrNotFound) || err != nil || len(list) != there {
			t.Error(list, find, err)
		}
		if _, err = after.Open(t.Context(), signin.Session{Account: a.id}); err != nil {
			t.Error(err)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := before.Find(t.Context(), token); err != nil {
		t.Error("where it was made, the session went:", err)
	}
}

// TestRestoreBoth: what a restore has brought is not put back once more by undelete, and
// what undelete has put back no restore brings; but two messages that are alike are two.
func TestRestoreBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		a, st := newAccount(t, dir+"/data")
		tick := func() { time.Sleep(time.Hour) }
		one := a.add(mailbox.Inbox, "one")
		twin, other := a.add(mailbox.Inbox, "twin"), a.add(mailbox.Inbox, "twin")
		a.add(mailbox.Inbox, "stays")
		tick()
		if _, err := st.Backup(t.Context(), &backup.Repository{Depot: backup.Folder(dir + "/backup")}, "test"); err != nil {
			t.Fatal(err)
		}
		tick()
		late := a.add(mailbox.Inbox, "late")
		late2 := a.add(mailbox.Inbox, "late")
		a.expunge(mailbox.Inbox, one, twin, other, late, late2)
		all := []string{"INBOX/late", "INBOX/late", "INBOX/one", "INBOX/stays", "INBOX/twin", "INBOX/twin"}
		has := func(what string, want ...string) {
			t.Helper()
			if got := a.has(); !slices.Equal(got, want) {
				t.Fatalf("%s: has %q, not %q", what, got, want)
			}
		}
		undelete := func(back, left int, ids ...string) {
			t.Helper()
			done, err := a.cl.Restore(t.Context(), adaAddress, owner.DeletedFilter{IDs: ids})
			if err != nil || done.Messages != back || done.Left != left {
				t.Fatalf("undelete: %+v, %v; not %d and %d", done, err, back, left)
			}
		}
		restore := func(id string) {
			t.Helper()
			r := restoring{t: &tool{}, now: a.cl, chosen: &chosen{scratch: dir}, place: dir + "/backup", address: adaAddress, quiet: true, id: id}
			if err := r.run(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		restore("<one@x>")
		has("one from the backup", "INBOX/one", "INBOX/stays")
		undelete(4, 1)
		has("the others from what was deleted", all...)
		restore("")
		has("all is there", all...)
		undelete(0, 1)
		has("and nothing else", all...)

		// Both the message and its copy are deleted: one of them comes back.
		boxes, err := a.cl.Mailboxes(t.Context(), adaAddress)
		if err != nil {
			t.Fatal(err)
		}
		var uids []mail.UID
		err = a.cl.Listing(t.Context(), adaAddress, boxes[0].ID, func(p admind.Parcel) error {
			uid, err := uidOf(p.ID)
			uids = append(uids, uid)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		a.expunge(mailbox.Inbox, uids...)
		has("nothing")
		undelete(6, 1)
		has("all again", all...)
		undelete(1, 0, mailbox.ExpungedID{Mailbox: mailbox.Inbox, UID: one}.String())
		has("who names it gets it", append([]string{"INBOX/late", "INBOX/late", "INBOX/one"}, all[2:]...)...)
	})
}
