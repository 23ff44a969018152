// Package mda delivers: it decides, per recipient, what is to be done with a
// message (put it into a mailbox, or send it on), and then does all of it in
// one transaction.
//
// There are two doors. Deliver is for whoever has just taken the message from
// somebody: when it returns nil, every recipient is either served or in the
// queue, and "250" is true. Try is for the queue itself and for LMTP, which want
// to hear what became of each recipient: what cannot be done is told, not
// queued.
package mda
