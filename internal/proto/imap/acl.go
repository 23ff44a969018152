package imap

// SetACL is SETACL. Rights may begin with + or -. RFC 4314 §3.1
type SetACL struct{ Mailbox, Identifier, Rights string }

func parseSetACL(d *Decoder) any {
	c := new(SetACL)
	d.sp()
	c.Mailbox = d.mailbox()
	d.sp()
	c.Identifier = d.identifier()
	d.sp()
	c.Rights = d.astring()
	return c
}

// identifier takes whom rights are given to.
func (d *Decoder) identifier() string {
	id := d.astring()
	if d.ok() && (id == "" || !validName(id)) {
		d.fail("this is no identifier")
	}
	return id
}

// DeleteACL is DELETEACL. RFC 4314 §3.2
type DeleteACL struct{ Mailbox, Identifier string }

func parseDeleteACL(d *Decoder) any {
	c := new(DeleteACL)
	d.sp()
	c.Mailbox = d.mailbox()
	d.sp()
	c.Identifier = d.identifier()
	return c
}

// GetACL is GETACL. RFC 4314 §3.3
type GetACL struct{ Mailbox string }

func parseGetACL(d *Decoder) any {
	d.sp()
	return &GetACL{Mailbox: d.mailbox()}
}

// ListRights is LISTRIGHTS. RFC 4314 §3.4
type ListRights struct{ Mailbox, Identifier string }

func parseListRights(d *Decoder) any {
	c := new(ListRights)
	d.sp()
	c.Mailbox = d.mailbox()
	d.sp()
	c.Identifier = d.identifier()
	return c
}

// MyRights is MYRIGHTS. RFC 4314 §3.5
type MyRights struct{ Mailbox string }

func parseMyRights(d *Decoder) any {
	d.sp()
	return &MyRights{Mailbox: d.mailbox()}
}
