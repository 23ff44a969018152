package collector

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"posthaste/internal/store/outpost"
)

// TestTokenEndpoint: what cannot be reached is named, and not another host.
func TestTokenEndpoint(t *testing.T) {
	err := fmt.Errorf("log in: %w", &url.Error{Op: "Post", URL: "https://login.example.net/token", Err: context.DeadlineExceeded})
	got := Words(&outpost.Outpost{Host: "imap.example.net", Port: "993"}, err)
	if !strings.Contains(got, "https://login.example.net/token cannot be reached") || strings.Contains(got, "imap.example.net") {
		t.Error(got)
	}
}
