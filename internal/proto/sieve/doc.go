// Package sieve reads and runs Sieve scripts (RFC 5228): what somebody wants done with
// their mail. A script decides and does nothing: Run gives the actions.
//
// It promises:
//
//   - A script that Compile takes cannot go wrong by what is written in it, only by what it
//     meets: too much work, or a mailbox that is not there. Then Run gives an error, and
//     the message is kept as if there were no script. RFC 5228 §2.10.6
//   - The work of Run is counted and bounded, not its time: the same script and message
//     end alike everywhere. No pattern takes more than its length times that of the text.
//   - What a message, or an included script, says is never taken for part of the script.
//
// The extensions are those in Extensions. What an extension needs to know of the account,
// a World tells.
package sieve
