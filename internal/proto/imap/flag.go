package imap

import "strings"

// The system flags. RFC 9051 §2.3.2
const (
	FlagSeen     = `\Seen`
	FlagAnswered = `\Answered`
	FlagFlagged  = `\Flagged`
	FlagDeleted  = `\Deleted`
	FlagDraft    = `\Draft`
	FlagRecent   = `\Recent` // RFC 3501 §2.3.2; no client can set it
)

var systemFlags = []string{FlagSeen, FlagAnswered, FlagFlagged, FlagDeleted, FlagDraft, FlagRecent}

// flag takes a flag or keyword; system flags come out in the case of the RFC.
func (d *Decoder) flag() string {
	if !d.take('\\') {
		return d.atom()
	}
	name := `\` + d.atom()
	for _, f := range systemFlags {
		if strings.EqualFold(f, name) {
			return f
		}
	}
	return name
}

// flagList takes flags in parentheses. A client that hands \Recent back to us
// means no harm: it is left out.
func (d *Decoder) flagList() []string {
	flags := []string{}
	d.listOrNothing(func() { flags = d.appendFlag(flags) })
	return flags
}

func (d *Decoder) appendFlag(flags []string) []string {
	f := d.flag()
	if d.err != nil || f == FlagRecent {
		return flags
	}
	if f[0] == '\\' && !isSystemFlag(f) {
		d.fail("unknown system flag")
	}
	return append(flags, f)
}

func isSystemFlag(f string) bool {
	for _, s := range systemFlags {
		if s == f {
			return true
		}
	}
	return false
}
