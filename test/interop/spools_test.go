//go:build interop

package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// sharingDovecot has Dovecot's plugins for ACL and METADATA.
const sharingDovecot = `
mail_plugins = acl
plugin {
  acl = vfile
  acl_anyone = allow
}
mail_attribute_dict = file:%h/attributes
protocol imap {
  mail_plugins = acl imap_acl
  imap_metadata = yes
}
`

// imapLines sends commands to an IMAP server without TLS and gives what it says
// untagged; each must succeed.
func imapLines(t *testing.T, port, user, password string, commands ...string) (out []string) {
	t.Helper()
	script := `import imaplib,sys
c=imaplib.IMAP4('127.0.0.1',int(sys.argv[1])); c.login(sys.argv[2],sys.argv[3])
for line in sys.argv[4:]:
    tag=c._new_tag(); c.send(tag+b' '+line.encode()+b'\r\n')
    while True:
        l=c.readline().decode().strip()
        if l.startswith(tag.decode()+' '):
            if ' OK' not in l: sys.exit(line+': '+l)
            break
        print(l)
c.logout()`
	text := job{name: "python3", args: append([]string{"-c", script, port, user, password}, commands...)}.ok(t)
	return strings.Split(strings.TrimSpace(text), "\n")
}

// TestMoveSharing takes rights, notes and subscriptions from a Dovecot here, and out
// to another: who is in the file of people is found under another name.
func TestMoveSharing(t *testing.T) {
	d := startDovecotWith(t, sharingDovecot)
	d.fill(t, "ada", 4, 20)
	ada, bob := small.person(t), small.person(t)
	imapLines(t, d.imap, "ada", "old",
		`SETACL "INBOX.Folder 2" bert lrs`, `SETACL "INBOX.Folder 2" nobody lr`, `SETACL "INBOX.Folder 2" "-anyone" i`, `SETACL INBOX "-authenticated" i`,
		`CREATE "INBOX.Folder 2.Own"`, `DELETEACL "INBOX.Folder 2.Own" bert`, `SUBSCRIBE "INBOX.Folder 2"`,
		`SETMETADATA "INBOX.Folder 2" (/shared/comment "for all" /private/comment "for me")`,
		`SETMETADATA "" (/private/comment "about me")`)
	people := write(t, filepath.Join(t.TempDir(), "people"), ada.address+"\tada\told\n"+bob.address+"\tbert\told\n")
	args := []string{"import", "imap", "127.0.0.1", "--accounts", people, "--tls", "none", "--port", d.imap}
	out, err := small.tool(args...)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// The other tests' people must not see it.
	defer imapLines(t, small.imapPort(), ada.address, ada.password, "DELETEACL INBOX authenticated")
	contains(t, out, "rights of nobody@hill.example: no account here has this address (\"Folder 2\"")
	read := func(user, password, port string, commands ...string) []string {
		t.Helper()
		lines := imapLines(t, port, user, password, commands...)
		for i := range lines {
			lines[i] = strings.ReplaceAll(lines[i], `"`, "")
		}
		return lines
	}
	get := []string{`GETACL "Folder 2"`, `GETMETADATA "Folder 2" (/shared/comment /private/comment)`, `GETMETADATA "" /private/comment`, `GETACL INBOX`, `GETACL "Folder 2/Own"`, `LSUB "" "Folder*"`}
	ours := strings.Join(read(ada.address, ada.password, small.imapPort(), get...), "\n")
	contains(t, ours, bob.address+" lrs\n", "-anyone i", "-authenticated i", "/shared/comment for all", "/private/comment for me", "/private/comment about me", "LSUB () / Folder 2")
	for _, line := range strings.Split(ours, "\n") {
		if strings.Contains(line, "/Own") && strings.Contains(line, bob.address) {
			t.Error("a folder that was shared with nobody is: ", line)
		}
	}

	// What is taken away here stays away, and comes again if that is said.
	imapLines(t, small.imapPort(), ada.address, ada.password, `DELETEACL "Folder 2" `+bob.address)
	for _, again := range []bool{false, true} {
		more := args
		if again {
			more = append(slices.Clone(args), "--follow-rights")
		}
		if out, err = small.tool(more...); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		acl := strings.Join(read(ada.address, ada.password, small.imapPort(), `GETACL "Folder 2"`), "")
		if strings.Contains(acl, bob.address) != again {
			t.Errorf("with --follow-rights %v: %s", again, acl)
		}
	}

	next := startDovecotWith(t, sharingDovecot)
	out, err = small.tool("export", "imap", "127.0.0.1", "--accounts", people, "--tls", "none", "--port", next.imap)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	there := strings.Join(read("ada", "old", next.imap, `GETACL "INBOX.Folder 2"`, `GETMETADATA "INBOX.Folder 2" (/shared/comment /private/comment)`, `GETMETADATA "" /private/comment`, `GETACL INBOX`), "\n")
	contains(t, there, "bert lrs", "-anyone i", "-authenticated i", "for all", "for me", "about me")

	// The same in files, which a Dovecot then serves.
	home := filepath.Join(next.dir, "mail", "files")
	if out, err = small.tool("export", "maildir", filepath.Join(home, "Maildir"), ada.address); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command("chown", "-R", fmt.Sprintf("%d:%d", dovecotUID, dovecotUID), home).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	files := strings.Join(read("files", "old", next.imap, `GETACL "INBOX.Folder 2"`, `GETACL INBOX`), "\n")
	contains(t, files, bob.address+" lrs", "-anyone i", "-authenticated i")
}

// TestMoveDoveadm brings users of a Dovecot that keeps mail in its own formats, through
// its own tool: all users at once, killed again and again, and as if from another
// machine. Some of the ids of POP3 are those of a server before it.
func TestMoveDoveadm(t *testing.T) {
	for _, format := range []string{"mdbox", "sdbox"} {
		t.Run(format, func(t *testing.T) {
			d := startDovecotWith(t, "mail_location = "+format+":~/box\npop3_uidl_format = %g\nuserdb {\n  driver = passwd-file\n  args = DIR/users\n}\n"+sharingDovecot)
			tool := "doveadm -c " + filepath.Join(d.dir, "dovecot.conf")
			ada, bob := small.person(t), small.person(t)
			var users string
			for _, p := range []person{ada, bob} {
				name, _, _ := strings.Cut(p.address, "@")
				users += fmt.Sprintf("%s::%d:%d::%s/mail/%s\n", name, dovecotUID, dovecotUID, d.dir, name)
				d.fill(t, name, 8, 300)
				root := filepath.Join(d.dir, "mail", name, "Maildir")
				write(t, filepath.Join(root, "dovecot-uidlist"), "3 V77 N300\n5 Pfirst :1500000000.M0P1.old\n9 Psecond.one :1500000008.M8P1.old\n")
				os.Chown(filepath.Join(root, "dovecot-uidlist"), dovecotUID, dovecotUID)
				job{name: "doveadm", args: []string{"-c", filepath.Join(d.dir, "dovecot.conf"), "backup", "-R", "-u", name, "maildir:~/Maildir"}}.ok(t)
			}
			write(t, filepath.Join(d.dir, "users"), users+fmt.Sprintf("eve::%d:%d::/nowhere\n", dovecotUID, dovecotUID))
			os.Chmod(filepath.Join(d.dir, "users"), 0o644)
			imapLines(t, d.imap, userOf(ada), "old", `SETACL "INBOX.Folder 2" `+userOf(bob)+` lrs`)

			args := []string{"import", "dovecot", "--all", "--domain", "hill.example", "--doveadm", tool}
			small.killed(t, 100*time.Millisecond, args...)
			out, err := small.tool(args...)
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			contains(t, out, "eve@hill.example has no account here", bob.address+": brought 0 messages")
			for _, p := range []person{ada, bob} {
				want := whole(t, d.imap, userOf(p), "old")
				if len(want) != 300 {
					t.Fatal(len(want))
				}
				got := slices.DeleteFunc(whole(t, small.imapPort(), p.address, p.password), func(l string) bool { return strings.HasPrefix(l, "Other Users/") })
				sameMail(t, p.address, sorted(got), ourNames(want))
				ids := uidls(t, d.pop, userOf(p), "old")
				sameMail(t, "POP3 ids", uidls(t, port(small.POP3), p.address, p.password), ids)
				contains(t, strings.Join(ids, " "), "first", "second.one")
			}
			acl := strings.Join(imapLines(t, small.imapPort(), ada.address, ada.password, `GETACL "Folder 2"`), "")
			contains(t, acl, `"`+bob.address+`" lrs`)

			// As from afar: what stands for ssh has a shell read the command.
			ssh := write(t, filepath.Join(t.TempDir(), "ssh"), "#!/bin/sh\nshift; exec sh -c \"$*\"\n")
			os.Chmod(ssh, 0o755)
			eve := small.person(t)
			if out, err = small.tool("import", "dovecot", userOf(ada), eve.address, "--doveadm", ssh+" old.example "+tool); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			sameMail(t, "from afar", sorted(whole(t, small.imapPort(), eve.address, eve.password)), ourNames(whole(t, d.imap, userOf(ada), "old")))
			if out, err = small.tool("import", "dovecot", "nobody", eve.address, "--doveadm", tool+" -o mail_home=/nowhere/x"); err == nil {
				t.Error("nobody has come", out)
			}
			contains(t, out, "Permission denied")
			if out, err = small.tool("import", "dovecot", "ada", eve.address, "--doveadm", filepath.Join(d.dir, "no", "doveadm")); err == nil {
				t.Error("there is no such tool", out)
			}
			contains(t, out, "no such file", "--uidl")
		})
	}
}

// userOf gives what stands before the @ of a person's address.
func userOf(p person) string {
	name, _, _ := strings.Cut(p.address, "@")
	return name
}
