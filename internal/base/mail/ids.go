package mail

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Ids of what the stores keep. They are never used again after what they named
// is gone; zero names nothing.
type (
	// AccountID names who logs in.
	AccountID uint64
	// MailboxID names a folder within its account.
	MailboxID uint64
	// EmailID names a message as it stands in an account.
	EmailID uint64
	// ThreadID names a conversation within its account.
	ThreadID uint64
	// QueueID names an item of the queue.
	QueueID uint64
	// UID is the number of a message in a mailbox. RFC 9051 §2.3.1.1
	UID uint32
	// ModSeq counts the commits to an account: it is IMAP's modification
	// sequence and JMAP's state. RFC 7162 §3
	ModSeq uint64
)

// A BlobID names bytes that never change. What is in it is the blob engine's
// affair; the zero BlobID names nothing.
type BlobID [16]byte

// IsZero tells whether the id names nothing.
func (id BlobID) IsZero() bool { return id == BlobID{} }

// String gives the id in hexadecimal.
func (id BlobID) String() string { return hex.EncodeToString(id[:]) }

// ParseBlobID reads what String wrote.
func ParseBlobID(s string) (BlobID, error) {
	var id BlobID
	if len(s) != 2*len(id) {
		return BlobID{}, fmt.Errorf("%q is no blob id", s)
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return BlobID{}, fmt.Errorf("%q is no blob id", s)
	}
	return id, nil
}

// A TraceID follows one mail transaction from the connection to the mailbox or
// to the last remote answer: it stands in the Received field, the 250 reply,
// the queue, the log and the stored trace. Its first 6 bytes are the time in
// milliseconds, so ids sort by time; the other 4 are random.
type TraceID [10]byte

// lower-case base32hex keeps the order of the bytes and has nothing that needs
// quoting in a header, a reply or a shell.
var traceEncoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// NewTraceID makes an id for something that begins now.
func NewTraceID(now time.Time) TraceID {
	var id TraceID
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(now.UnixMilli()))
	copy(id[:6], b[2:])
	rand.Read(id[6:]) // never fails, see crypto/rand
	return id
}

// IsZero tells whether the id names nothing.
func (id TraceID) IsZero() bool { return id == TraceID{} }

// Time gives when the transaction began, to the millisecond.
func (id TraceID) Time() time.Time {
	var b [8]byte
	copy(b[2:], id[:6])
	return time.UnixMilli(int64(binary.BigEndian.Uint64(b[:])))
}

// String gives 16 lower-case letters and digits.
func (id TraceID) String() string { return traceEncoding.EncodeToString(id[:]) }

// ParseTraceID reads what String wrote.
func ParseTraceID(s string) (TraceID, error) {
	var id TraceID
	b, err := traceEncoding.DecodeString(s)
	// A letter too many may decode to nothing.
	if err != nil || len(b) != len(id) || len(s) != traceEncoding.EncodedLen(len(id)) {
		return TraceID{}, fmt.Errorf("%q is no message id of ours (16 letters and digits, as in the Received field)", s)
	}
	copy(id[:], b)
	return id, nil
}

// Object gives the id of a mailbox as IMAP tells it. RFC 8474 §4
func (id MailboxID) Object() string { return "F" + strconv.FormatUint(uint64(id), 10) }

// ParseMailboxObject reads what Object writes.
func ParseMailboxObject(s string) (MailboxID, bool) {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "F"), 10, 64)
	id := MailboxID(n)
	return id, err == nil && n > 0 && id.Object() == s
}
