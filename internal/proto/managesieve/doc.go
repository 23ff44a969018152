// Package managesieve is ManageSieve, by which mail programs look after the Sieve
// scripts of an account, as bytes: what a client says becomes a Command, and what it
// hears is appended. RFC 5804
//
// Nothing that a client announces is believed: lines are bounded (MaxLine), a literal is
// compared with what its command may have (Limits) before there is room for it, and the
// room grows with what has come. What is too large is read over as far as Limits has it,
// so that no script is ever taken for commands.
package managesieve

import "errors"

// MaxLine is how long a line may be without its CRLF: the longest are responses of
// AUTHENTICATE in quotes.
const MaxLine = 17 << 10

// Limits bound a command.
type Limits struct {
	Strings int   // bytes of its strings together
	Skip    int64 // bytes of literals of one that is refused, that are read over
}

// LimitsBeforeLogin are those of who has not logged in.
var LimitsBeforeLogin = Limits{Strings: 16 << 10, Skip: 64 << 10}

// Why something is no command. The text is for the client.
var (
	ErrUnknown   = errors.New("unknown command")
	ErrSyntax    = errors.New("wrong arguments")
	ErrString    = errors.New("a string stands in quotes, or is a literal")
	ErrTooLarge  = errors.New("the command is too large")
	ErrBase64    = errors.New("not base64")
	ErrCancelled = errors.New("authentication cancelled")
	// ErrState is a command that cannot come now.
	ErrState = errors.New("not now")
	// ErrFlood means that no end of a command is in sight: the connection is of no more
	// use.
	ErrFlood = errors.New("much too large")
)
