package sieved

import "time"

// How long we wait for a client.
const (
	loginTimeout   = 2 * time.Minute  // from the greeting to being logged in
	idleTimeout    = 30 * time.Minute // for the next command; RFC 5804 gives no less
	readTimeout    = time.Minute      // for more of a command
	commandTimeout = 5 * time.Minute  // for all of it
)
