//go:build interop

package interop

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
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
		`SETACL "INBOX.Folder 2" bert lrs`, `SETACL "INBOX.Folder 2" nobody lr`, `SETACL "INBOX.Folder 2" "-anyone" i`, `SETACL INBOX authenticated l`,
		`CREATE "INBOX.Folder 2.Own"`, `DELETEACL "INBOX.Folder 2.Own" bert`, `SUBSCRIBE "INBOX.Folder 2"`,
		`SETMETADATA "INBOX.Folder 2" (/shared/comment "for all" /private/comment "for me")`)
	people := write(t, filepath.Join(t.TempDir(), "people"), ada.address+"\tada\told\n"+bob.address+"\tbert\told\n")
	args := []string{"import", "imap", "127.0.0.1", "--accounts", people, "--tls", "none", "--port", d.imap}
	out, err := small.tool(args...)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	contains(t, out, "rights of nobody@hill.example: no account here has this address (\"Folder 2\"")
	read := func(user, password, port string, commands ...string) []string {
		t.Helper()
		lines := imapLines(t, port, user, password, commands...)
		for i := range lines {
			lines[i] = strings.ReplaceAll(lines[i], `"`, "")
		}
		return lines
	}
	get := []string{`GETACL "Folder 2"`, `GETMETADATA "Folder 2" (/shared/comment /private/comment)`, `GETACL INBOX`, `GETACL "Folder 2/Own"`, `LSUB "" "Folder*"`}
	ours := strings.Join(read(ada.address, ada.password, small.imapPort(), get...), "\n")
	contains(t, ours, bob.address+" lrs\n", "-anyone i", "authenticated l", "/shared/comment for all", "/private/comment for me", "LSUB () / Folder 2")
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
	there := strings.Join(read("ada", "old", next.imap, `GETACL "INBOX.Folder 2"`, `GETMETADATA "INBOX.Folder 2" (/shared/comment /private/comment)`, `GETACL INBOX`), "\n")
	contains(t, there, "bert lrs", "-anyone i", "authenticated l", "for all", "for me")
}
