package pop3d

import "time"

// How long we wait for a client.
const (
	loginTimeout = 2 * time.Minute  // from the greeting to being logged in
	idleTimeout  = 10 * time.Minute // for the next command; RFC 1939 §3
	lineTimeout  = time.Minute      // for the rest of a line
	busyTimeout  = 2 * time.Second  // for the next command, before buffers are given back
)
