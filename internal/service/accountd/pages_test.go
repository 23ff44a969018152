package accountd

import (
	"net/url"
	"strings"
	"testing"

	"posthaste/internal/agent/owner"
	"posthaste/internal/base/mail"
	"posthaste/internal/store/directory"
	"posthaste/internal/store/mailbox"
	"posthaste/internal/store/maildrop"
)

// TestPolicy: what a policy would do is shown before it is set, and nothing happens until
// it is said again.
func TestPolicy(t *testing.T) {
	h := newHouse(t)
	b := h.in(t)
	h.letters(t, 3, "From: Bob <bob@b.example>\r\nSubject: <script>alert(1)</script> & \"more\"")
	if _, err := h.Owner.AddDevice(t.Context(), h.ada, "the \"phone\" <b>", directory.POP3); err != nil {
		t.Fatal(err)
	}
	err := h.Owner.Maildrops.Visited(t.Context(), h.ada.ID, maildrop.Visit{
		Device: 1, From: home, Bytes: 2048, Boxes: []maildrop.BoxVisit{{Mailbox: mailbox.Inbox, Collected: mail.UIDSpan(1, 2)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	page := b.get("pop3", "No message is about to go")
	if !strings.Contains(text(page), `the "phone" <b> As all others.`) || !strings.Contains(text(page), "192.0.2.7 2 2.0 KB 0") {
		t.Errorf("shown is %s", text(page))
	}
	form := []string{"after", "days", "days", "1", "removal", "trash", "newest", "10", "since", "2020-01-31", "unread", "1", "mailbox", "INBOX", "mailbox", "Sent", "device", ""}
	page = b.post("pop3/policy", "This is what it will do What is collected is moved to Trash 1 day later", append(form, "do", "look")...)
	for _, want := range []string{"2 messages will go", `<script>alert(1)</script> & "more"`, "to Trash", "INBOX and Sent, of that the newest 10 messages, from 2020-01-31 on, what is unread."} {
		if !strings.Contains(text(page), want) {
			t.Errorf("%q is not in\n%s", want, text(page))
		}
	}
	if strings.Contains(page, "<script") {
		t.Error("a message writes HTML")
	}
	b.get("pop3", "What is collected stays")

	// The form of what was shown has all that was chosen.
	_, shown, _ := strings.Cut(page, `<section class="look"`)
	shown, _, _ = strings.Cut(shown, "</form>")
	for _, want := range []string{`name="days" value="1"`, `name="removal" value="trash"`, `name="newest" value="10"`, `name="since" value="2020-01-31"`, `name="unread"`, `name="mailbox" value="INBOX"`, `name="mailbox" value="Sent"`} {
		if !strings.Contains(shown, want) {
			t.Errorf("%s is not in the form that saves", want)
		}
	}
	b.post("pop3/policy", "Saved. Programs", append(form, "do", "save")...)
	b.get("pop3", "2 messages will go")

	own := []string{"after", "keep", "removal", "hide", "mailbox", "INBOX", "device", `the "phone" <b>`}
	b.post("pop3/policy", "No message is about to go", append(own, "do", "look")...)
	b.post("pop3/policy", "Saved.", append(own, "do", "save")...)
	b.get("pop3", `the "phone" <b> What is collected stays; what the client deletes is hidden from this device; it sees INBOX.`)
	if page := b.get("pop3/policy?device="+url.QueryEscape(`THE "phone" <b>`), "No rules of its own"); !strings.Contains(page, `value="hide" checked`) {
		t.Error("what is set is not in the form")
	}
	b.post("pop3/policy", "That has no rules of its own any more", "device", `the "phone" <b>`, "do", "clear")
	b.get("pop3", `the "phone" <b> As all others.`)
	b.get("pop3/ledger", `the "phone" <b>`)
}

// TestPolicyMistakes: what cannot be meant is said in a sentence, and what was typed stays.
func TestPolicyMistakes(t *testing.T) {
	h := newHouse(t)
	b := h.in(t)
	for _, c := range []struct{ want, stays, form string }{
		{"is none of that", `value="many"`, "after=days&days=many&removal=delete"},
		{"is none of that", "", "after=days&days=0&removal=delete"},
		{"is none of that", "", "after=burn&removal=delete"},
		{"to remove a message means", "", "after=keep&removal=burn"},
		{"number of newest messages is 1 or more", "", "after=keep&removal=delete&newest=-1"},
		{"is no day", "yesterday", "after=keep&removal=delete&since=yesterday"},
		{"not there any more", "", "after=keep&removal=delete&mailbox=Nowhere"},
		{"not there any more", "", "after=keep&removal=delete&device=Nobody"},
	} {
		for _, do := range []string{"look", "save"} {
			q, err := url.ParseQuery(c.form)
			if err != nil {
				t.Fatal(err)
			}
			q.Set("do", do)
			resp, err := b.c.PostForm(h.url+"pop3/policy", q)
			if err == nil && resp.StatusCode < 400 {
				t.Errorf("%s: %s", c.form, resp.Status)
			}
			if page := b.shown(c.form, "", resp, err); !strings.Contains(strings.ToLower(text(page)), c.want) || !strings.Contains(page, c.stays) {
				t.Errorf("%s: %s", c.form, text(page))
			}
		}
	}
	b.get("pop3", "What is collected stays")
}

// TestDeleted: what was deleted is listed, and comes back.
func TestDeleted(t *testing.T) {
	h := newHouse(t)
	b := h.in(t)
	b.get("deleted", "There is nothing.")
	h.letters(t, 5, "From: Bob <bob@b.example>\r\nSubject: Numbers")
	if _, _, err := h.Owner.Mailboxes.Expunge(t.Context(), h.ada.ID, mailbox.Inbox, mail.UIDSpan(1, 4), mailbox.ExpungeAll); err != nil {
		t.Fatal(err)
	}
	page := b.get("deleted", "Bring back all 4")
	if strings.Count(page, "Numbers</label>") != 4 || !strings.Contains(page, "<option>INBOX</option>") {
		t.Errorf("listed is %s", text(page))
	}
	b.post("deleted", "Choose what is to come back first.", "do", "chosen")
	b.post("deleted", "2 messages came back.", "do", "chosen", "id", "1.1", "id", "1.3")
	if got := h.uids(t); got != "5:7" {
		t.Errorf("in the inbox are %s", got)
	}
	b.post("deleted", "1 of 2 could be restored, and are back", "do", "chosen", "id", "1.1", "id", "1.2")
	b.post("deleted", "is no id of a deleted message", "do", "chosen", "id", "x")
	b.post("deleted", "There was nothing to bring back.", "do", "all", "mailbox", "Sent")
	b.get("deleted?mailbox=Sent", "There is nothing of that.")
	b.post("deleted", "1 message came back.", "do", "all", "mailbox", "INBOX", "days", "7")
	if got := h.uids(t); got != "5:9" {
		t.Errorf("in the inbox are %s", got)
	}
	big := []string{"do", "chosen"}
	for range 150_000 {
		big = append(big, "id", "1.1")
	}
	b.post("deleted", "That was too much at once", big...)
}

// TestRestoreFull: what there is no room for stays where it is, and that is said.
func TestRestoreFull(t *testing.T) {
	h := newHouse(t)
	b := h.in(t)
	h.letters(t, 3, "Subject: x")
	if _, _, err := h.Owner.Mailboxes.Expunge(t.Context(), h.ada.ID, mailbox.Inbox, mail.UIDSpan(1, 3), mailbox.ExpungeAll); err != nil {
		t.Fatal(err)
	}
	if err := h.Owner.Mailboxes.SetMaxBytes(t.Context(), h.ada.ID, 20); err != nil {
		t.Fatal(err)
	}
	b.post("deleted", "There is no room left in your account", "do", "all")
	b.get("deleted", "Bring back all")
}

// TestPrograms: an app password is made by who knows that of the account, shown once, opens
// what it is for, and can be taken away.
func TestPrograms(t *testing.T) {
	h := newHouse(t)
	b := h.in(t)
	b.post("programs", "That is not the password of your account.", "name", "phone", "opens", "pop3", "password", "no")
	b.post("programs", "Choose what the password is for.", "name", "phone", "opens", "gopher", "password", password)
	b.post("programs", "An app password's name has", "name", " ", "opens", "all", "password", password)
	if list, err := h.Owner.Directory.AppPasswords(t.Context(), h.ada.ID); err != nil || len(list) != 0 {
		t.Fatalf("there are %v, %v", list, err)
	}
	page := b.post("programs", "shown this once", "name", "phone", "opens", "pop3", "password", password)
	_, app, _ := strings.Cut(page, "<code>")
	app, _, _ = strings.Cut(app, "</code>")
	if _, err := h.auth.For(home, directory.POP3).Password(t.Context(), "", "ada@a.example", app); err != nil {
		t.Errorf("%q opens nothing: %v", app, err)
	}
	if _, err := h.auth.For(home, directory.IMAP).Password(t.Context(), "", "ada@a.example", app); err == nil {
		t.Error("it opens what it is not for")
	}
	b.post("programs", "There is one of that name already.", "name", "Phone", "opens", "all", "password", password)
	if page := b.get("programs", "phone For only collecting with POP3."); strings.Contains(page, app) {
		t.Error("it is shown again")
	}
	b.post("programs/remove", "That program is shut out now.", "name", "phone")
	if _, err := h.auth.For(home, directory.POP3).Password(t.Context(), "", "ada@a.example", app); err == nil {
		t.Error("it still opens")
	}
	b.post("programs/remove", "not there any more", "name", "phone")
}

// TestChangePassword: it needs the old one, ends all other sessions, and the one in which
// it was changed goes on.
func TestChangePassword(t *testing.T) {
	h := newHouse(t)
	b, other := h.in(t), h.in(t)
	b.post("security/password", "not typed twice alike", "password", password, "new", "another secret", "repeated", "another")
	b.post("security/password", "That is not the password", "password", "no", "new", "another secret", "repeated", "another secret")
	b.post("security/password", "at least 8 characters", "password", password, "new", "short", "repeated", "short")
	other.get("", "Your account")
	b.post("security/password", "The password is changed.", "password", password, "new", "another secret", "repeated", "another secret")
	b.get("", "Your account")
	other.get("", "Sign in")
	other.post("sign-in", "do not go together", "user", "ada@a.example", "password", password)
	other.post("sign-in", "Your account", "user", "ada@a.example", "password", "another secret")

	third := h.browser(t)
	third.post("sign-in", "Your account", "user", "ada@a.example", "password", "another secret")
	page := b.get("security", "Sign out everywhere else")
	if strings.Count(page, "(this one)") != 1 || strings.Count(page, "<li>") != 3 {
		t.Errorf("sessions are %s", text(page))
	}
	_, id, _ := strings.Cut(page, `name="id" value="`)
	id, _, _ = strings.Cut(id, `"`)
	b.post("security/end", "Signed out there.", "id", id)
	b.post("security/end", "Signed out there.")
	other.get("", "Sign in")
	third.get("", "Sign in")
	b.get("", "Your account")
}

// TestOverview: room, and what to type into a program.
func TestOverview(t *testing.T) {
	h := newHouse(t)
	b := h.in(t)
	h.letters(t, 1, "Subject: x")
	b.get("", "used, by 1 message. There is no limit.")
	if err := h.Owner.Mailboxes.SetMaxBytes(t.Context(), h.ada.ID, 1<<20); err != nil {
		t.Fatal(err)
	}
	page := b.get("", "of 1.0 MB used, by 1 message.")
	for _, want := range []string{"Reading, by IMAP mail.a.example 993 SSL/TLS", "or else mail.a.example 143 STARTTLS", "Sending, by SMTP mail.a.example 465", "ada@a.example"} {
		if !strings.Contains(text(page), want) {
			t.Errorf("%q is not in\n%s", want, text(page))
		}
	}
	if !strings.Contains(page, "/mail.mobileconfig?address=ada%40a.example") {
		t.Error("no profile is offered")
	}
}

// TestScripts: rules are written, told what is wrong with them, switched and removed.
func TestScripts(t *testing.T) {
	h := newHouse(t)
	b := h.in(t)
	b.get("rules", "There are none")
	page := b.post("rules/edit", "there is something wrong. line 2: there is no command \"fileinot\"", "name", "my rules", "text", "keep;\r\nfileinot \"<b>\";", "do", "activate")
	if !strings.Contains(page, "fileinot &#34;&lt;b&gt;&#34;;</textarea>") || !strings.Contains(page, `value="my rules"`) {
		t.Error("what was typed is gone")
	}
	b.get("rules", "There are none")
	b.post("rules/edit", "a script's name has 1 to", "name", " ", "text", "keep;", "do", "save")
	b.post("rules/edit", "Saved. Rules", "name", "my rules", "text", "keep;\r\n# ä", "do", "activate")
	b.get("rules", "my rules (active)")
	if page := b.get("rules/edit?name=my+rules", "The rules “my rules”"); !strings.Contains(page, "# ä</textarea>") {
		t.Error("the script is not shown")
	}
	b.post("rules/edit", "Saved.", "name", "other", "text", "discard;", "do", "save")
	b.post("rules/active", "other (active)", "name", "other")
	b.post("rules/active", "other", "name", "")
	if page := b.get("rules", "other"); strings.Contains(page, "(active)") {
		t.Error("one is active")
	}
	b.post("rules/remove", "Removed.", "name", "other")
	b.post("rules/remove", "not there any more", "name", "other")
	b.get("rules/edit?name=other", "not there any more")
	big := strings.Repeat("# äöü\r\n", 30_000)
	b.post("rules/edit", "a script has", "name", "big", "text", big, "do", "save")
}

// TestAway: who writes is answered, and rules go on.
func TestAway(t *testing.T) {
	h := newHouse(t)
	b := h.in(t)
	b.post("rules/edit", "Saved.", "name", "mine", "text", "require \"imap4flags\"; addflag \"x\";", "do", "activate")
	b.get("away", "Nobody is answered now.")
	form := []string{"from", "2026-12-21", "until", "2027-01-04", "subject", "Away \"far\"", "text", "I am away.\r\n\"\\o/\" */ ${x}\r\n.\r\n# <b>"}
	b.post("away", "The last day is before the first one", "from", "2026-12-21", "until", "2026-12-20", "text", "x", "do", "on")
	b.post("away", "Say what those are to read", "text", " ", "do", "on")
	page := b.post("away", "Who writes to you is answered from 2026-12-21 on until 2027-01-04.", append(form, "do", "on")...)
	if !strings.Contains(page, "I am away.\n&#34;\\o/&#34; */ ${x}\n.\n# &lt;b&gt;</textarea>") {
		t.Errorf("the text is not shown: %s", page)
	}
	s, err := h.Owner.Script(t.Context(), h.ada.ID, "")
	if err != nil || s.Name != "away" || !strings.Contains(s.Text, `include :personal :optional "mine";`) {
		t.Errorf("active is %+v, %v", s, err)
	}
	lines, err := h.Owner.TryScript(t.Context(), h.ada, owner.Trial{Message: []byte("From: x@y.example\r\nTo: ada@a.example\r\n\r\n")})
	if err != nil || !strings.Contains(strings.Join(lines, "\n"), "with the flags x") {
		t.Errorf("it does %q, %v", lines, err)
	}
	if err := h.Owner.RenameScript(t.Context(), h.ada.ID, "mine", "ours"); err != nil {
		t.Fatal(err)
	}
	if s, err := h.Owner.Script(t.Context(), h.ada.ID, "away"); err != nil || !strings.Contains(s.Text, `"ours";`) {
		t.Errorf("%s, %v", s.Text, err)
	}
	b.post("away", "Nobody is answered any more.", append(form, "do", "off")...)
	if s, err := h.Owner.Script(t.Context(), h.ada.ID, ""); err != nil || s.Name != "ours" {
		t.Errorf("active is %+v, %v", s, err)
	}
	if page := b.get("away", "Nobody is answered now."); !strings.Contains(page, "I am away.") {
		t.Error("the text is gone")
	}
	b.post("rules/edit", "Saved.", "name", "away", "text", "keep;", "do", "save")
	b.get("away", "were not made on this page")
	b.post("away", "were not made on this page", append(form, "do", "on")...)
}
