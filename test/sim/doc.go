// Package sim is several houses on a network, for days: the real server, put
// together as in production, on a network, a DNS, disks and a clock that are
// not. Hosts elsewhere are slow, dead, greylisting, moody or closed;
// connections are lost; the DNS fails; and the houses lose their power or are
// stopped, and come back over the same store.
//
// At the end every message that was accepted must be in each recipient's
// mailbox, or its sender must have been told; once, unless a connection that
// carried it was lost, when SMTP cannot know better (RFC 5321 §4.5.5). No queue
// may hold anything, and all stores must pass their check.
//
// The whole plan is drawn from a seed, which is printed:
//
//	go test ./test/sim -run TestDays -seed=7
package sim
