package imap

import "testing"

// TestMultiSearch reads the examples of RFC 7377 §3, and what is wrong.
func TestMultiSearch(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want any
	}{
		{`IN (mailboxes "folder1" subtree "folder2") unseen`, &MultiSearch{
			Search:  Search{UID: true, Return: ReturnAll, Key: Not{HasFlag{FlagSeen}}},
			Sources: []MailboxSource{{FilterMailboxes, []string{"folder1"}}, {FilterSubtree, []string{"folder2"}}},
		}},
		{`IN (mailboxes "folder1" subtree-one ("folder2" inbox)) RETURN (COUNT) subject "chad"`, &MultiSearch{
			Search:  Search{UID: true, Return: ReturnCount, Key: HeaderHas{"Subject", "chad"}},
			Sources: []MailboxSource{{FilterMailboxes, []string{"folder1"}}, {FilterSubtreeOne, []string{"folder2", "INBOX"}}},
		}},
		{`CHARSET UTF-8 1:100`, &MultiSearch{Search: Search{UID: true, Return: ReturnAll, Charset: "UTF-8", Key: Messages{seqs(Range{1, 100})}}}},
		{`IN (selected personal) ALL`, &MultiSearch{
			Search:  Search{UID: true, Return: ReturnAll, Key: All{}},
			Sources: []MailboxSource{{Filter: FilterSelected}, {Filter: FilterPersonal}},
		}},
		{`IN () ALL`, "expected a word"},
		{`IN (selected-delayed) ALL`, "unknown filter"},
		{`IN (mailboxes) ALL`, "expected a space"},
		{`IN (personal) RETURN (ALL)`, "expected a space"},
	} {
		d, _ := dec("a ESEARCH "+tc.in+"\r\nnext NOOP\r\n", false)
		name := "ESEARCH"
		if _, wrong := tc.want.(string); wrong {
			name = ""
		}
		checkCommand(t, tc.in, d, name, tc.want)
	}
}
