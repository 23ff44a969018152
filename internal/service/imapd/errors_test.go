package imapd

import (
	"fmt"
	"testing"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/sasl"
)

// What an engine's error becomes for the client.
func TestAnswer(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
		ours bool
	}{
		{mail.ErrFull, "NO [LIMIT] no room on this server for the moment, try again later", false},
		{sasl.ErrFailed, "NO [AUTHENTICATIONFAILED] authentication failed", false},
		{&mail.Refusal{Status: sasl.ErrFailed.Status, Text: sasl.ErrFailed.Text, Reason: "wrong password"}, "NO [AUTHENTICATIONFAILED] authentication failed", false},
		{mail.Refuse("4.7.0", "too many attempts", ""), "NO [UNAVAILABLE] too many attempts", false},
		{mail.ErrOverQuota, "NO [OVERQUOTA] there is no room left in this account", false},
		{fmt.Errorf("input/output error"), "NO [UNAVAILABLE] local error, try again later", true},
	} {
		f, ours := answer(fmt.Errorf("mailbox: append: %w", c.err))
		if f.Error() != c.want || ours != c.ours {
			t.Errorf("%v: %v, ours: %v", c.err, f, ours)
		}
	}
}
