// Package mail has the words that everybody in the house speaks: addresses and
// domains, envelopes, who the peer is, the ids, and how one says no.
//
// It has types and their text forms, and no policy. Text is parsed at the door
// and printed at the door: inside the house an address is an Address, never a
// string that is quoted and parsed again.
package mail
