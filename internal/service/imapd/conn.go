package imapd

import "time"

// How long we wait for a client.
const (
	loginTimeout   = 2 * time.Minute  // from the greeting to being logged in
	idleTimeout    = 31 * time.Minute // for the next command; RFC 9051 §5.4 wants 30
	commandTimeout = 3 * time.Minute  // for the next bytes within a command
)
