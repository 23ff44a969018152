// Package mta transfers: it claims items from the queue, finds the way for
// each, has a Transport carry it one hop on, and writes down what became of
// every recipient. What cannot be delivered now is tried again later and later;
// what cannot be delivered at all is reported to its sender.
//
// How much goes where at a time is the Shaper's affair: see there.
//
// Settling an item and queueing its report are one transaction, so a report is
// sent exactly once for what it reports. Between a remote host's 250 and our
// commit a crash means that the host is asked again: SMTP cannot avoid that
// (RFC 5321 §4.5.5), and nothing else doubles a message.
package mta
