package imap

import (
	"reflect"
	"strings"
	"testing"
)

const newGone = MessageNew | MessageExpunge

// notifyTests are of RFC 5465, with the parentheses that its §8 wants.
var notifyTests = []struct {
	in   string
	want any // *Notify, or what is wrong
}{
	{"NONE", &Notify{}},
	{
		"SET STATUS (selected (MessageNew (uid body.peek[header.fields (from to subject)]) MessageExpunge)) (subtree Lists (MessageNew messageexpunge))",
		&Notify{Status: true, Groups: []NotifyGroup{
			{Filter: FilterSelected, Events: newGone, Fetch: []FetchItem{
				{Kind: ItemUID},
				{Kind: ItemBodySection, Peek: true, Section: Section{Text: TextFields, Fields: []string{"from", "to", "subject"}}},
			}},
			{Filter: FilterSubtree, Mailboxes: []string{"Lists"}, Events: newGone},
		}},
	},
	{
		"SET (mailboxes (inbox &APw-) (MailboxName SubscriptionChange)) (selected-delayed NONE) (inboxes NONE)",
		&Notify{Groups: []NotifyGroup{
			{Filter: FilterMailboxes, Mailboxes: []string{"INBOX", "ü"}, Events: MailboxName | SubscriptionChange},
			{Filter: FilterSelectedDelayed},
			{Filter: FilterInboxes},
		}},
	},
	{
		"SET (personal (MessageNew FlagChange MessageExpunge AnnotationChange MailboxMetadataChange ServerMetadataChange)) (subscribed (Sunrise))",
		&Notify{Groups: []NotifyGroup{
			{Filter: FilterPersonal, Events: newGone | FlagChange | AnnotationChange | MailboxMetadataChange | ServerMetadataChange},
			{Filter: FilterSubscribed, Events: OtherEvent},
		}},
	},
	{"SET", "expected a space"},
	{"ALL", "expected SET or NONE"},
	{"SET STATUS", "expected a space"},
	{"SET (selected ())", "expected a word"},
	{"SET (nonsense NONE)", "unknown filter"},
	{"SET (subtree-one x NONE)", &Notify{Groups: []NotifyGroup{{Filter: FilterSubtreeOne, Mailboxes: []string{"x"}}}}},
	{"SET (mailboxes NONE)", "expected a space"},
	{"SET (selected (MessageNew))", "MessageNew and MessageExpunge come together, and other events of messages with them"},
	{"SET (selected (FlagChange))", "MessageNew and MessageExpunge come together, and other events of messages with them"},
	{"SET (selected (MailboxName))", "only events of messages are for the selected mailbox"},
	{"SET (personal (MessageNew (UID) MessageExpunge))", "items of messages are for the selected mailbox"},
	{"SET (selected NONE) (selected-delayed NONE)", "the selected mailbox can be named once"},
	{"SET (mailboxes (" + strings.Repeat("x ", 1000) + "x) NONE)", "too many mailboxes"},
}

func TestNotify(t *testing.T) {
	for _, tc := range notifyTests {
		d, _ := dec("a NOTIFY "+tc.in+"\r\nnext NOOP\r\n", false)
		name := "NOTIFY"
		if _, wrong := tc.want.(string); wrong {
			name = ""
		}
		checkCommand(t, tc.in, d, name, tc.want)
	}
	if got := CodeBadEvent(newGone | MailboxName); got != "BADEVENT (MessageNew MessageExpunge MailboxName)" {
		t.Error(got)
	}
}

// appendNotify prints a NOTIFY; the items of messages but for their kind.
func appendNotify(c *Notify) string {
	if len(c.Groups) == 0 {
		return "NONE"
	}
	b := []byte("SET")
	if c.Status {
		b = append(b, " STATUS"...)
	}
	for _, g := range c.Groups {
		b = append(b, " ("...)
		for name, f := range mailboxFilters {
			if f == g.Filter {
				b = append(b, name...)
			}
		}
		for i, n := range g.Mailboxes {
			b = append(b, []string{" (", " "}[min(i, 1)]...)
			b = AppendString(b, string(AppendUTF7(nil, n)))
		}
		if len(g.Mailboxes) > 0 {
			b = append(b, ')')
		}
		sep := " ("
		for _, e := range append(notifyEvents[:len(notifyEvents):len(notifyEvents)], struct {
			name  string
			event NotifyEvents
		}{"X", OtherEvent}) {
			if g.Events&e.event != 0 {
				b = append(append(b, sep...), e.name...)
				sep = " "
				if e.event == MessageNew && g.Fetch != nil {
					b = append(b, " (UID)"...)
				}
			}
		}
		if sep == " (" {
			b = append(b, " NONE"...)
		} else {
			b = append(b, ')')
		}
		b = append(b, ')')
	}
	return string(b)
}

func FuzzNotify(f *testing.F) {
	for _, tc := range notifyTests {
		f.Add(tc.in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		d, _ := dec("a NOTIFY "+in+"\r\n", false)
		c, err := d.Command()
		if err != nil {
			return
		}
		n := c.Args.(*Notify)
		for i := range n.Groups {
			if n.Groups[i].Fetch != nil {
				n.Groups[i].Fetch = kinds(ItemUID)
			}
			for _, name := range n.Groups[i].Mailboxes {
				if strings.HasPrefix(name, noName) {
					return // in no encoding
				}
			}
		}
		text := appendNotify(n)
		d, _ = dec("a NOTIFY "+text+"\r\n", false)
		d.Limits.Command *= 4
		again, err := d.Command()
		if err != nil || !reflect.DeepEqual(again.Args, c.Args) {
			t.Fatalf("%q prints as %q, which reads as %+v, %v", in, text, again.Args, err)
		}
	})
}
