package imap

// GetQuota is GETQUOTA. RFC 9208 §4.1.1
type GetQuota struct{ Root string }

func parseGetQuota(d *Decoder) any {
	d.sp()
	return &GetQuota{Root: d.astring()}
}

// GetQuotaRoot is GETQUOTAROOT. RFC 9208 §4.1.2
type GetQuotaRoot struct{ Mailbox string }

func parseGetQuotaRoot(d *Decoder) any {
	d.sp()
	return &GetQuotaRoot{Mailbox: d.mailbox()}
}
