package imap

import (
	"strconv"

	"posthaste/internal/base/mail"
)

// A Condition is how a command went, or what the server has to say.
// RFC 9051 §7.1
type Condition string

// The conditions.
const (
	OK      Condition = "OK"
	NO      Condition = "NO"
	BAD     Condition = "BAD"
	BYE     Condition = "BYE"
	PREAUTH Condition = "PREAUTH"
)

// A Code is a response code without its brackets, for programs to read; empty
// is none. RFC 9051 §7.1
type Code string

// Codes that are one word. RFC 9051 §7.1, RFC 5530, RFC 7162
const (
	CodeAlert                Code = "ALERT"
	CodeAlreadyExists        Code = "ALREADYEXISTS"
	CodeAuthenticationFailed Code = "AUTHENTICATIONFAILED"
	CodeAuthorizationFailed  Code = "AUTHORIZATIONFAILED"
	CodeCannot               Code = "CANNOT"
	CodeClientBug            Code = "CLIENTBUG"
	CodeUIDRequired          Code = "UIDREQUIRED"
	CodeCompressionActive    Code = "COMPRESSIONACTIVE"
	CodeClosed               Code = "CLOSED"
	CodeContactAdmin         Code = "CONTACTADMIN"
	CodeExpired              Code = "EXPIRED"
	CodeExpungeIssued        Code = "EXPUNGEISSUED"
	CodeHasChildren          Code = "HASCHILDREN"
	CodeInUse                Code = "INUSE"
	CodeLimit                Code = "LIMIT"
	CodeNonExistent          Code = "NONEXISTENT"
	CodeNoModSeq             Code = "NOMODSEQ"
	CodeNoPerm               Code = "NOPERM"
	CodeNotSaved             Code = "NOTSAVED"
	CodeNotificationOverflow Code = "NOTIFICATIONOVERFLOW"
	CodeOverQuota            Code = "OVERQUOTA"
	CodeParse                Code = "PARSE"
	CodePrivacyRequired      Code = "PRIVACYREQUIRED"
	CodeReadOnly             Code = "READ-ONLY"
	CodeReadWrite            Code = "READ-WRITE"
	CodeServerBug            Code = "SERVERBUG"
	CodeTooBig               Code = "TOOBIG"
	CodeTooFew               Code = "TOOFEW"
	CodeTryCreate            Code = "TRYCREATE"
	CodeUIDNotSticky         Code = "UIDNOTSTICKY"
	CodeUnavailable          Code = "UNAVAILABLE"
	CodeUnknownCTE           Code = "UNKNOWN-CTE"
	CodeURLMech              Code = "URLMECH INTERNAL"
	CodeBadComparator        Code = "BADCOMPARATOR" // RFC 5255 §4.9
	CodeUseAttr              Code = "USEATTR"
	CodeBadCharset           Code = "BADCHARSET (UTF-8 US-ASCII)"
)

// CodeNumber makes a code that is a word and a number: UIDNEXT, UIDVALIDITY,
// UNSEEN, HIGHESTMODSEQ.
func CodeNumber(word string, n uint64) Code { return Code(word + " " + strconv.FormatUint(n, 10)) }

// CodeMessageLimit tells how many messages a command may be about, and down to
// which UID one has been; zero: to none. RFC 9738 §3.1
func CodeMessageLimit(n int, lowest mail.UID) Code {
	c := CodeNumber("MESSAGELIMIT", uint64(n))
	if lowest == 0 {
		return c
	}
	return CodeNumber(string(c), uint64(lowest))
}

// CodeCapability tells the capabilities, which must be one line of words.
func CodeCapability(capabilities string) Code { return Code("CAPABILITY " + capabilities) }

// CodePermanentFlags tells which flags can be changed for good.
func CodePermanentFlags(flags []string) Code {
	return Code(AppendFlags([]byte("PERMANENTFLAGS "), flags))
}

// CodeAppendUID tells where APPEND has put its messages. RFC 4315 §3
func CodeAppendUID(validity uint32, uids mail.UIDSet) Code {
	b := strconv.AppendUint([]byte("APPENDUID "), uint64(validity), 10)
	return Code(uids.Append(append(b, ' ')))
}

// CodeCopyUID tells where COPY or MOVE has put from: the nth of from is the nth
// of to. Both must be in ascending order. RFC 4315 §3
func CodeCopyUID(validity uint32, from, to mail.UIDSet) Code {
	b := strconv.AppendUint([]byte("COPYUID "), uint64(validity), 10)
	b = from.Append(append(b, ' '))
	return Code(to.Append(append(b, ' ')))
}

// CodeMailboxID tells the id of a mailbox. RFC 8474 §4
func CodeMailboxID(id string) Code { return Code("MAILBOXID (" + id + ")") }

// CodeInProgress tells how far a command is. RFC 9585 §4
func CodeInProgress(tag string, done, all uint32) Code {
	b := AppendString([]byte("INPROGRESS ("), tag)
	b = strconv.AppendUint(append(b, ' '), uint64(done), 10)
	b = strconv.AppendUint(append(b, ' '), uint64(all), 10)
	return Code(append(b, ')'))
}

// CodeNoUpdate tells which search is not kept up to date. RFC 5267 §4.3.1
func CodeNoUpdate(tag string) Code { return Code(AppendString([]byte("NOUPDATE "), tag)) }

// CodeBadURL tells which URL was wrong. RFC 4469 §4
func CodeBadURL(url string) Code {
	b := AppendString(nil, url)
	if b[0] != '"' {
		b = []byte(`""`) // what would need a literal is not repeated
	}
	return Code("BADURL " + string(b))
}

// CodeModified tells which messages a conditional STORE has not changed, in the
// numbers that the command used. RFC 7162 §3.1.3
func CodeModified(numbers mail.UIDSet) Code {
	return Code(numbers.Append([]byte("MODIFIED ")))
}

// Status writes a tagged or, with "*", an untagged status response. Of text
// only what is printable ASCII gets out, and what is beyond it in another language.
func (e *Encoder) Status(tag string, c Condition, code Code, text string) *Encoder {
	b := append(append(append(e.buf, tag...), ' '), c...)
	b = append(b, ' ')
	if code != "" {
		b = append(append(append(b, '['), code...), "] "...)
	}
	if text == "" {
		text = string(c)
	}
	if e.Words != nil {
		text = e.Words(text)
	}
	for i := 0; i < len(text); i++ {
		if ' ' <= text[i] && text[i] < 0x7f || text[i] >= 0x80 && e.Words != nil {
			b = append(b, text[i])
		} else {
			b = append(b, '?')
		}
	}
	return e.set(append(b, '\r', '\n'))
}

// Continue writes a continuation request; text is sent as it is, so it must be
// base64 or words of our own. The space behind the plus is sent even if text is
// empty: clients hang without it. RFC 9051 §7.6
func (e *Encoder) Continue(text string) *Encoder {
	if e.Words != nil {
		text = e.Words(text)
	}
	return e.Raw("+ ").Raw(text).CRLF()
}

// StatusValues are the answers to STATUS.
type StatusValues struct {
	Messages, UIDNext, UIDValidity, Unseen, Deleted, Size, Recent, HighestModSeq, AppendLimit, DeletedStorage uint64
	MailboxID                                                                                                 string
}

// StatusItems writes the values of items in parentheses.
func (e *Encoder) StatusItems(items StatusItems, v *StatusValues) *Encoder {
	values := map[StatusItems]uint64{
		StatusMessages: v.Messages, StatusUIDNext: v.UIDNext, StatusUIDValidity: v.UIDValidity,
		StatusUnseen: v.Unseen, StatusDeleted: v.Deleted, StatusSize: v.Size, StatusRecent: v.Recent,
		StatusHighestModSeq: v.HighestModSeq, StatusAppendLimit: v.AppendLimit, StatusDeletedStorage: v.DeletedStorage,
	}
	sep := "("
	for _, it := range statusItems {
		if items&it.item == 0 {
			continue
		}
		e.Raw(sep).Raw(it.name).Raw(" ")
		if it.item == StatusMailboxID {
			e.Raw("(").Raw(v.MailboxID).Raw(")")
		} else {
			e.Num(values[it.item])
		}
		sep = " "
	}
	if sep == "(" {
		e.Raw(sep)
	}
	return e.Raw(")")
}
