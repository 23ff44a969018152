package imap

// MultiSearch is ESEARCH: a search in several mailboxes. RFC 7377
type MultiSearch struct {
	Search
	Sources []MailboxSource // none: the selected mailbox
}

// A MailboxSource is mailboxes to search.
type MailboxSource struct {
	Filter    MailboxFilter
	Mailboxes []string // of FilterSubtree, FilterSubtreeOne and FilterMailboxes
}

func parseMultiSearch(d *Decoder) any {
	c := &MultiSearch{Search: Search{UID: true}}
	d.sp()
	if d.word("IN") {
		d.sp()
		names := 0
		d.list(func() {
			var src MailboxSource
			src.Filter, src.Mailboxes = d.mailboxFilter()
			if src.Filter == FilterSelectedDelayed {
				d.fail("unknown filter")
			}
			if names += len(src.Mailboxes) + 1; names > maxNotifyNames {
				d.fail("too many mailboxes")
			}
			c.Sources = append(c.Sources, src)
		})
		d.sp()
	}
	d.searchReturn(&c.Search)
	if c.Return == 0 {
		c.Return = ReturnAll
	}
	d.searchProgram(&c.Search)
	return c
}
