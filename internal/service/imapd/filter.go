package imapd

import (
	"context"
	"strings"

	"posthaste/internal/proto/imap"
	"posthaste/internal/store/mailbox"
)

// filterEntries is where the metadata of the server has filters, below private
// and shared. RFC 5466 §3.2
const filterEntries = "/filters/values/"

const (
	maxFilters     = 100  // that one search may use, however often each
	maxFilterDepth = 10   // filters within each other
	maxExpanded    = 2000 // search keys that come of it
)

// A filters puts what filters stand for in place of their names.
type filters struct {
	s    *session
	used int
	keys int
}

// expand gives the keys with all filters replaced.
func (f *filters) expand(ctx context.Context, k imap.Key, depth int) (imap.Key, error) {
	if f.keys++; f.keys > maxExpanded {
		return nil, no(imap.CodeLimit, "too many search keys")
	}
	switch k := k.(type) {
	case imap.And:
		keys := make([]imap.Key, len(k.Keys))
		for i := range k.Keys {
			var err error
			if keys[i], err = f.expand(ctx, k.Keys[i], depth); err != nil {
				return nil, err
			}
		}
		return imap.And{Keys: keys}, nil
	case imap.Or:
		a, err := f.expand(ctx, k.A, depth)
		if err != nil {
			return nil, err
		}
		b, err := f.expand(ctx, k.B, depth)
		return imap.Or{A: a, B: b}, err
	case imap.Not:
		inner, err := f.expand(ctx, k.Key, depth)
		return imap.Not{Key: inner}, err
	case imap.Filter:
		// A filter that comes back to itself does not exist. RFC 5466 §3.1
		if f.used++; f.used > maxFilters || depth >= maxFilterDepth {
			return nil, undefined(k.Name)
		}
		inner, err := f.s.filter(ctx, k.Name)
		if err != nil {
			return nil, err
		}
		return f.expand(ctx, inner, depth+1)
	}
	return k, nil
}

// filter gives what a filter of the person, or of all, stands for.
func (s *session) filter(ctx context.Context, name string) (imap.Key, error) {
	of := mailbox.Box{Account: s.peer.Account, Mailbox: mailbox.NoMailbox}
	for _, side := range []string{"/private", "/shared"} {
		private, entry, _ := imap.SplitEntry(side + filterEntries + name)
		found, err := s.srv.Mail.Metadata(ctx, of, []mailbox.Annotation{{Reader: s.reader(private), Name: entry}}, mailbox.ThisEntry)
		if err != nil {
			return nil, err
		}
		if len(found[0]) == 0 {
			continue
		}
		if k, ok := imap.ParseFilter(string(found[0][0].Value)); ok {
			return k, nil
		}
		return nil, no(imap.CodeUndefinedFilter(name), "the filter is no search")
	}
	return nil, undefined(name)
}

func undefined(name string) error {
	return no(imap.CodeUndefinedFilter(name), "there is no such filter")
}

// usable refuses to note as a filter what is no search. RFC 5466 §3.2
func usable(box, entry string, value []byte) error {
	if box != "" || value == nil || !strings.HasPrefix(entry, filterEntries) {
		return nil
	}
	if _, ok := imap.ParseFilter(string(value)); !ok {
		return no(imap.CodeCannot, "the filter is no search")
	}
	return nil
}
