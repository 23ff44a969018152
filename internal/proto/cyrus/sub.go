package cyrus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
)

// ErrSubscriptions says that a file is none of what a user has subscribed to, or damaged.
var ErrSubscriptions = errors.New("cyrus: these are no subscriptions")

// The beginnings of databases of Cyrus that are no text.
const (
	twoskipMagic  = "\241\002\213\015twoskip file\000\000\000\000"
	skiplistMagic = "\241\002\213\015skiplist file"
)

// ParseSubscriptions reads what a user has subscribed to, in the forms flat and twoskip:
// USER.sub, or sub.db. It gives the levels of the names of the user's own folders; the
// first is "INBOX", also where the server does not say so. The user's name is as people
// write it.
func ParseSubscriptions(b []byte, user string) (list [][]string, err error) {
	var keys []string
	switch {
	case bytes.HasPrefix(b, []byte(twoskipMagic)):
		if keys, err = twoskipKeys(b); err != nil {
			return nil, err
		}
	case bytes.HasPrefix(b, []byte(skiplistMagic)):
		return nil, fmt.Errorf("%w in a form that is known: cvt_cyrusdb makes the form flat of skiplist", ErrSubscriptions)
	case bytes.HasPrefix(b, []byte(twoskipMagic[:4])):
		return nil, fmt.Errorf("%w in a form that is known", ErrSubscriptions)
	default:
		for line := range strings.Lines(string(b)) {
			key, _, ok := strings.Cut(line, "\t")
			if !ok || !strings.HasSuffix(line, "\n") {
				return nil, ErrSubscriptions
			}
			keys = append(keys, key)
		}
	}
	local, _, _ := strings.Cut(user, "@")
	old := "user." + strings.ReplaceAll(local, ".", "^")
	for _, key := range keys {
		if levels := ownLevels(key, old); levels != nil {
			list = append(list, levels)
		}
	}
	return list, nil
}

// ownLevels gives the levels of one of the user's own folders; nil if it is another's.
// Since Cyrus 3.6 a key is "NINBOX", and each further level behind a 0x1f; before, it is
// the name in the form of the server, behind the domain if there is one.
func ownLevels(key, inbox string) []string {
	if rest, ok := strings.CutPrefix(key, "NINBOX"); ok {
		if rest == "" || rest[0] == 0x1f {
			return strings.Split("INBOX"+rest, "\x1f")
		}
		return nil
	}
	if _, rest, ok := strings.Cut(key, "!"); ok {
		key = rest
	}
	rest, ok := strings.CutPrefix(key, inbox)
	if !ok || rest != "" && rest[0] != '.' {
		return nil
	}
	return strings.Split("INBOX"+rest, ".")
}

// Of a twoskip: sizes and places in bytes.
const (
	twoskipHead  = 64
	twoskipSize  = 48 // where the size at the last commit stands
	twoskipSum   = 60
	leastRecord  = 24
	maxKey       = 4096
	recordDummy  = '='
	recordKey    = '+'
	recordDelete = '-'
)

// twoskipKeys gives the keys of a twoskip, in its order. It is a list of records, each of
// which points to the next by the higher of two numbers, of those that lie before what was
// committed last: so one that was being written when Cyrus ended is good, too.
func twoskipKeys(b []byte) (keys []string, err error) {
	if len(b) < twoskipHead || crc32.ChecksumIEEE(b[:twoskipSum]) != binary.BigEndian.Uint32(b[twoskipSum:]) {
		return nil, ErrSubscriptions
	}
	size := binary.BigEndian.Uint64(b[twoskipSize:])
	if size > uint64(len(b)) {
		return nil, fmt.Errorf("%w: the file was cut", ErrSubscriptions)
	}
	b = b[:size]
	at := uint64(twoskipHead)
	for range len(b) / leastRecord {
		kind, key, next, err := twoskipRecord(b, at)
		switch {
		case err != nil:
			return nil, err
		case kind == recordKey:
			keys = append(keys, key)
		case kind == recordDelete, kind == recordDummy && at == twoskipHead:
		default:
			return nil, ErrSubscriptions
		}
		if next == 0 {
			return keys, nil
		}
		at = next
	}
	return nil, fmt.Errorf("%w: they do not end", ErrSubscriptions)
}

// twoskipRecord reads the record at a place, and gives where the next is; 0 is nowhere.
func twoskipRecord(b []byte, at uint64) (kind byte, key string, next uint64, err error) {
	if at >= uint64(len(b)) || len(b[at:]) < leastRecord {
		return 0, "", 0, ErrSubscriptions
	}
	r := b[at:]
	n, length := 8, uint64(binary.BigEndian.Uint16(r[2:]))
	if length == 1<<16-1 {
		length = binary.BigEndian.Uint64(r[n:])
		n += 8
	}
	if binary.BigEndian.Uint32(r[4:]) == 1<<32-1 {
		n += 8
	}
	pointers := int(r[1]) + 1
	if len(r) < n+8*pointers+8 || length > maxKey || uint64(len(r)-n-8*pointers-8) < length {
		return 0, "", 0, ErrSubscriptions
	}
	for i := range min(pointers, 2) {
		if p := binary.BigEndian.Uint64(r[n+8*i:]); p < uint64(len(b)) {
			next = max(next, p)
		}
	}
	n += 8 * pointers
	if crc32.ChecksumIEEE(r[:n]) != binary.BigEndian.Uint32(r[n:]) {
		return 0, "", 0, fmt.Errorf("%w: a damaged record", ErrSubscriptions)
	}
	n += 8
	return r[0], string(r[n : n+int(length)]), next, nil
}
