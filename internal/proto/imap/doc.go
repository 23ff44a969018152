// Package imap reads and writes IMAP4rev2 (RFC 9051) and IMAP4rev1 (RFC 3501),
// on the server's side: a Decoder makes typed commands of bytes, an Encoder
// makes bytes of answers, and a View knows what one client has been told of its
// mailbox. It touches neither network nor store nor clock.
//
// # Keeping step
//
// A line that ends in {n} or {n+} is followed by n bytes that are not commands.
// The Decoder keeps to that whatever else is wrong with the line: it either
// never asked for the bytes ({n}, refused), or reads them and throws them away
// ({n+}, refused). What it cannot skip within its limits ends the session. So a
// client's data is never taken for its commands.
//
// # Adding a command, a fetch item, a search key
//
// Write its type and its parser in a file of its own, and one line in the table:
// commands (decoder.go), fetchItems (fetch.go), searchKeys (search.go),
// listOptions and listReturns (list.go), statusItems (status.go). A parser calls
// the methods of tokens.go one after the other; after the first that fails all
// others do nothing, and Command returns the error.
package imap
