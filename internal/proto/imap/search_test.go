package imap

import (
	"fmt"
	"reflect"
	"testing"
)

// appendKey prints a key so that it reads as itself.
func appendKey(dst []byte, k Key) []byte {
	str := func(word string, args ...string) []byte {
		dst = append(dst, word...)
		for _, a := range args {
			dst = AppendString(append(dst, ' '), a)
		}
		return dst
	}
	switch k := k.(type) {
	case All:
		return append(dst, "ALL"...)
	case And:
		dst = append(dst, '(')
		for i, sub := range k.Keys {
			if i > 0 {
				dst = append(dst, ' ')
			}
			dst = appendKey(dst, sub)
		}
		return append(dst, ')')
	case Or:
		dst = appendKey(append(dst, "OR "...), k.A)
		return appendKey(append(dst, ' '), k.B)
	case Not:
		return appendKey(append(dst, "NOT "...), k.Key)
	case Messages:
		if k.Set.UID {
			dst = append(dst, "UID "...)
		}
		return k.Set.Append(dst)
	case HasFlag:
		if k.Flag == FlagRecent {
			return append(dst, "RECENT"...)
		}
		return append(append(dst, "KEYWORD "...), k.Flag...)
	case HeaderHas:
		return str("HEADER", k.Field, k.Text)
	case BodyHas:
		return str("BODY", k.Text)
	case TextHas:
		return str("TEXT", k.Text)
	case Arrived:
		return fmt.Appendf(dst, "%s %s", [...]string{"BEFORE", "ON", "SINCE"}[k.When], k.Day.Format("2-Jan-2006"))
	case Sent:
		return fmt.Appendf(dst, "%s %s", [...]string{"SENTBEFORE", "SENTON", "SENTSINCE"}[k.When], k.Day.Format("2-Jan-2006"))
	case Larger:
		return fmt.Appendf(dst, "LARGER %d", k.Size)
	case Smaller:
		return fmt.Appendf(dst, "SMALLER %d", k.Size)
	case Filter:
		return append(append(dst, "FILTER "...), k.Name...)
	case ChangedSince:
		return fmt.Appendf(dst, "MODSEQ %d", k.ModSeq)
	}
	panic(fmt.Sprintf("no way to print %T", k))
}

func FuzzSearch(f *testing.F) {
	for _, tc := range commandTests {
		if s, ok := tc.args.(*Search); ok {
			f.Add(string(appendKey(nil, s.Key)))
		}
	}
	f.Add(`FILTER on-the-road SEEN`)
	f.Add(`OR NOT (FROM "a" SINCE 1-Jan-2020) UID 5,3:*`)
	f.Fuzz(func(t *testing.T, in string) {
		d, _ := dec("a SEARCH "+in+"\r\n", false)
		c, err := d.Command()
		if err != nil {
			return
		}
		key := c.Args.(*Search).Key
		if again, ok := ParseFilter(string(appendKey(nil, key))); ok && !reflect.DeepEqual(again, key) {
			t.Fatalf("%q: as a filter it is %+v", in, again)
		}
		text := string(appendKey(nil, key))
		d, _ = dec("a SEARCH "+text+"\r\n", false)
		again, err := d.Command()
		if err != nil || !reflect.DeepEqual(again.Args.(*Search).Key, key) {
			t.Fatalf("%q prints as %q, which reads as %+v, %v", in, text, again.Args, err)
		}
	})
}
