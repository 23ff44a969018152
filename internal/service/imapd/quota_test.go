package imapd

import (
	"strings"
	"testing"
)

// TestSetQuota: eve is an administrator. RFC 9208 §4.1.3
func TestSetQuota(t *testing.T) {
	srv := newServer(t)
	a, e := newClient(t, srv), clientOf(t, srv, "eve")
	for c, want := range map[*client]bool{a: false, e: true} {
		if got := strings.Contains(strings.Join(c.do("CAPABILITY"), " "), " QUOTASET"); got != want {
			t.Error("QUOTASET is announced:", got)
		}
	}
	const root = `"Other Users/ada@example.org"`
	e.want("GETQUOTA "+root, "* QUOTA "+root+" (STORAGE 0 4096 MESSAGE 0 1000 MAILBOX 6 20000)", "OK GETQUOTA completed")
	e.want("SETQUOTA "+root+" (STORAGE 512 MAILBOX 8)", "* QUOTA "+root+" (STORAGE 0 512 MAILBOX 6 8)", "OK SETQUOTA completed")
	e.want("SETQUOTA "+root+" (X-NUMBER 8)", "NO [CANNOT] there is no limit of this resource")
	e.want("SETQUOTA "+root+" (STORAGE 0)", "NO [CANNOT] a limit is above zero")
	e.want(`SETQUOTA "Other Users/nobody@example.org" (STORAGE 512)`, "NO [NONEXISTENT] there is no such quota root")
	a.want("CREATE one/two/three", "NO [OVERQUOTA] there is no room left in this account")
	a.want("GETQUOTA "+`""`, `* QUOTA "" (STORAGE 0 512 MAILBOX 6 8)`, "OK GETQUOTA completed")
	// A limit of less than the unit is no limit of nothing.
	if err := srv.Mail.SetMaxBytes(t.Context(), ada, 1000); err != nil {
		t.Fatal(err)
	}
	a.want("GETQUOTA "+`""`, `* QUOTA "" (STORAGE 0 1 MAILBOX 6 8)`, "OK GETQUOTA completed")
	a.do("CREATE one/two")
	a.want("CREATE three", "NO [OVERQUOTA] there is no room left in this account")
	a.want("RENAME one/two three", "OK RENAME completed")
	a.want("DELETE three", "OK DELETE completed")
	if out := a.do("CREATE three"); !strings.HasPrefix(out[0], "OK") {
		t.Error(out)
	}
	e.want("SETQUOTA "+root+" ()", "* QUOTA "+root+" (MAILBOX 8 20000)", "OK SETQUOTA completed")
	e.want(`SETQUOTA "Shared Folders/team@example.org" (MESSAGE 7)`, `* QUOTA "Shared Folders/team@example.org" (MESSAGE 0 7 MAILBOX 1 20000)`, "OK SETQUOTA completed")
	// An administrator's mail is limited as anybody's, and sees none of others.
	e.want(`SELECT "Other Users/ada@example.org/INBOX"`, "NO [NONEXISTENT] no such mailbox")
	e.do("UNAUTHENTICATE")
	e.do("LOGIN bob@example.org sesame")
	e.want("SETQUOTA "+root+" (STORAGE 512)", "NO [NOPERM] only administrators set limits")
	e.want("GETQUOTA "+root, "NO [NONEXISTENT] there is no such quota root")
}
