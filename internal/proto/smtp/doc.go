// Package smtp is RFC 5321 and its extensions without a network: commands,
// replies, the order they may come in, both sides of the conversation, and the
// interface between a conversation and what takes the mail. LMTP (RFC 2033) is
// a dialect of it.
//
// What it promises:
//
//   - The end of a message is CRLF . CRLF and nothing else, and a message with
//     a bare CR, a bare LF or a NUL is refused after that end. Reader finds it;
//     DataWriter is the only thing in the house that writes DATA, and nothing
//     but CRLF leaves through it.
//   - Paths are parsed into an address here and never looked at as text again:
//     the domain is what follows the last unquoted @.
//   - Whatever a peer sends, memory is bounded: a Reader has one buffer, a line
//     has a limit, a Reply has a limit.
//   - Reply codes of our refusals are made in one place, RefusalReply.
package smtp
