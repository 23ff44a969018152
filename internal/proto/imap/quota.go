package imap

// GetQuota is GETQUOTA. RFC 9208 §4.1.1
type GetQuota struct{ Root string }

func parseGetQuota(d *Decoder) any {
	d.sp()
	return &GetQuota{Root: d.quotaRoot()}
}

// GetQuotaRoot is GETQUOTAROOT. RFC 9208 §4.1.2
type GetQuotaRoot struct{ Mailbox string }

func parseGetQuotaRoot(d *Decoder) any {
	d.sp()
	return &GetQuotaRoot{Mailbox: d.mailbox()}
}

// SetQuota is SETQUOTA. RFC 9208 §4.1.3
type SetQuota struct {
	Root   string
	Limits []QuotaLimit
}

// A QuotaLimit is how much of a resource may be used.
type QuotaLimit struct {
	Resource string // upper case
	Limit    uint64
}

// maxLimits is how many limits a SETQUOTA may set.
const maxLimits = 20

func parseSetQuota(d *Decoder) any {
	c := new(SetQuota)
	d.sp()
	c.Root = d.quotaRoot()
	d.sp()
	d.listOrNothing(func() {
		l := QuotaLimit{Resource: d.keyword()}
		d.sp()
		l.Limit = d.number63()
		if c.Limits = append(c.Limits, l); len(c.Limits) > maxLimits {
			d.fail("too many limits")
		}
	})
	return c
}

// quotaRoot takes the name of a quota root, which is written as that of a
// mailbox: it may have any letters in it.
func (d *Decoder) quotaRoot() string { return d.name7(d.astring()) }
