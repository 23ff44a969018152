// Package pop3 is the Post Office Protocol, version 3, as bytes: what a client
// says becomes a Command, and what it hears is appended or written. RFC 1939,
// with the extensions of RFC 2449, the response codes of RFC 3206, STLS of RFC
// 2595, AUTH of RFC 5034, and UTF8 and LANG of RFC 6856.
//
// Lines are bounded (MaxLine, MaxAuth), and so is what is read to find the end
// of one that is too long. What goes out has CRLF only, and dots at the front
// of lines are doubled by one writer, Lines.
package pop3

import "errors"

// Limits of a line without its CRLF. RFC 2449 §4 gives commands 255 octets,
// but passwords get longer; RFC 5034 §4 has no limit for AUTH.
const (
	MaxLine = 512
	MaxAuth = 8192
)

// Why a line is no command. The text is for the client.
var (
	ErrUnknown     = errors.New("unknown command")
	ErrSyntax      = errors.New("wrong arguments")
	ErrLineTooLong = errors.New("line too long")
	ErrControl     = errors.New("control character in command")
	ErrBase64      = errors.New("not base64")
	ErrCancelled   = errors.New("authentication cancelled")
	// ErrState is a command that cannot come now.
	ErrState = errors.New("not now")
	// ErrFlood means that no end of line is in sight: the connection is of no
	// more use.
	ErrFlood = errors.New("line much too long")
)
