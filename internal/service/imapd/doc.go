// Package imapd talks IMAP: IMAP4rev1 (RFC 3501) and, for those who ENABLE it,
// IMAP4rev2 (RFC 9051), over the mailbox store.
//
// # A session
//
// One goroutine owns a session and all of its state. It reads a command, looks
// into the table of commands (session.go) whether that may come now, calls the
// command's function, tells what else has changed in the mailbox, and answers.
// A command is a file of its own. What went wrong becomes a response code in
// errors.go and nowhere else.
//
// # What the client has been told
//
// The session's imap.View has the messages that the client knows of. The store
// moves on without asking; update (update.go) brings the client up to date where
// the protocol allows: new messages and flags after every command, expunged ones
// not while FETCH, STORE or SEARCH with sequence numbers are under way. RFC 9051
// §7.5.1
//
// # Slow clients
//
// No transaction and no lock is held while anything is written to a client: the
// store gives immutable snapshots, and FETCH reads rows and bodies in pages.
// Every write has a deadline. A session that waits keeps no buffers.
package imapd
