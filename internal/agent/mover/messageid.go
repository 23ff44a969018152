package mover

import "posthaste/internal/proto/message"

// MessageIDOf gives the Message-ID of a header, as it stands there; "" if it has
// none.
func MessageIDOf(header []byte) string {
	for f := range message.Fields(header) {
		if f.Is("message-id") {
			return f.Text()
		}
	}
	return ""
}
