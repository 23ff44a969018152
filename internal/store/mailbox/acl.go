package mailbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
)

// Rights are what somebody may do with a mailbox, one bit each. RFC 4314 §2.1
type Rights uint16

// The rights, in the order in which String writes them.
const (
	RightLookup  Rights = 1 << iota // l: see that it is there
	RightRead                       // r: read what is in it
	RightSeen                       // s: change \Seen
	RightWrite                      // w: change other flags and keywords
	RightInsert                     // i: add messages
	RightPost                       // p: send mail to it
	RightCreate                     // k: make mailboxes below it
	RightRemove                     // x: delete or rename it
	RightMark                       // t: change \Deleted
	RightExpunge                    // e: expunge
	RightAdmin                      // a: say who may do what

	AllRights = RightAdmin<<1 - 1
)

const rightLetters = "lrswipkxtea"

// The rights of RFC 2086 that RFC 4314 has divided: each is of all that it has
// become. RFC 4314 §2.1.1
const (
	oldCreate = RightCreate | RightRemove
	oldDelete = RightMark | RightExpunge
)

// ParseRights reads rights as letters; false if one is unknown.
func ParseRights(s string) (r Rights, ok bool) {
next:
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case 'c':
			r |= oldCreate
			continue
		case 'd':
			r |= oldDelete
			continue
		}
		for j := 0; j < len(rightLetters); j++ {
			if rightLetters[j] == s[i] {
				r |= 1 << j
				continue next
			}
		}
		return 0, false
	}
	return r, true
}

// String writes rights as letters, with those of RFC 2086 for old programs.
func (r Rights) String() string {
	b := make([]byte, 0, len(rightLetters)+2)
	for i := 0; i < len(rightLetters); i++ {
		if r&(1<<i) != 0 {
			b = append(b, rightLetters[i])
		}
	}
	if r&oldCreate != 0 {
		b = append(b, 'c')
	}
	if r&oldDelete != 0 {
		b = append(b, 'd')
	}
	return string(b)
}

// Flags gives the flags that somebody with these rights may change.
// RFC 4314 §4
func (r Rights) Flags() Flags {
	var f Flags
	if r&RightSeen != 0 {
		f |= Seen
	}
	if r&RightMark != 0 {
		f |= Deleted
	}
	if r&RightWrite != 0 {
		f |= ^(Seen | Deleted)
	}
	return f
}

// A Grantee is whom rights are given to: an account, or one of the groups.
type Grantee uint64

// The groups. Who comes to a mailbox has logged in, so both have the same
// members; who posts by mail need not have.
const (
	Anyone        Grantee = 1<<64 - 1
	Authenticated Grantee = 1<<64 - 2
)

// GranteeOf gives the grantee that is one account.
func GranteeOf(a mail.AccountID) Grantee { return Grantee(a) }

// Account gives the account; false for a group.
func (g Grantee) Account() (mail.AccountID, bool) {
	return mail.AccountID(g), g < Authenticated
}

// A Grant gives rights, or takes them whatever others give. RFC 4314 §2
type Grant struct {
	To     Grantee
	Takes  bool // negative rights
	Rights Rights
}

// Identifier gives what the grant is called where rights are told: the login address
// of an account, for which address is asked, anyone, or authenticated; with "-" before
// it if rights are taken away. "" if address says mail.ErrNotFound: the account is
// being removed. RFC 4314 §2
func (g *Grant) Identifier(address func(mail.AccountID) (mail.Address, error)) (string, error) {
	name := "authenticated"
	switch id, one := g.To.Account(); {
	case one:
		a, err := address(id)
		if errors.Is(err, mail.ErrNotFound) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		name = a.String()
	case g.To == Anyone:
		name = "anyone"
	}
	if g.Takes {
		name = "-" + name
	}
	return name, nil
}

// An ACL is who may do what with a mailbox, beside its owner, who may do all.
type ACL []Grant

// MaxGrants is how many grants an ACL has at most: they stand in the mailbox's
// row, which every message that comes in writes.
const MaxGrants = 200

// Rights gives what an account may do that is not the owner; account 0 is
// somebody who has not logged in.
func (l ACL) Rights(who mail.AccountID) Rights {
	var gives, takes Rights
	for _, g := range l {
		if g.To < Authenticated && g.To != GranteeOf(who) || who == 0 && g.To != Anyone {
			continue
		}
		if g.Takes {
			takes |= g.Rights
		} else {
			gives |= g.Rights
		}
	}
	return gives &^ takes
}

// RightsOf gives what an account may do with a mailbox of owner.
func (m *Mailbox) RightsOf(who, owner mail.AccountID) Rights {
	if who == owner {
		return AllRights
	}
	return m.ACL.Rights(who)
}

// RightsMode is how a change of rights is meant. RFC 4314 §3.1
type RightsMode byte

// The modes of SETACL.
const (
	ReplaceRights RightsMode = iota
	AddRights
	RemoveRights
)

// with gives the ACL after a change of one grant. A grant of nothing is none.
func (l ACL) with(c Grant, mode RightsMode) ACL {
	i := slices.IndexFunc(l, func(g Grant) bool { return g.To == c.To && g.Takes == c.Takes })
	out := slices.Clone(l)
	if i < 0 {
		i = len(out)
		out = append(out, Grant{To: c.To, Takes: c.Takes})
	}
	switch mode {
	case ReplaceRights:
		out[i].Rights = c.Rights
	case AddRights:
		out[i].Rights |= c.Rights
	case RemoveRights:
		out[i].Rights &^= c.Rights
	}
	if out[i].Rights == 0 {
		out = slices.Delete(out, i, i+1)
	}
	return out
}

// names tells whether the ACL says anything of a grantee.
func (l ACL) names(g Grantee) bool {
	return slices.ContainsFunc(l, func(have Grant) bool { return have.To == g })
}

func (l ACL) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(l)))
	for _, g := range l {
		takes := byte(0)
		if g.Takes {
			takes = 1
		}
		b = binary.AppendUvarint(append(b, takes), uint64(g.To))
		b = binary.AppendUvarint(b, uint64(g.Rights))
	}
	return b
}

func decodeACL(d *kv.Decoder) ACL {
	var l ACL
	for n := d.Uvarint(); n > 0 && d.Err() == nil && len(l) < MaxGrants; n-- {
		takes := d.Byte() != 0
		l = append(l, Grant{Takes: takes, To: Grantee(d.Uvarint()), Rights: Rights(d.Uvarint())})
	}
	return l
}

// shareKey is the row that leads from a grantee to a mailbox that names it.
// Whoever writes it holds the owner's lock.
func shareKey(to Grantee, owner mail.AccountID, box mail.MailboxID) []byte {
	b := binary.BigEndian.AppendUint64(sharePrefix(to), uint64(owner))
	return binary.BigEndian.AppendUint64(b, uint64(box))
}

func sharePrefix(to Grantee) []byte {
	b := make([]byte, 0, 26)
	b = append(b, kv.Free, 'S')
	return binary.BigEndian.AppendUint64(b, uint64(to))
}

// decodeShare gives the mailbox that a row leads to.
func decodeShare(key []byte) boxKey {
	at := key[len(key)-16:]
	return boxKey{mail.AccountID(binary.BigEndian.Uint64(at)), mail.MailboxID(binary.BigEndian.Uint64(at[8:]))}
}

// setACL changes who may do what, with the rows that lead there.
func (e *Edit) setACL(b *editBox, l ACL) error {
	for _, g := range b.ACL {
		if !l.names(g.To) {
			e.tx.Delete(shareKey(g.To, e.acct, b.ID))
		}
	}
	for _, g := range l {
		if !b.ACL.names(g.To) {
			e.tx.Set(shareKey(g.To, e.acct, b.ID), []byte{})
		}
	}
	if len(b.ACL) == 0 && len(l) > 0 && !b.chosen && b.own == 0 {
		b.own = e.root.modseq // who has not been there has read nothing
	}
	b.ACL, b.dirty = l, true
	e.note(op{kind: opMailbox, box: b.ID})
	if b.own == 0 {
		return nil
	}
	return e.forgetStrangers(b)
}

// Grant changes what a grantee may do with a mailbox.
func (e *Edit) Grant(box mail.MailboxID, g Grant, mode RightsMode) error {
	b, err := e.messages(box)
	if err != nil {
		return err
	}
	l := b.ACL.with(g, mode)
	if len(l) > MaxGrants {
		return fmt.Errorf("mailbox: %q: too many have rights: %w", b.Name, mail.ErrLimit)
	}
	if slices.Equal(l, b.ACL) {
		return nil
	}
	return e.setACL(b, l)
}
