package imap

import "strconv"

// Sort is SORT and UID SORT. RFC 5256 §3, RFC 5267 §3
type Sort struct {
	Search
	By []SortBy
}

// SortBy is one criterion, the weightier ones first.
type SortBy struct {
	Key     SortKey
	Reverse bool
}

// A SortKey is what messages are ordered by.
type SortKey uint8

// The sort keys. RFC 5256 §3, RFC 5957
const (
	SortArrival SortKey = iota + 1
	SortCc
	SortDate
	SortFrom
	SortSize
	SortSubject
	SortTo
	SortDisplayFrom
	SortDisplayTo
)

var sortKeys = map[string]SortKey{
	"ARRIVAL": SortArrival, "CC": SortCc, "DATE": SortDate, "FROM": SortFrom, "SIZE": SortSize, "SUBJECT": SortSubject, "TO": SortTo,
	"DISPLAYFROM": SortDisplayFrom, "DISPLAYTO": SortDisplayTo,
}

// maxSortKeys is how many criteria a SORT may have.
const maxSortKeys = 20

func parseSort(d *Decoder) any {
	c := &Sort{Search: Search{UID: d.isUID()}}
	d.sp()
	d.searchReturn(&c.Search)
	d.list(func() {
		by := SortBy{}
		word := d.keyword()
		if word == "REVERSE" {
			by.Reverse = true
			d.sp()
			word = d.keyword()
		}
		if by.Key = sortKeys[word]; by.Key == 0 {
			d.fail("unknown sort key")
		}
		if c.By = append(c.By, by); len(c.By) > maxSortKeys {
			d.fail("too many sort keys")
		}
	})
	d.sp()
	d.charsetAndKeys(&c.Search)
	return c
}

// charsetAndKeys takes the charset and the keys of SORT and THREAD.
func (d *Decoder) charsetAndKeys(c *Search) {
	c.Charset = upper([]byte(d.astring()))
	d.sp()
	d.keys = 0
	c.Key = d.keyList()
}

// Thread is THREAD and UID THREAD. RFC 5256 §3
type Thread struct {
	Search
	Algorithm ThreadAlgorithm
}

// A ThreadAlgorithm is how messages become conversations.
type ThreadAlgorithm uint8

// The algorithms. The third is References without looking at subjects, and with
// the latest conversation last.
const (
	OrderedSubject ThreadAlgorithm = iota + 1
	References
	Refs
)

var threadAlgorithms = map[string]ThreadAlgorithm{"ORDEREDSUBJECT": OrderedSubject, "REFERENCES": References, "REFS": Refs}

func parseThread(d *Decoder) any {
	c := &Thread{Search: Search{UID: d.isUID()}}
	d.sp()
	if c.Algorithm = threadAlgorithms[d.keyword()]; c.Algorithm == 0 {
		d.fail("unknown algorithm")
	}
	d.sp()
	d.charsetAndKeys(&c.Search)
	return c
}

// Append appends the window as it goes over the wire.
func (w Window) Append(dst []byte) []byte {
	dst = strconv.AppendInt(dst, w.First, 10)
	return strconv.AppendInt(append(dst, ':'), w.Last, 10)
}
